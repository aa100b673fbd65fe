"""scikit-learn's digits, written as the four IDX files of MNIST: a data set that needs no network."""

import struct
import zlib

import numpy as np
from sklearn.datasets import load_digits

from mnist.dataset.catalogue import FILES

TEST_IMAGES = 360  # the last 20 %


def digits_files() -> dict[str, bytes]:
    """The 1,797 digits by file name, 1,437 for training and 360 for testing; grey levels 0 to 16 become 0 to 255."""
    bunch = load_digits()
    images = (bunch.images.astype(np.uint16) * 255 // 16).astype(np.uint8)
    labels = bunch.target.astype(np.uint8)
    arrays = (images[:-TEST_IMAGES], labels[:-TEST_IMAGES], images[-TEST_IMAGES:], labels[-TEST_IMAGES:])
    return {name: gzip_stored(idx_bytes(array)) for name, array in zip(FILES, arrays, strict=True)}


def idx_bytes(array: np.ndarray) -> bytes:
    """A uint8 array of any shape in the IDX format (LeCun 1998): magic, big-endian sizes, values row by row."""
    return struct.pack(f">BBBB{array.ndim}I", 0, 0, 0x08, array.ndim, *array.shape) + array.tobytes()


def gzip_stored(content: bytes) -> bytes:
    """A gzip member (RFC 1952) of stored blocks (RFC 1951): compressed bytes differ between versions of zlib."""
    member = b"\x1f\x8b\x08" + bytes(6) + b"\xff"
    for start in range(0, max(1, len(content)), 0xFFFF):
        block = content[start : start + 0xFFFF]
        member += struct.pack("<BHH", start + 0xFFFF >= len(content), len(block), len(block) ^ 0xFFFF) + block
    return member + struct.pack("<II", zlib.crc32(content), len(content))
