"""Photos and drawings become images like MNIST's."""

import io
import os
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy import ndimage
from sheets import KINDS, MNIST, clean, four, framed

from mnist.core.errors import UserError
from mnist.dataset.idx import IdxFile
from mnist.handwriting import find_ink, fit_ink, is_laid_out, open_image, to_grey

RNG = np.random.default_rng(3)


def grey(ink: np.ndarray, *, paper: float = 235, depth: float = 200) -> Image.Image:
    return Image.fromarray(np.uint8(paper - depth * ink))


def jpeg(image: Image.Image) -> Image.Image:
    file = io.BytesIO()
    image.save(file, "JPEG", quality=80)
    return Image.open(file)


def photo(ink: np.ndarray) -> Image.Image:
    """Ink on paper, in light that falls off to one side, with noise, a blur and a speck of dust."""
    height, width = ink.shape
    light = 200 - 90 * np.arange(width) / width - 30 * np.arange(height)[:, None] / height
    soft = ndimage.gaussian_filter(ink.astype(float), 1.5)
    levels = light * (1 - 0.75 * soft) + RNG.normal(0, 8, ink.shape)
    levels[20:24, 30:34] = 60
    return jpeg(Image.fromarray(np.uint8(levels.clip(0, 255))).convert("RGB"))


def prepared(image: Image.Image) -> np.ndarray:
    return fit_ink(find_ink(image), (28, 28), 20)


EXPECTED = fit_ink(four().astype(float), (28, 28), 20)


def test_a_digit_fits_a_box_of_20_with_its_centre_of_mass_in_the_middle():
    rows, columns = np.flatnonzero(EXPECTED.any(axis=1)), np.flatnonzero(EXPECTED.any(axis=0))
    assert max(np.ptp(rows), np.ptp(columns)) + 1 == 20
    assert ndimage.center_of_mass(EXPECTED) == pytest.approx((14, 14), abs=0.5)
    assert EXPECTED.max() == 255
    assert ((EXPECTED > 0) & (EXPECTED < 255)).sum() > 20  # grey edges


@pytest.mark.parametrize(
    "image",
    [
        pytest.param(grey(four()), id="ink on paper"),
        pytest.param(grey(four(), paper=0, depth=-255), id="white on black"),
        pytest.param(grey(four(), paper=140, depth=50), id="faint"),
        pytest.param(grey(four()).convert("RGB"), id="colour"),
        pytest.param(grey(four()).convert("P"), id="palette"),
        pytest.param(grey(four(), paper=255, depth=255).convert("1"), id="one bit"),
        pytest.param(Image.fromarray(np.uint16(60000 - 55000 * four())), id="16 bit"),
        pytest.param(jpeg(grey(four())), id="jpeg"),
        pytest.param(grey(four(1600)), id="large"),
        pytest.param(grey(np.pad(four(), ((300, 0), (0, 500)))), id="in a corner"),
        pytest.param(photo(four()), id="photo"),
        pytest.param(photo(four(1200)), id="large photo"),
    ],
)
def test_ink_is_found_in(image):
    found = prepared(image).astype(int)
    assert np.corrcoef(found.ravel(), EXPECTED.ravel())[0, 1] > 0.9


@pytest.mark.parametrize("ink", [0, 255])
def test_a_transparent_background_becomes_contrasting_paper(ink):
    alpha = Image.fromarray(np.uint8(255 * four()))
    image = Image.merge("RGBA", [Image.new("L", alpha.size, ink)] * 3 + [alpha])
    assert np.abs(prepared(image).astype(int) - EXPECTED).max() < 40


def test_a_photo_is_rotated_as_its_exif_data_require():
    file = io.BytesIO()
    exif = Image.Exif()
    exif[0x0112] = 6  # to be rotated clockwise by 90 degrees
    grey(np.rot90(four())).save(file, "JPEG", exif=exif)
    assert np.corrcoef(prepared(Image.open(file)).ravel(), EXPECTED.ravel())[0, 1] > 0.9


def test_thin_strokes_are_thickened():
    thin = prepared(grey(four(pen=5)))
    assert np.corrcoef(thin.ravel(), EXPECTED.ravel())[0, 1] > 0.8
    assert thin.sum() > 0.5 * EXPECTED.sum()


@pytest.mark.parametrize(("form", "options"), [("JPEG", {"quality": 80}), ("WEBP", {"quality": 80})])
def test_noise_of_compression_does_not_enlarge_the_box(form, options, tmp_path):
    grey(four(130, 10)).save(tmp_path / "drawing", form, **options)
    found = prepared(open_image(tmp_path / "drawing"))
    assert np.corrcoef(found.ravel(), prepared(grey(four(130, 10))).ravel())[0, 1] > 0.95


