"""Tables of images: Kaggle's CSV with and without header and labels, and an error for what is not such a table."""

from pathlib import Path

import numpy as np
import pytest

from mnist.core.errors import UserError
from mnist.dataset.table import read_table, to_grey_levels

HEADER = "label,pixel0,pixel1,pixel2,pixel3\n"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "own.csv"


@pytest.mark.parametrize(
    ("text", "images", "labels"),
    [
        (f"{HEADER}3,0,1,255,7\n4,9,9,9,9\n", [[0, 1, 255, 7], [9, 9, 9, 9]], ["3", "4"]),
        ("3,0,1,255,7\n4,9,9,9,9\n", [[0, 1, 255, 7], [9, 9, 9, 9]], ["3", "4"]),
        ("a b,0,1,255,7\n", [[0, 1, 255, 7]], ["a b"]),
        ("0,1,255,7\n", [[0, 1, 255, 7]], None),
        ("pixel0,pixel1,pixel2,pixel3\n0,1,255,7\n", [[0, 1, 255, 7]], None),
        ("id,p0,p1,p2,p3\n0,1,255,7,9\n", [[1, 255, 7, 9]], None),
        ("\ufeffp0,p1,p2,p3,Label\r\n1,255,7,9,NA\r\n", [[1, 255, 7, 9]], ["NA"]),
        ('"label","p0","p1","p2","p3"\n"7","2","3","4","255"\n', [[2, 3, 4, 255]], ["7"]),
        (f"{HEADER}1,0,.2,.4,1\n", [[0, 51, 102, 255]], ["1"]),
        (f"{HEADER}1,0,8,15,16\n", [[0, 128, 239, 255]], ["1"]),
        (f"{HEADER}1,0,257,514,65535\n", [[0, 1, 2, 255]], ["1"]),
    ],
)
def test_table_is_read(path, text, images, labels):
    path.write_text(text, encoding="utf-8", newline="")
    found, found_labels = read_table(path, (28, 28))
    assert found.dtype == np.uint8
    assert found.reshape(len(found), -1).tolist() == images
    assert found.shape[1:] == (2, 2)
    assert found_labels == labels


def test_images_of_the_size_asked_for_need_not_be_square(path):
    path.write_text("5,0,1,2,3,4,255\n")
    images, labels = read_table(path, (2, 3))
    assert (images.tolist(), labels) == ([[[0, 1, 2], [3, 4, 255]]], ["5"])
    path.write_text("5,0,1,2,3,4,6,7,255\n")  # nine columns would also be a square image without a label
    images, labels = read_table(path, (2, 4))
    assert (images.tolist(), labels) == ([[[0, 1, 2, 3], [4, 6, 7, 255]]], ["5"])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "has 0 columns, expected a label and 28 x 28 pixels"),
        ("1,2,3\n", "has 3 columns"),
        (HEADER, "has no images"),
        ("1" * 200_000, "is not a table of images: field larger than field limit"),
        (f"{HEADER}1,2,3,4,5\n1,2,3\n", "image 2 has fewer than 4 pixels"),
        (f"{HEADER}1,2,3,,5\n", "image 1 has fewer than 4 pixels"),
        (f"{HEADER}1,2,3,4,5\n1,2,3,4,5,6\n", "is not a table of images: .*line 3"),
        (f"{HEADER}1,2,3,x,5\n", "is not a table of images: could not convert string to float: 'x'"),
        (f"{HEADER}1,2,3,4,-5\n", "has values from -5 to 4, expected grey levels from 0 to 255"),
        (f"{HEADER}1,2,3,4,1e6\n", "has values from 2 to 1e.06"),
        (f"{HEADER}1,2,3,4,inf\n", "has values from 2 to inf"),
        ("image,label\n1.png,3\n", "is not a table of images: could not convert string to float: '1.png'"),
    ],
)
def test_what_is_not_a_table_of_images_is_refused(path, text, message):
    path.write_text(text)
    with pytest.raises(UserError, match=message) as caught:
        read_table(path, (28, 28))
    assert str(caught.value).startswith(str(path))


def test_files_that_cannot_be_read_are_named(path):
    with pytest.raises(UserError, match=r"own\.csv cannot be read: No such file"):
        read_table(path, (28, 28))
    path.write_bytes(b"\xff\xfe\x00\x80")
    with pytest.raises(UserError, match=r"own\.csv is not a text file"):
        read_table(path, (28, 28))


@pytest.mark.parametrize("scale", [1, 16, 255, 65535])
def test_full_ink_becomes_255(scale):
    values = np.arange(0, scale + 1, max(1, scale // 255))
    found = to_grey_levels(values, "x")
    assert found.dtype == np.uint8
    assert np.abs(found - values * 255 / scale).max() <= 0.5
    np.testing.assert_array_equal(to_grey_levels(values / scale, "x"), found)


@pytest.mark.parametrize("values", [np.array(["a"]), np.array([np.nan, 1]), np.array([1j])])
def test_values_that_are_not_grey_levels_are_refused(values):
    with pytest.raises(UserError, match="x has "):
        to_grey_levels(values, "x")
