"""Pictures of digits as people photograph them; python -m tests.sheets prints how well predict.py reads them."""

import sys
from collections.abc import Callable

import numpy as np
from PIL import Image
from scipy import ndimage

from mnist.core.data import DataSummary, read_data_summary
from mnist.core.errors import UserError
from mnist.core.params import read_params
from mnist.core.paths import MODEL
from mnist.model.weights import read_weights
from predict import PredictParams, predict, prepare

MNIST = DataSummary("mnist", "MNIST", list("0123456789"), (28, 28), True, 20, True, "test images", {})
SCALE = 8  # pixels of a photo per pixel of a digit
RULE = 2  # pixels, width of a printed line
PAPER, PEN, PRINT, TABLE = 225, 45, 165, 20  # grey levels
COUNT = 300  # pictures of each kind in the table


def four(size: int = 400, pen: int = 36) -> np.ndarray:
    """A drawn 4, bool (size, size), off the centre of the field."""
    field = np.zeros((size, size), bool)
    unit = size / 400
    for (x0, y0), (x1, y1) in (((120, 80), (90, 210)), ((90, 210), (230, 210)), ((210, 110), (190, 320))):
        for t in np.linspace(0, 1, 300):
            x, y = unit * (x0 + t * (x1 - x0)), unit * (y0 + t * (y1 - y0))
            field[round(y), round(x)] = True
    return ndimage.distance_transform_edt(~field) <= unit * pen / 2


def photo(levels: np.ndarray, rng: np.random.Generator) -> Image.Image:
    """Grey levels as a camera saves them, with a little noise."""
    return Image.fromarray(np.uint8((levels + rng.normal(0, 2, levels.shape)).clip(0, 255)))


def sheet(digit: np.ndarray, lines: np.ndarray | bool = False) -> np.ndarray:
    """Grey levels of a digit, uint8 (height, width), written over printed lines: float64, SCALE times as large."""
    height, width = digit.shape
    enlarged = Image.fromarray(digit).resize((width * SCALE, height * SCALE), Image.Resampling.BICUBIC)
    ink = np.asarray(enlarged, np.float64) / 255
    return np.where(lines, PRINT, PAPER) * (1 - ink) + PEN * ink


def rules(size: int, distance: int, rng: np.random.Generator) -> np.ndarray:
    """Where printed lines are along an axis, bool (size,)."""
    return (np.arange(size) + rng.integers(distance)) % distance < RULE


def clean(digit: np.ndarray, rng: np.random.Generator) -> Image.Image:
    return photo(sheet(digit), rng)


def ruled(digit: np.ndarray, rng: np.random.Generator) -> Image.Image:
    return photo(sheet(digit, rules(SCALE * len(digit), 60, rng)[:, None]), rng)


def squared(digit: np.ndarray, rng: np.random.Generator) -> Image.Image:
    height, width = SCALE * np.array(digit.shape)
    return photo(sheet(digit, rules(width, 40, rng) | rules(height, 40, rng)[:, None]), rng)


def framed(digit: np.ndarray, rng: np.random.Generator) -> Image.Image:
    inside = sheet(digit)[SCALE:-SCALE, SCALE:-SCALE]
    return photo(np.pad(inside, SCALE, constant_values=TABLE), rng)


def shadowed(digit: np.ndarray, rng: np.random.Generator) -> Image.Image:
    levels = sheet(digit)
    levels[:, : levels.shape[1] // 2] *= 0.6
    return photo(levels, rng)


def dimmed(digit: np.ndarray, rng: np.random.Generator) -> Image.Image:
    levels = sheet(digit)
    return photo(levels * np.linspace(1, 0.4, levels.shape[1]), rng)


def blurred(digit: np.ndarray, rng: np.random.Generator) -> Image.Image:
    return Image.fromarray(np.uint8(ndimage.gaussian_filter(digit.astype(float), 1.2)))


def noisy(digit: np.ndarray, rng: np.random.Generator) -> Image.Image:
    return Image.fromarray(np.uint8((digit + rng.normal(0, 0.25 * 255, digit.shape)).clip(0, 255)))


def moved(digit: np.ndarray, rng: np.random.Generator) -> Image.Image:
    return Image.fromarray(np.uint8(ndimage.uniform_filter1d(digit.astype(float), 9, axis=1)))


def crossed(digit: np.ndarray, rng: np.random.Generator) -> Image.Image:
    """A zigzag line across the middle, two pixels wide."""
    crossed = digit.copy()
    columns = np.linspace(0, digit.shape[1] - 1, 200)
    rows = digit.shape[0] / 2 + 5 * (np.abs((columns + rng.integers(14)) % 14 - 7) - 3.5) / 3.5
    for shift in (0, 1):
        crossed[rows.round().astype(int) + shift, columns.round().astype(int)] = 255
    return Image.fromarray(crossed)


# On paper, dark on light; and of the size of the data set, white on black.
ON_PAPER: dict[str, Callable] = {
    "clean": clean,
    "ruled paper": ruled,
    "squared paper": squared,
    "black frame": framed,
    "shadow over half": shadowed,
    "light falling off to 0.4": dimmed,
}
KINDS: dict[str, Callable] = ON_PAPER | {
    "Gaussian blur 1.2 px": blurred,
    "Gaussian noise 0.25": noisy,
    "motion blur 9 px": moved,
    "zigzag line across": crossed,
}


def main(split: str = "test") -> None:
    """Print a row per kind: the percentages right, sure, and right among sure ones, of the first images of a split."""
    data, limit = read_data_summary(), read_params(PredictParams).unsure_below
    layers = read_weights(MODEL, data)
    images, labels = (array[:COUNT] for array in data.load_split(split))
    digits = np.uint8(np.round(255 * images)).reshape(-1, *data.image_shape)
    print(
        f"| {split} images | right | sure | right among sure | no single digit |\n| --- | ---: | ---: | ---: | ---: |"
    )
    for kind, draw in KINDS.items():
        prepared, read = [], np.ones(len(digits), bool)
        for index, digit in enumerate(digits):
            try:
                prepared.append(prepare(draw(digit, np.random.default_rng(index)), data))
            except UserError:
                read[index] = False
        probabilities = predict(layers, prepared)
        right = probabilities.argmax(axis=1) == labels[read]
        sure = probabilities.max(axis=1) >= limit
        shares = right.sum() / len(digits), sure.sum() / len(digits), right[sure].mean()
        print(f"| {kind} | {' | '.join(f'{100 * share:.1f}' for share in shares)} | {np.count_nonzero(~read)} |")


if __name__ == "__main__":
    main(*sys.argv[1:])
