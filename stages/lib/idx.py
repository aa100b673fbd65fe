"""Reading IDX files (LeCun 1998), gzipped, checked, and a piece at a time.

The format: two zero bytes, a type (0x08: unsigned bytes), the number of dimensions, a big-endian 32-bit size for each
dimension, then the values, row by row.
"""

import gzip
import math
import struct
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType

import numpy as np

from stages.lib.errors import UserError
from stages.lib.files import missing
from stages.lib.paths import relative

UNSIGNED_BYTE = 0x08
LARGEST_ITEM = 1 << 20  # bytes of one image, 1024 by 1024: bounds what a false header can make a reader hold
READ_STEP = 1 << 20  # bytes


class IdxFile:
    """An open IDX file of unsigned bytes; `shape` is what its header says.

    Reading never takes more from the file than the header promises, plus one byte to see that there is no more.
    """

    def __init__(self, path: Path, dimensions: int) -> None:
        """Open the file and check its header.

        Args:
            path: a gzipped IDX file.
            dimensions: how many it must have: 3 for images (n, height, width), 1 for labels (n,).

        Raises:
            UserError: the file is missing, is not gzip, or its header is not that of such a file.
        """
        self.path = path
        try:
            self._file = gzip.open(path)  # noqa: SIM115, closed in __exit__
        except FileNotFoundError:
            raise missing(path) from None
        try:
            magic = self._read(4)
            if magic[:2] != b"\0\0" or magic[2] != UNSIGNED_BYTE or magic[3] != dimensions:
                expected = bytes((0, 0, UNSIGNED_BYTE, dimensions)).hex()
                raise self._error(f"its magic number is {magic.hex()}, expected {expected}")
            self.shape: tuple[int, ...] = struct.unpack(f">{dimensions}I", self._read(4 * dimensions))
            if 0 in self.shape:
                raise self._error(f"its header promises nothing: {' x '.join(map(str, self.shape))}")
            if math.prod(self.shape[1:]) > LARGEST_ITEM:
                raise self._error(f"its header promises items of {' x '.join(map(str, self.shape[1:]))} bytes")
        except UserError:
            self._file.close()
            raise

    def __enter__(self) -> "IdxFile":
        """Return the file."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the file."""
        self._file.close()

    def pieces(self, rows: int) -> Iterator[np.ndarray]:
        """Yield the values, uint8 (at most `rows`, *shape[1:]) at a time, to the end of the file.

        Raises:
            UserError: the file holds fewer bytes than its header promises, or more, or is damaged.
        """
        count, *rest = self.shape
        width = math.prod(rest)
        for start in range(0, count, rows):
            size = min(rows, count - start)
            yield np.frombuffer(self._read(size * width), np.uint8).reshape(size, *rest)
        with self._damage_explained():
            if self._file.read(1):
                raise self._error(
                    f"bytes follow the {' x '.join(map(str, self.shape))} values that its header promises"
                )

    def _read(self, size: int) -> bytearray:
        """Read exactly `size` bytes."""
        content = bytearray()
        with self._damage_explained():
            # A step at a time, because memory for a whole read is taken before it is known that the bytes are there.
            while len(content) < size and (step := self._file.read(min(size - len(content), READ_STEP))):
                content += step
        if len(content) < size:
            raise self._error("it ends before all the values that its header promises")
        return content

    @contextmanager
    def _damage_explained(self) -> Iterator[None]:
        try:
            yield
        except (gzip.BadGzipFile, EOFError, zlib.error) as error:
            raise self._error(f"it is damaged ({error})") from None

    def _error(self, what: str) -> UserError:
        return UserError(f"{relative(self.path)} is not as published: {what}; delete it and run `dvc repro`")