@pytest.mark.parametrize("opacity", [60, 127, 128, 255])
@pytest.mark.parametrize("level", [0, 255])
def test_translucent_ink_is_found(level, opacity):
    image = np.full((*four(120).shape, 2), level, np.uint8)
    image[..., 1] = opacity * four(120)
    assert np.corrcoef(prepared(Image.fromarray(image, "LA")).ravel(), EXPECTED.ravel())[0, 1] > 0.9


def test_an_image_of_an_unusual_mode_is_refused():
    with pytest.raises(UserError, match="cannot be read: conversion from LAB"):
        to_grey(Image.new("LAB", (9, 9)))


def test_a_light_shape_on_black_is_not_paper_in_a_frame():
    square = np.zeros((28, 28), np.uint8)
    square[4:24, 4:24] = 255
    assert is_laid_out(square, MNIST)
    np.testing.assert_array_equal(prepared(Image.fromarray(square)), np.roll(square, 1, axis=(0, 1)))


@pytest.mark.parametrize("level", [0, 90, 255])
def test_an_image_of_one_colour_has_no_ink(level):
    assert not find_ink(Image.new("L", (40, 30), level)).any()
    assert not prepared(Image.new("L", (40, 30), level)).any()


@pytest.mark.parametrize("size", [(1, 1), (1, 9), (9, 1), (2, 2), (3, 500), (500, 3)])
def test_tiny_and_narrow_images_are_accepted(size):
    image = Image.fromarray(RNG.integers(0, 256, size, dtype=np.uint8))
    assert prepared(image).shape == (28, 28)


@pytest.mark.parametrize(("shape", "box"), [((8, 8), 8), ((28, 28), 28), ((6, 4), 4), ((1, 1), 1)])
def test_ink_fits_images_of_any_shape(shape, box):
    image = fit_ink(four().astype(float), shape, box)
    assert image.shape == shape
    assert image.max() == 255


def test_ink_with_its_mass_off_centre_is_not_cut_off():
    # A thick block on a long thin line: its centre of mass is far from the middle of its box.
    ink = np.zeros((60, 60))
    ink[29:31, :] = 1
    ink[20:40, 50:] = 1
    image = fit_ink(ink, (28, 28), 20)
    assert np.ptp(np.flatnonzero(image.any(axis=0))) + 1 == 20


@pytest.mark.parametrize("kind", ["Gaussian blur 1.2 px", "Gaussian noise 0.25", "motion blur 9 px"])
def test_an_image_like_the_data_sets_is_laid_out(kind):
    assert is_laid_out(EXPECTED, MNIST)
    assert is_laid_out(np.asarray(KINDS[kind](EXPECTED, RNG)), MNIST)


@pytest.mark.parametrize(
    "image",
    [
        pytest.param(255 - EXPECTED, id="black on white"),
        pytest.param(np.roll(EXPECTED, 4, axis=1), id="off the centre"),
        pytest.param(fit_ink(four().astype(float), (28, 28), 12), id="small"),
        pytest.param(fit_ink(four().astype(float), (32, 32), 20), id="of a different size"),
        pytest.param(np.asarray(framed(EXPECTED, RNG).resize((28, 28))), id="framed"),
        pytest.param(np.asarray(clean(EXPECTED, RNG).resize((28, 28))), id="paper"),
        pytest.param(np.zeros((28, 28), np.uint8), id="empty"),
        pytest.param(np.uint8(20 + EXPECTED * (235 / 255)), id="dark grey background"),
    ],
)
def test_a_different_image_is_not_laid_out(image):
    assert not is_laid_out(image, MNIST)


@pytest.mark.parametrize(
    ("image", "laid_out"),
    [
        pytest.param(np.roll(EXPECTED, 4, axis=1), True, id="off the centre"),
        pytest.param(fit_ink(four().astype(float), (28, 28), 12), True, id="small"),
        pytest.param(255 - EXPECTED, False, id="black on white"),
        pytest.param(fit_ink(four().astype(float), (32, 32), 20), False, id="of a different size"),
        pytest.param(np.full((28, 28), 128, np.uint8), False, id="of one colour"),
    ],
)
def test_where_training_images_are_not_centred_ink_may_be_anywhere(image, laid_out):
    assert is_laid_out(image, replace(MNIST, centred=False)) is laid_out


@pytest.mark.skipif(not os.environ.get("DATASET_MIRROR"), reason="needs a DATASET_MIRROR of MNIST")
def test_images_of_mnist_are_left_unchanged():
    with ExitStack() as files:
        file = IdxFile(Path(os.environ["DATASET_MIRROR"]) / "t10k-images-idx3-ubyte.gz", 3, files)
        images = next(file.chunks(1000))
    changes = [np.abs(prepared(Image.fromarray(image)).astype(int) - image).max() for image in images]
    assert np.mean(np.array(changes) <= 3) > 0.95  # of 255: the strongest ink becomes 255
    assert np.mean([is_laid_out(image, MNIST) for image in images]) > 0.99
