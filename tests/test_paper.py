"""Ink is found on photographed paper with lines, frames, shadows and uneven light; several shapes are noticed."""

import os
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy import ndimage
from sheets import ON_PAPER, PAPER, PEN, four, photo

from mnist.dataset.idx import IdxFile
from mnist.handwriting import find_ink, fit_ink
from mnist.paper import is_single_shape

DIGIT = fit_ink(four().astype(float), (28, 28), 20)
INK = four(200, 24)
SHEET = np.where(INK, PEN, PAPER).astype(float)
ROWS, COLUMNS = np.mgrid[:200, :200]


def similarity(picture: Image.Image, digit: np.ndarray) -> float:
    """The correlation of a picture, prepared, with the digit that it shows."""
    return np.corrcoef(fit_ink(find_ink(picture), (28, 28), 20).ravel(), digit.ravel())[0, 1]


def lined(levels: np.ndarray, slope: float, level: float) -> np.ndarray:
    """Squared paper with lines of a grey level that are not level, under the ink."""
    rows, columns = ROWS + slope * COLUMNS, COLUMNS - slope * ROWS
    return np.where((rows % 40 < 2) | (columns % 40 < 2), np.minimum(levels, level), levels)


@pytest.mark.parametrize("kind", ON_PAPER)
@pytest.mark.parametrize("seed", range(3))
def test_ink_is_found_on(kind, seed):
    assert similarity(ON_PAPER[kind](DIGIT, np.random.default_rng(seed)), DIGIT) > 0.9


@pytest.mark.parametrize(
    "levels",
    [
        pytest.param(lined(SHEET, 0.015, 150), id="oblique lines"),
        pytest.param(lined(SHEET, 0, 80), id="dark lines"),
        pytest.param(lined(np.where(INK, 150, PAPER), 0, 190), id="faint pencil on squared paper"),
        pytest.param(np.where(INK, 170, PAPER) * np.linspace(1, 0.5, 200), id="faint pencil in uneven light"),
        pytest.param(SHEET * np.where(ROWS + COLUMNS > 200, 0.5, 1), id="oblique shadow"),
        pytest.param(SHEET * (1 - 0.6 * np.hypot(ROWS - 100, COLUMNS - 100) / 142), id="darker corners"),
        pytest.param(np.pad(SHEET, ((0, 0), (25, 0)), constant_values=60), id="table beside the sheet"),
        pytest.param(np.pad(SHEET, 20, constant_values=10), id="thick frame"),
        pytest.param(np.pad(np.where(INK, 150, PAPER), 20, constant_values=0), id="pencil in a black frame"),
        pytest.param(255 - SHEET * np.linspace(1, 0.6, 200), id="chalk on a blackboard"),
    ],
)
def test_ink_is_found_with(levels):
    assert similarity(photo(levels, np.random.default_rng(1)), DIGIT) > 0.85


def test_ink_along_the_edge_is_not_a_table():
    box = ndimage.find_objects(np.rot90(INK).astype(int))[0]
    cropped = np.rot90(SHEET)[box]
    expected = fit_ink(np.rot90(INK).astype(float), (28, 28), 20)
    assert similarity(photo(cropped, np.random.default_rng(1)), expected) > 0.9


@pytest.mark.parametrize(
    ("ink", "single"),
    [
        pytest.param(INK, True, id="digit"),
        pytest.param(np.hstack([INK, INK]), False, id="two digits"),
        pytest.param(np.tile(four(60), (4, 4)), False, id="text"),
        pytest.param(np.random.default_rng(1).random((160, 160)) > 0.9, False, id="texture"),
        pytest.param(np.zeros((9, 9)), False, id="nothing"),
    ],
)
def test_a_single_shape_is_told_from_several(ink, single):
    assert is_single_shape(ink.astype(float)) is single


@pytest.mark.skipif(not os.environ.get("DATASET_MIRROR"), reason="needs a DATASET_MIRROR of MNIST")
@pytest.mark.parametrize("kind", ON_PAPER)
def test_digits_of_mnist_are_found_on(kind):
    with ExitStack() as files:
        file = IdxFile(Path(os.environ["DATASET_MIRROR"]) / "t10k-images-idx3-ubyte.gz", 3, files)
        digits = next(file.chunks(300))
    pictures = [ON_PAPER[kind](digit, np.random.default_rng(index)) for index, digit in enumerate(digits)]
    found = [similarity(picture, digit) > 0.8 for picture, digit in zip(pictures, digits, strict=True)]
    assert np.mean(found) >= (0.9 if "paper" in kind else 0.95)
