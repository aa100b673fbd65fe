"""Artefacts: written completely or not at all, and read only if they have the expected form."""

import io
from pathlib import Path

import numpy as np
import pytest

from mnist.core.errors import UserError
from mnist.core.files import atomic_write, read_array, read_json, write_csv, write_json

ARRAY = np.arange(12, dtype=np.float32).reshape(4, 3)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "file"


def npy(array: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


def npz(array: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.savez(file, array)
    return file.getvalue()


def test_file_appears_when_the_block_succeeds(tmp_path):
    path = tmp_path / "new/folder/file"
    with atomic_write(path) as partial:
        partial.write_text("new")
        assert not path.exists()
    assert path.read_text() == "new"
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, UserError])
def test_failed_block_keeps_the_old_file(path, error):
    path.write_text("old")
    with pytest.raises(error), atomic_write(path) as partial:  # noqa: PT012
        partial.write_text("half")
        raise error
    assert path.read_text() == "old"
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_failed_write_names_the_file_and_keeps_the_old_one(path):
    path.write_text("old")
    (path.parent / ".partial-file").symlink_to("/dev/full")
    with pytest.raises(OSError, match="No space left") as caught:
        write_json(path, {"key": "value"})
    assert caught.value.filename == str(path)
    assert path.read_text() == "old"
    assert list(path.parent.iterdir()) == [path]


def test_error_about_a_different_file_keeps_its_name(path):
    with pytest.raises(FileNotFoundError) as caught, atomic_write(path):
        Path("/nowhere/input").read_bytes()
    assert caught.value.filename == "/nowhere/input"


def test_json_is_indented_in_the_order_given(path):
    write_json(path, {"b": [1, 0.5], "a": "ü"})
    assert path.read_bytes() == '{\n  "b": [\n    1,\n    0.5\n  ],\n  "a": "ü"\n}\n'.encode()
    assert read_json(path) == {"b": [1, 0.5], "a": "ü"}


def test_csv_lines_end_in_a_line_feed(path):
    write_csv(path, ["class", "p"], [("T-shirt, top", 0.1), ('"ü"', None)])
    assert path.read_bytes() == 'class,p\n"T-shirt, top",0.1\n"""ü""",\n'.encode()


def test_csv_whose_rows_fail_keeps_the_old_file(path):
    path.write_text("old")
    with pytest.raises(ZeroDivisionError):
        write_csv(path, ["a"], ([1 / n] for n in (1, 0)))
    assert path.read_text() == "old"


@pytest.mark.parametrize("content", [b"", b"{", b"[1]", b"3", b"null", b"\xff{}", b'{"a": 1} 2', b"[", b"[" * 100_000])
def test_file_other_than_a_json_object_is_refused(path, content):
    path.write_bytes(content)
    with pytest.raises(UserError, match=f"{path} .*dvc repro"):
        read_json(path)


def test_array_is_read_as_written(path):
    path.write_bytes(npy(ARRAY))
    for shape in ((4, 3), (None, 3), (None, None)):
        np.testing.assert_array_equal(read_array(path, np.float32, shape), ARRAY)


def test_changing_the_array_does_not_change_the_file(path):
    path.write_bytes(npy(ARRAY))
    array = read_array(path, np.float32, (4, 3))
    array[:] = 7
    assert array.sum() == 84
    del array
    assert path.read_bytes() == npy(ARRAY)


@pytest.mark.parametrize(
    ("array", "got"),
    [
        (ARRAY.astype(np.float64), "float64 (4, 3)"),
        (ARRAY.astype(">f4"), ">f4 (4, 3)"),
        (ARRAY[:3], "float32 (3, 3)"),
        (ARRAY[:, :2], "float32 (4, 2)"),
        (ARRAY.ravel(), "float32 (12,)"),
        (ARRAY[None], "float32 (1, 4, 3)"),
    ],
)
def test_array_of_unexpected_dtype_or_shape_is_refused(path, array, got):
    path.write_bytes(npy(array))
    with pytest.raises(UserError) as caught:
        read_array(path, np.float32, (4, 3))
    assert f"{path} is {got}, expected float32 (4, 3)" in str(caught.value)


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(b"", id="empty"),
        pytest.param(b"not an array", id="text"),
        pytest.param(npy(ARRAY)[:5], id="truncated magic"),
        pytest.param(npy(ARRAY)[:50], id="truncated header"),
        pytest.param(npy(ARRAY)[:128], id="header only"),
        pytest.param(npy(ARRAY)[:-1], id="truncated values"),
        pytest.param(npy(np.array([{"a": 1}], object)), id="pickled objects"),
        pytest.param(npy(np.zeros((0, 3), np.float32)), id="no rows"),
        pytest.param(npz(ARRAY), id="npz"),
        pytest.param(npz(ARRAY)[:50], id="truncated npz"),
        pytest.param(npy(ARRAY).replace(b"}", b" "), id="header with an open bracket"),
        pytest.param(npy(ARRAY).replace(b"<f4", b",,4"), id="header with an invalid dtype"),
        pytest.param(b"\x93NUMPY\x01\x00\x88\x13" + b"-" * 5000, id="header of 5,000 minus signs"),
        pytest.param(npy(ARRAY).replace(b"(4, 3)", b"(4,-3)"), id="header with a negative size"),
        pytest.param(npy(ARRAY).replace(b"(4, 3), ", b"(4,-99),"), id="header with a very negative size"),
        pytest.param(
            npy(ARRAY).replace(b"(4, 3), }" + b" " * 12, b"(4, 999999999999999)}"), id="header with a huge size"
        ),
    ],
)
def test_corrupt_array_is_refused(path, content):
    path.write_bytes(content)
    with pytest.raises(UserError, match=f"{path} is .*dvc repro"):
        read_array(path, np.float32, (4, 3))


def test_missing_input_is_reported(path):
    for read in (lambda: read_array(path, np.float32, (4, 3)), lambda: read_json(path)):
        with pytest.raises(UserError, match=f"{path} is missing; run `dvc repro`"):
            read()
