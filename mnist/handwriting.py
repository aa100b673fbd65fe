"""Conversion of photos and drawings of handwriting to images like MNIST's.

MNIST's digits were scaled to fit 20 by 20 pixels, with grey edges, and centred by mass in 28 by 28 (LeCun et al. 1998).
`fit_ink` does so, as does mnist/report/templates/pad.js; `find_ink` first separates the ink from the paper.
"""

import math
import warnings
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError
from scipy import ndimage

from mnist.core.data import DataSummary
from mnist.core.errors import UserError
from mnist.dataset.split import are_centred
from mnist.paper import FAINT, SMALL, border, extract_ink, is_dark_on_light, trim_frame

# Formats with a signature, and a decoder within Pillow; for EPS it would start Ghostscript.
FORMATS = ("AVIF", "BMP", "DIB", "GIF", "ICO", "JPEG", "JPEG2000", "PCX", "PNG", "PPM", "QOI", "SGI", "TIFF", "WEBP")
BLACK = 5  # grey levels, of 255, up to which a pixel of the border is black
WORKING_SIZE = 160  # pixels of the longer side to which larger photos are reduced; the network's input is smaller still
ENLARGEMENT = 4  # of a photo of at most SMALL pixels per side, so that thin lines and strokes differ in width


def open_image(path: Path) -> Image.Image:
    """Open and decode an image file, rotated upright; UserError if it is unusable, which does not name the path."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(path, formats=FORMATS) as image:
                return ImageOps.exif_transpose(image)
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise UserError("has too many pixels to be opened safely; make it smaller") from None
    except UnidentifiedImageError:
        raise UserError("is not an image of a supported format") from None
    except Exception as error:  # decoders raise many types
        raise UserError(f"cannot be read: {getattr(error, 'strerror', None) or error}") from None


def is_laid_out(grey: np.ndarray, data: DataSummary) -> bool:
    """Whether one image, uint8 (height, width), is white on black and laid out like the training images.

    If those are centred by mass, its ink has to be where `fit_ink` places it.
    """
    if grey.shape != data.image_shape or np.ptp(grey) == 0 or is_dark_on_light(grey) or trim_frame(grey) is not grey:
        return False
    if not data.centred:
        return True
    ink, strong = (np.argwhere(grey > level * grey.max()) for level in (FAINT, 0.5))
    middle = np.subtract(data.image_shape, 1) / 2
    outside = (np.abs(strong - middle) > data.box / 2 + 2).any(axis=1).mean()  # such as a blur, or a line across
    centred = are_centred(grey[None])[0] and border(grey).min() <= BLACK
    return bool(centred and outside < 0.1 and np.ptp(ink, axis=0).max() + 1 >= 0.8 * data.box)


def find_ink(image: Image.Image) -> np.ndarray:
    """Separate ink from paper, dark on light or light on dark: float64 (height, width), 0 paper to 1 ink.

    Most of the border must be paper, or a frame around it. A uniform border keeps the grey levels; an image of one
    colour has no ink.
    """
    image = to_grey(ImageOps.exif_transpose(image))
    image.thumbnail((WORKING_SIZE, WORKING_SIZE), Image.Resampling.BOX)
    if max(image.size) <= SMALL and np.ptp(border(np.asarray(image))) > 0:
        width, height = image.size
        image = image.resize((ENLARGEMENT * width, ENLARGEMENT * height), Image.Resampling.BICUBIC)
    return extract_ink(np.asarray(image, np.float64))


def fit_ink(ink: np.ndarray, image_shape: tuple[int, int], box: int) -> np.ndarray:
    """Scale ink, float (height, width), to fit a square of `box` pixels, and centre it by mass: uint8, at most 255."""
    image = np.zeros(image_shape, np.uint8)
    if not ink.any():
        return image
    ink = ink[ndimage.find_objects((ink > 0).astype(int))[0]]
    height, width = (max(1, math.floor(size * box / max(ink.shape) + 0.5)) for size in ink.shape)
    ink = _averages(ink.shape[0], height) @ ink @ _averages(ink.shape[1], width).T
    corner = np.floor(np.divide(image_shape, 2) - ndimage.center_of_mass(ink) + 0.5).astype(int)
    top, left = np.clip(corner, 0, np.subtract(image_shape, ink.shape))
    image[top : top + height, left : left + width] = np.floor(255 * ink / ink.max() + 0.5)
    return image


def resize(grey: np.ndarray, image_shape: tuple[int, int]) -> np.ndarray:
    """Resize grey levels, uint8 (any height, any width), to `image_shape`, without a search for ink."""
    return np.asarray(Image.fromarray(grey).resize(image_shape[::-1], Image.Resampling.BILINEAR))


def to_grey(image: Image.Image) -> Image.Image:
    """Convert an image of any mode to 8-bit grey levels; UserError if Pillow cannot convert the mode."""
    if image.mode.startswith("I"):  # 16 bits, which Pillow would clip at 255 instead of scaling them
        image = Image.fromarray((np.asarray(image, np.float64) / 257).astype(np.uint8))
    if image.has_transparency_data:  # a drawing on a transparent background gets the paper that contrasts with it
        image = image.convert("RGBA")
        opacity = np.asarray(image.getchannel("A"))
        light = not opacity.any() or np.average(np.asarray(image.convert("L")), weights=opacity) >= 128
        image = Image.alpha_composite(Image.new("RGBA", image.size, "black" if light else "white"), image)
    try:
        return image.convert("L")
    except ValueError as error:
        raise UserError(f"cannot be read: {error}") from None


def _averages(size: int, parts: int) -> np.ndarray:
    """The matrix, float64 (parts, size), that averages over equal parts of an axis, pixels weighted by overlap."""
    edges, pixels = np.linspace(0, size, parts + 1), np.arange(size)
    overlaps = np.minimum(edges[1:, None], pixels + 1) - np.maximum(edges[:-1, None], pixels)
    return np.maximum(overlaps, 0) * (parts / size)
