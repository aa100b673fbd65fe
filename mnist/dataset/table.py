"""Images as tables of numbers: a CSV file in Kaggle's form, and grey levels of any scale."""

import csv
import math
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from mnist.core.errors import UserError

LABEL, INDEX = ("label", "class"), ("id", "imageid", "index")  # names of the columns that are not pixels
SCALES = (1, 16, 255, 65535)  # full ink in fractions, in 4 bits, 8 bits and 16 bits


def to_grey_levels(values: np.ndarray, where: str) -> np.ndarray:
    """Convert numbers of any scale to grey levels, uint8; UserError that names `where` if they are not grey levels."""
    if values.dtype == np.uint8 and (values.size == 0 or values.max() > SCALES[1]):
        return values
    if values.dtype.kind not in "biuf":
        raise UserError(f"{where} has {values.dtype} values, expected numbers")
    low, high = (float(values.min()), float(values.max())) if values.size else (0.0, 0.0)
    if not (low >= 0 and high <= SCALES[-1]):
        raise UserError(f"{where} has values from {low:g} to {high:g}, expected grey levels from 0 to 255")
    scale = next(scale for scale in SCALES if high <= scale)
    return np.floor(values * np.float32(255 / scale) + np.float32(0.5)).astype(np.uint8)


def read_table(path: Path, image_shape: tuple[int, int]) -> tuple[np.ndarray, list[str] | None]:
    """Read a CSV file with a row per image: images, uint8 (n, height, width), and their labels, None without.

    The first row may be a header. Images of another size than `image_shape` must be square. UserError if the file is
    not such a table.
    """
    header, columns = _read_columns(path)
    label, pixels = _find_columns(header, columns, math.prod(image_shape))
    side = math.isqrt(len(pixels))
    shape = image_shape if len(pixels) == math.prod(image_shape) else (side, side)
    if math.prod(shape) != len(pixels) or not pixels:
        raise UserError(
            f"{path} has {columns} columns, expected a label and {' x '.join(map(str, image_shape))} pixels"
        )
    dtype = dict.fromkeys(pixels, np.float32) | ({} if label is None else {label: str})
    options: dict[str, Any] = {"names": range(columns), "dtype": dtype}
    options |= {"keep_default_na": False, "na_values": dict.fromkeys(pixels, "")}
    try:
        table = pd.read_csv(path, skiprows=int(header is not None), **options)
    except (ValueError, OverflowError) as error:
        raise UserError(f"{path} is not a table of images: {error}") from None
    values = table[pixels].to_numpy()
    if len(incomplete := np.flatnonzero(np.isnan(values).any(axis=1))):
        raise UserError(f"{path}: image {incomplete[0] + 1} has fewer than {len(pixels)} pixels")
    if not len(values):
        raise UserError(f"{path} has no images")
    images = to_grey_levels(values, str(path)).reshape(-1, *shape)
    return images, None if label is None else [text.strip() for text in table[label]]


def _read_columns(path: Path) -> tuple[list[str] | None, int]:
    """Read the names of the columns, None if the first row is an image, and their number."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            first = next(csv.reader(file), [])
    except UnicodeDecodeError:
        raise UserError(f"{path} is not a text file") from None
    except csv.Error as error:
        raise UserError(f"{path} is not a table of images: {error}") from None
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}") from None
    return (None if all(map(_is_number, first[1:])) and first else first), len(first)


def _find_columns(header: list[str] | None, columns: int, expected: int) -> tuple[int | None, list[int]]:
    """Find the column of the labels, None without, and those of the pixels."""
    names = [name.strip().lower() for name in header or [""] * columns]
    label = next((column for column, name in enumerate(names) if name in LABEL), None)
    pixels = [column for column, name in enumerate(names) if column != label and name not in INDEX]
    square = math.isqrt(len(pixels)) ** 2 == len(pixels)
    if label is None and pixels and len(pixels) != expected and (len(pixels) == expected + 1 or not square):
        label, *pixels = pixels
    return label, pixels


def _is_number(text: str) -> bool:
    try:
        return math.isfinite(float(text))
    except ValueError:
        return False
