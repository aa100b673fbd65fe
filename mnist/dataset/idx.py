"""Reading gzipped IDX files (LeCun 1998), checked, and in chunks.

The format: two zero bytes, a type (0x08: unsigned bytes), the number of dimensions, a big-endian 32-bit size for each
dimension, then the values, row by row.
"""

import gzip
import math
import struct
import zlib
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import numpy as np

from mnist.core.errors import UserError
from mnist.core.files import missing_file
from mnist.core.paths import relative

MAX_ITEM_BYTES = 1 << 20  # an image of 1024 by 1024: limits the memory that a false header can make a reader take
READ_BYTES = 1 << 20


class IdxFile:
    """An open IDX file of unsigned bytes, of the `shape` that its header declares; at most one byte more is read."""

    def __init__(self, path: Path, dimensions: int, files: ExitStack) -> None:
        """Open a file of labels (1 dimension) or images (3), which `files` closes; UserError if missing or invalid."""
        self.path = path
        try:
            self._file = files.enter_context(gzip.open(path))  # noqa: SIM115, `files` closes it
        except FileNotFoundError:
            raise missing_file(path) from None
        magic = self._read(4)
        expected = bytes((0, 0, 0x08, dimensions))
        if magic[:3] == expected[:3] and magic != expected:
            kind = "grey images have 3" if dimensions == 3 else "labels have 1"
            raise self._error(f"its header declares {magic[3]} dimensions, but {kind}")
        if magic != expected:
            raise self._error(f"its magic number is {magic.hex()}, expected {expected.hex()}")
        self.shape: tuple[int, ...] = struct.unpack(f">{dimensions}I", self._read(4 * dimensions))
        if 0 in self.shape:
            raise self._error(f"its header declares an empty array: {' x '.join(map(str, self.shape))}")
        if math.prod(self.shape[1:]) > MAX_ITEM_BYTES:
            raise self._error(f"its header declares items of {' x '.join(map(str, self.shape[1:]))} bytes")

    def chunks(self, rows: int) -> Iterator[np.ndarray]:
        """Yield all values in chunks, uint8 (at most `rows`, *shape[1:]); UserError if there are fewer or more."""
        count, *rest = self.shape
        for start in range(0, count, rows):
            size = min(rows, count - start)
            yield np.frombuffer(self._read(size * math.prod(rest)), np.uint8).reshape(size, *rest)
        if self._read_some(1):
            raise self._error(f"bytes follow the {' x '.join(map(str, self.shape))} values that its header declares")

    def _read(self, size: int) -> bytearray:
        """Read exactly `size` bytes."""
        content = bytearray()
        # In steps, because the memory of one large read is taken before the file is known to have the bytes.
        while len(content) < size and (step := self._read_some(min(size - len(content), READ_BYTES))):
            content += step
        if len(content) < size:
            raise self._error("it ends before all the values that its header declares")
        return content

    def _read_some(self, size: int) -> bytes:
        try:
            return self._file.read(size)
        except gzip.BadGzipFile as error:
            not_gzipped = str(error).startswith("Not a gzipped file")
            raise self._error("it is not gzipped" if not_gzipped else f"it is corrupt ({error})") from None
        except (EOFError, zlib.error) as error:
            raise self._error(f"it is corrupt ({error})") from None

    def _error(self, what: str) -> UserError:
        return UserError(f"{relative(self.path)} is not a valid gzipped IDX file of bytes: {what}; see docs/data.md")
