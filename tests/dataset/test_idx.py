"""IDX files: valid ones give their values; all others give an error that names the file, in bounded memory."""

import gzip
import math
import struct
import tracemalloc
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mnist.core.errors import UserError
from mnist.dataset.digits import gzip_stored, idx_bytes
from mnist.dataset.idx import IdxFile

IMAGES = np.random.default_rng(0).integers(0, 256, (25, 3, 4), np.uint8)
LABELS = IMAGES[:, 0, 0]
GOOD = idx_bytes(IMAGES)
MEGABYTE = 1 << 20


def read(path: Path, dimensions: int, rows: int = 1024) -> np.ndarray:
    with ExitStack() as files:
        return np.concatenate(list(IdxFile(path, dimensions, files).chunks(rows)))


def header(*shape: int) -> bytes:
    return struct.pack(f">BBBB{len(shape)}I", 0, 0, 8, len(shape), *shape)


def refused(path: Path, content: bytes, dimensions: int = 3) -> str:
    """The message with which `content` is refused, in little memory."""
    path.write_bytes(content)
    tracemalloc.start()
    try:
        with pytest.raises(UserError) as caught:
            read(path, dimensions)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 50 * MEGABYTE
    assert str(path) in str(caught.value)
    assert "is not a valid gzipped IDX file of bytes: " in str(caught.value)
    return str(caught.value)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "file.gz"


@pytest.mark.parametrize("rows", [1, 7, 24, 25, 26, 1024])
@pytest.mark.parametrize("compress", [gzip.compress, gzip_stored])
@pytest.mark.parametrize("array", [IMAGES, LABELS], ids=["images", "labels"])
def test_valid_file_gives_its_values_in_chunks(path, array, compress, rows):
    path.write_bytes(compress(idx_bytes(array)))
    with ExitStack() as files:
        file = IdxFile(path, array.ndim, files)
        chunks = list(file.chunks(rows))
        assert file.shape == array.shape
    assert [len(chunk) for chunk in chunks[:-1]] == [rows] * (math.ceil(25 / rows) - 1)
    assert all(chunk.dtype == np.uint8 for chunk in chunks)
    np.testing.assert_array_equal(np.concatenate(chunks), array)


def test_file_of_several_gzip_members_is_read_completely(path):
    path.write_bytes(gzip.compress(GOOD[:50]) + gzip.compress(GOOD[50:]))
    np.testing.assert_array_equal(read(path, 3), IMAGES)


@pytest.mark.parametrize("position", range(4))
def test_wrong_magic_is_refused(path, position):
    wrong = bytearray(GOOD)
    wrong[position] ^= 1
    expected = "magic number" if position < 3 else "declares 2 dimensions, but grey images have 3"
    assert expected in refused(path, gzip.compress(wrong))


@pytest.mark.parametrize(("array", "dimensions"), [(IMAGES, 1), (LABELS, 3), (IMAGES[None], 3)])
def test_wrong_number_of_dimensions_is_refused(path, array, dimensions):
    message = refused(path, gzip.compress(idx_bytes(array)), dimensions)
    kind = "labels have 1" if dimensions == 1 else "grey images have 3"
    assert f"its header declares {array.ndim} dimensions, but {kind}" in message


@pytest.mark.parametrize("shape", [(0, 3, 4), (25, 0, 4), (25, 3, 0), (0,)])
def test_zero_size_is_refused(path, shape):
    assert "its header declares an empty array" in refused(path, gzip.compress(header(*shape)), len(shape))


@pytest.mark.parametrize("length", [0, 1, 3, 4, 15, 16, 17, len(GOOD) - 1])
def test_file_that_ends_early_is_refused(path, length):
    assert "ends before" in refused(path, gzip.compress(GOOD[:length]))


def test_one_extra_byte_is_refused(path):
    assert "bytes follow the 25 x 3 x 4 values" in refused(path, gzip.compress(GOOD + b"\0"))


@pytest.mark.parametrize(
    "content",
    [GOOD, b"<html>not found</html>", gzip.compress(GOOD)[:100], gzip.compress(GOOD)[:-1], gzip.compress(GOOD)[:7]],
    ids=["uncompressed", "text", "truncated", "without its last byte", "header only"],  # the bytes contain the time
)
def test_corrupt_gzip_is_refused(path, content):
    expected = "it is corrupt" if content.startswith(b"\x1f\x8b") else "it is not gzipped"
    assert expected in refused(path, content)


@pytest.mark.parametrize("position", [-8, -1])
def test_wrong_checksum_or_length_is_refused(path, position):
    content = bytearray(gzip.compress(GOOD))
    content[position] ^= 1
    assert "it is corrupt" in refused(path, bytes(content))


def test_missing_file_is_reported(path):
    with pytest.raises(UserError, match=r"file\.gz is missing"):
        read(path, 3)


@pytest.mark.parametrize(
    "shape", [(2**32 - 1, 28, 28), (2**32 - 1,), (10, 2**32 - 1, 2**32 - 1), (10, 4097, 4096), (5000, 1024, 1024)]
)
def test_header_that_declares_too_much_takes_no_memory(path, shape):
    refused(path, gzip.compress(header(*shape) + bytes(10_000)), len(shape))


def test_no_more_than_declared_is_decompressed(path):
    zeros = gzip.compress(bytes(50 * MEGABYTE), 1)
    assert "bytes follow" in refused(path, gzip.compress(header(10, 2, 2)) + 4 * zeros)


MUTATIONS = st.lists(st.tuples(st.integers(0, len(GOOD) - 1), st.binary(max_size=4)), max_size=4)


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    content=st.binary(max_size=60) | MUTATIONS,
    gzip_mutations=st.lists(st.tuples(st.integers(0, 400), st.integers(0, 255)), max_size=3),
)
def test_any_file_gives_the_declared_array_or_an_error_that_names_it(path, content, gzip_mutations):
    uncompressed = bytearray(content if isinstance(content, bytes) else GOOD)
    for position, replacement in [] if isinstance(content, bytes) else content:
        uncompressed[position : position + 1] = replacement
    compressed = bytearray(gzip_stored(bytes(uncompressed)))
    for position, value in gzip_mutations:
        compressed[position % len(compressed)] = value
    path.write_bytes(compressed)
    try:
        array = read(path, 3)
    except UserError as error:
        assert str(path) in str(error)  # noqa: PT017, both ends are valid
    else:
        assert header(*array.shape) + array.tobytes() == uncompressed


def test_colour_images_are_named(path):
    message = refused(path, gzip.compress(idx_bytes(np.zeros((25, 3, 4, 3), np.uint8))))
    assert (
        f"{path} is not a valid gzipped IDX file of bytes: its header declares 4 dimensions, but grey images have 3"
        in (message)
    )
