"""`make fuzz`: a million hostile files for the IDX reader, each compared with a second, simple reader.

Where the simple reader returns an array, the reader must return the same; where it does not, the reader must raise a
UserError that names the file. Any other outcome is a failure, printed with its input. The address space is limited.
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
from contextlib import ExitStack
from multiprocessing import get_context
from pathlib import Path

import numpy as np

from mnist.core.errors import UserError
from mnist.dataset.digits import gzip_stored, idx_bytes
from mnist.dataset.idx import MAX_ITEM_BYTES, IdxFile
from mnist.dataset.split import rows_per_chunk

INPUTS = 1_000_000
INPUTS_PER_SEED = 10_000
MEMORY = 32 << 20  # bytes that a process may allocate after its start
BOMB = gzip.compress(bytes(2 * MEMORY), mtime=0)
GOOD = [
    idx_bytes(np.random.default_rng(0).integers(0, 256, shape, np.uint8))
    for shape in ((25, 3, 4), (2, 28, 28), (1, 1, 1), (25,), (1,))
]
SIZES = (0, 1, 2, 3, 28, 255, 1024, 4096, 2**16, 2**31 - 1, 2**31, 2**32 - 1)
MESSAGES = {
    "its magic number is": "wrong magic number",
    " dimensions, but ": "wrong magic number",
    "its header declares an empty array": "empty array",
    "its header declares items of": "items too large",
    "it ends before": "ends early",
    "bytes follow": "bytes follow",
    "it is corrupt": "corrupt gzip",
    "it is not gzipped": "corrupt gzip",
}


def mutated(content: bytes, rng: random.Random) -> bytes:
    """Replace, insert or delete bytes at up to four positions."""
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
    """Replace the header by one of random dimensions and sizes."""
    sizes = [rng.choice((rng.choice(SIZES), rng.getrandbits(32))) for _ in range(rng.choice((1, 2, 3, 3, 3, 4)))]
    kind = rng.choice((8, 8, 8, rng.randrange(256)))
    return struct.pack(f">BBBB{len(sizes)}I", 0, 0, kind, len(sizes), *sizes) + content[16:]


def noise(_: bytes, rng: random.Random) -> bytes:
    return rng.randbytes(rng.randrange(60))


def unchanged(content: bytes, _: random.Random) -> bytes:
    return content


CHANGES: list[Callable[[bytes, random.Random], bytes]] = [mutated, truncated, extended, noise, unchanged]


def hostile(rng: random.Random) -> tuple[bytes, int]:
    """The next input, and the number of dimensions to read it with: mostly that of the valid file it is made from."""
    good = rng.choice(GOOD)
    content = rng.choice((*CHANGES, random_header, random_header))(good, rng)
    compressed = gzip_stored(content) if rng.random() < 0.5 else gzip.compress(content, 1, mtime=0)
    compressed = compressed + BOMB if rng.random() < 0.001 else rng.choice(CHANGES)(compressed, rng)
    return compressed, good[3] if rng.random() < 0.9 else rng.choice((1, 3))


def read_simply(compressed: bytes, dimensions: int) -> bytes | None:
    """The values of a valid file, None for any other; without a bound on memory."""
    try:
        content = gzip.decompress(compressed)
    except (OSError, EOFError, zlib.error):
        return None
    start = 4 + 4 * dimensions
    if content[:4] != bytes((0, 0, 8, dimensions)) or len(content) < start:
        return None
    shape = struct.unpack_from(f">{dimensions}I", content, 4)
    valid = 0 not in shape and len(content) == start + math.prod(shape) and math.prod(shape[1:]) <= MAX_ITEM_BYTES
    return content[start:] if valid else None


def outcome(path: Path, content: bytes, dimensions: int) -> str:
    """The outcome of reading: a value of MESSAGES, or "accepted"; an AssertionError for a wrong one."""
    expected = None if content.endswith(BOMB) else read_simply(content, dimensions)
    values = b""
    try:
        with ExitStack() as files:
            file = IdxFile(path, dimensions, files)
            for chunk in file.chunks(rows_per_chunk(math.prod(file.shape[1:]))):  # as the pipeline does
                values += chunk.tobytes() if expected else b""
    except UserError as error:
        message = str(error)
    else:
        assert expected is not None, "accepted"
        assert expected == values, "different values"
        return "accepted"
    assert expected is None, message
    assert str(path) in message
    return next(name for text, name in MESSAGES.items() if text in message)


def run_seed(seed: int, inputs: int) -> tuple[Counter[str], int, str | None]:
    """Read the inputs of a seed; return their outcomes, the growth of memory in bytes, and the first failure."""
    rng = random.Random(seed)
    outcomes: Counter[str] = Counter()
    file = os.memfd_create("input")  # writing to a disk takes longer than reading
    path = Path(f"/proc/self/fd/{file}")
    try:
        for number in range(inputs):
            content, dimensions = hostile(rng)
            path.write_bytes(content)
            try:
                outcomes[outcome(path, content, dimensions)] += 1
            except Exception as error:  # any type is a failure
                failure = f"seed {seed}, input {number}, {dimensions} dimensions: {error!r}\n{content[:10_000].hex()}"
                return outcomes, growth(), failure
    finally:
        os.close(file)
    return outcomes, growth(), None


def memory(line: str) -> int:
    """Bytes, from a line of /proc/self/status."""
    status = Path("/proc/self/status").read_text()
    return 1024 * next(int(row.split()[1]) for row in status.splitlines() if row.startswith(f"{line}:"))


def growth() -> int:
    """The peak memory of this process minus that at its start, in bytes."""
    return memory("VmHWM") - start_memory


def start() -> None:
    """Record the memory of a new process, and limit it."""
    global start_memory
    Path("/proc/self/clear_refs").write_text("5")  # reset the peak, which is that of the parent process
    start_memory = memory("VmHWM")
    limit = memory("VmSize") + MEMORY
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))


def main() -> int:
    """Run all seeds on all cores; return the exit status."""
    started = time.monotonic()
    jobs = [(seed, INPUTS_PER_SEED) for seed in range(INPUTS // INPUTS_PER_SEED)]
    with get_context("fork").Pool(initializer=start) as pool:
        results = pool.starmap(run_seed, jobs, chunksize=1)
    outcomes = sum((result[0] for result in results), Counter())
    failures = [failure for *_, failure in results if failure]
    for name, count in outcomes.most_common():
        print(f"{count:9,} {name}")
    print(f"{outcomes.total():9,} inputs in {time.monotonic() - started:.0f} s")
    print(f"{max(result[1] for result in results) / 1e6:9.1f} MB of memory beyond that at the start")
    print("\n".join(failures) or "no failure", file=sys.stderr if failures else sys.stdout)
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
