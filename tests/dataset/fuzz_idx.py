"""`make fuzz`: a million hostile files for the IDX reader, each judged by a second, simple reader.

The reader must give the promised array where the simple one does, and a UserError that names the file where it does
not; any other end is a failure, which is printed with its input. A limit on the address space bounds the memory.
"""

import gzip
import math
import os
import random
import resource
import struct
import sys
import time
import zlib
from collections import Counter
from collections.abc import Callable
from multiprocessing import get_context
from pathlib import Path

import numpy as np

from mnist.core.errors import UserError
from mnist.dataset.digits import gzip_stored, idx_bytes
from mnist.dataset.idx import MAX_ITEM_BYTES, IdxFile
from mnist.dataset.split import rows_per_chunk

INPUTS = 1_000_000
CHUNK = 10_000  # inputs of one seed
MEMORY = 32 << 20  # bytes that a process may take beyond what it has when it starts
BOMB = gzip.compress(bytes(2 * MEMORY), mtime=0)
GOOD = [
    idx_bytes(np.random.default_rng(0).integers(0, 256, shape, np.uint8))
    for shape in ((25, 3, 4), (2, 28, 28), (1, 1, 1), (25,), (1,))
]
SIZES = (0, 1, 2, 3, 28, 255, 1024, 4096, 2**16, 2**31 - 1, 2**31, 2**32 - 1)
SAID = {
    "wrong magic number": "its magic number is",
    "promises nothing": "its header promises nothing",
    "promises too large items": "its header promises items of",
    "ends early": "it ends before",
    "bytes follow": "bytes follow",
    "damaged gzip": "it is damaged",
}


def mutated(content: bytes, rng: random.Random) -> bytes:
    """Bytes replaced, put in or taken out at up to four places."""
    changed = bytearray(content)
    for _ in range(rng.randint(1, 4)):
        start = rng.randrange(len(changed) + 1)
        changed[start : start + rng.choice((0, 1, 1, 1, 4))] = rng.randbytes(rng.choice((0, 1, 1, 1, 4)))
    return bytes(changed)


def truncated(content: bytes, rng: random.Random) -> bytes:
    return content[: rng.randrange(len(content))]


def extended(content: bytes, rng: random.Random) -> bytes:
    more = rng.choice((bytes, rng.randbytes))(rng.randint(1, 40))
    return content + rng.choice((more, gzip.compress(more, 1, mtime=0), content))


def random_header(content: bytes, rng: random.Random) -> bytes:
    """Another header, of any number of dimensions and any sizes, before the values."""
    sizes = [rng.choice((rng.choice(SIZES), rng.getrandbits(32))) for _ in range(rng.choice((1, 2, 3, 3, 3, 4)))]
    kind = rng.choice((8, 8, 8, rng.randrange(256)))
    return struct.pack(f">BBBB{len(sizes)}I", 0, 0, kind, len(sizes), *sizes) + content[16:]


def noise(_: bytes, rng: random.Random) -> bytes:
    return rng.randbytes(rng.randrange(60))


def as_it_is(content: bytes, _: random.Random) -> bytes:
    return content


CHANGES: list[Callable[[bytes, random.Random], bytes]] = [mutated, truncated, extended, noise, as_it_is]


def hostile(rng: random.Random) -> tuple[bytes, int]:
    """The next input, and the number of dimensions to ask of it: mostly that of the good file that it was made from."""
    good = rng.choice(GOOD)
    plain = rng.choice((*CHANGES, random_header, random_header))(good, rng)
    packed = gzip_stored(plain) if rng.random() < 0.5 else gzip.compress(plain, 1, mtime=0)
    packed = packed + BOMB if rng.random() < 0.001 else rng.choice(CHANGES)(packed, rng)
    return packed, good[3] if rng.random() < 0.9 else rng.choice((1, 3))


def promised(content: bytes, dimensions: int) -> bytes | None:
    """The IDX file within a gzip file if it is just what its header promises; a reader without regard to memory."""
    try:
        plain = gzip.decompress(content)
    except (OSError, EOFError, zlib.error):
        return None
    if plain[:4] != bytes((0, 0, 8, dimensions)) or len(plain) < 4 + 4 * dimensions:
        return None
    shape = struct.unpack_from(f">{dimensions}I", plain, 4)
    whole = 0 not in shape and len(plain) == 4 + 4 * dimensions + math.prod(shape)
    return plain if whole and math.prod(shape[1:]) <= MAX_ITEM_BYTES else None


def end_of(path: Path, content: bytes, dimensions: int) -> str:
    """How reading ends, in words of SAID or "accepted"; an AssertionError where it should not end so."""
    expected = None if content.endswith(BOMB) else promised(content, dimensions)
    got = b""
    try:
        with IdxFile(path, dimensions) as file:
            for piece in file.chunks(rows_per_chunk(math.prod(file.shape[1:]))):  # as the pipeline does
                got += piece.tobytes() if expected else b""
    except UserError as error:
        said = str(error)
    else:
        assert expected is not None, "accepted"
        assert expected[4 + 4 * dimensions :] == got, "other values"
        return "accepted"
    assert expected is None, said
    assert str(path) in said
    return next(name for name, text in SAID.items() if text in said)


def run_chunk(seed: int, inputs: int) -> tuple[Counter[str], int, str | None]:
    """Feed the inputs of a seed; how they ended, the growth of memory in bytes, and the first failure."""
    rng = random.Random(seed)
    ends: Counter[str] = Counter()
    file = os.memfd_create("input")  # a disk takes longer to write a file than the reader to read it
    path = Path(f"/proc/self/fd/{file}")
    try:
        for number in range(inputs):
            content, dimensions = hostile(rng)
            path.write_bytes(content)
            try:
                ends[end_of(path, content, dimensions)] += 1
            except Exception as error:  # whatever it is, it is a finding
                found = f"seed {seed}, input {number}, {dimensions} dimensions: {error!r}\n{content[:10_000].hex()}"
                return ends, growth(), found
    finally:
        os.close(file)
    return ends, growth(), None


def memory(line: str) -> int:
    """Bytes, from a line of /proc/self/status."""
    status = Path("/proc/self/status").read_text()
    return 1024 * next(int(row.split()[1]) for row in status.splitlines() if row.startswith(f"{line}:"))


def growth() -> int:
    """The most memory that this process has had, less what it had when it started."""
    return memory("VmHWM") - start_memory


def start() -> None:
    """Begin a process: note its memory, and limit it."""
    global start_memory
    Path("/proc/self/clear_refs").write_text("5")  # forget the peak, which is that of the process it comes from
    start_memory = memory("VmHWM")
    limit = memory("VmSize") + MEMORY
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))


def main() -> int:
    """Run all chunks on all cores; return the exit status."""
    begun = time.monotonic()
    chunks = [(seed, min(CHUNK, INPUTS - seed * CHUNK)) for seed in range(math.ceil(INPUTS / CHUNK))]
    with get_context("fork").Pool(initializer=start) as pool:
        results = pool.starmap(run_chunk, chunks, chunksize=1)
    ends = sum((result[0] for result in results), Counter())
    failures = [failure for *_, failure in results if failure]
    for name, count in ends.most_common():
        print(f"{count:9,} {name}")
    print(f"{ends.total():9,} inputs in {time.monotonic() - begun:.0f} s")
    print(f"{max(result[1] for result in results) / 1e6:9.1f} MB more memory than before the first input")
    print("\n".join(failures) or "no input ended in another way", file=sys.stderr if failures else sys.stdout)
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
