"""Conversion of photos and drawings of handwriting to images like MNIST's.

MNIST's digits were scaled to fit 20 by 20 pixels, with grey edges, and centred by mass in 28 by 28 (LeCun et al. 1998).
`fit_ink` does so, as does mnist/report/templates/pad.js; `find_ink` first removes paper, shadows and noise of a photo.
"""

import math
import warnings
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError
from scipy import ndimage

from mnist.core.errors import UserError

# Formats with a signature, and a decoder within Pillow; for EPS it would start Ghostscript.
FORMATS = ("AVIF", "BMP", "DIB", "GIF", "ICO", "JPEG", "JPEG2000", "PCX", "PNG", "PPM", "QOI", "SGI", "TIFF", "WEBP")
WORKING_SIZE = 160  # pixels of the longer side to which larger photos are reduced; the network's input is smaller still
PAPER_SIZE = 32  # pixels per side of the coarse image that the lighting of the paper is estimated from
FAINT = 0.1  # fraction of full ink below which a pixel is noise, such as JPEG adds around strokes
SMALL = 64  # pixels per side up to which faint pixels next to a stroke are its edge, as in MNIST's images, not noise
SPECK = 0.03  # fraction of all ink below which a separate blot is dust


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


def is_prepared(images: np.ndarray, image_shape: tuple[int, int]) -> bool:
    """Whether images, uint8 (n, height, width), have this shape and are white on black, as those of MNIST."""
    # An image that fills the frame may look dark on light: 2 of the 70,000 of Fashion-MNIST do.
    return images.shape[1:] == image_shape and _is_dark_on_light(images).mean() < 0.01


def find_ink(image: Image.Image) -> np.ndarray:
    """Separate ink from paper, dark on light or light on dark: float64 (height, width), 0 paper to 1 ink.

    Most of the border must be paper. A uniform border keeps the grey levels; an image of one colour has no ink.
    """
    image = to_grey(ImageOps.exif_transpose(image))
    image.thumbnail((WORKING_SIZE, WORKING_SIZE), Image.Resampling.BOX)
    grey = np.asarray(image, np.float64)
    if _is_dark_on_light(grey):
        grey = 255 - grey
    if np.ptp(np.percentile(_border(grey), (25, 75))) > 0.05 * np.ptp(grey):
        grey = _correct_lighting(grey)
    border = _border(grey)
    paper = np.median(border)
    noise = 6 * np.median(np.abs(border - paper))  # four standard deviations of normal noise
    depth = np.maximum(grey - paper - noise, 0)
    if not depth.any():
        return depth
    if np.ptp(border) == 0:
        ink = depth / depth.max()
        ink = _crop_faint(ink) if max(ink.shape) > SMALL else ink
    else:
        ink = np.minimum(depth / np.median(depth[depth > depth.max() / 2]), 1)
        ink[ink < FAINT] = 0
    return _thicken(_remove_specks(ink))


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


def to_grey(image: Image.Image) -> Image.Image:
    """Convert an image of any mode to 8-bit grey levels."""
    if image.has_transparency_data:  # a drawing on a transparent background gets the paper that contrasts with it
        image = image.convert("RGBA")
        drawn = np.asarray(image.convert("L"))[np.asarray(image.getchannel("A")) > 127]
        paper = "white" if drawn.size and drawn.mean() < 128 else "black"
        image = Image.alpha_composite(Image.new("RGBA", image.size, paper), image)
    if image.mode.startswith("I"):  # 16 bits, which Pillow would clip at 255 instead of scaling them
        image = Image.fromarray((np.asarray(image, np.float64) / 257).astype(np.uint8))
    return image.convert("L")


def _border(values: np.ndarray) -> np.ndarray:
    """The outermost pixels of one image, or of each of several: (..., pixels)."""
    sides = values[..., 0, :], values[..., -1, :], values[..., 1:-1, 0], values[..., 1:-1, -1]
    return np.concatenate(sides, axis=-1)


def _is_dark_on_light(grey: np.ndarray) -> np.ndarray:
    """Whether the border is lighter than the middle of the range of grey levels (..., height, width): bool (...)."""
    darkest, lightest = (np.asarray(extreme, np.float64) for extreme in (grey.min((-2, -1)), grey.max((-2, -1))))
    return np.median(_border(grey), axis=-1) > (darkest + lightest) / 2


def _correct_lighting(grey: np.ndarray) -> np.ndarray:
    """The brightness of each pixel relative to the paper around it, float64 (height, width)."""
    coarse = Image.fromarray(grey.astype(np.float32)).resize((PAPER_SIZE, PAPER_SIZE), Image.Resampling.BOX)
    without_strokes = ndimage.minimum_filter(np.asarray(coarse), PAPER_SIZE // 3, mode="nearest")
    smooth = Image.fromarray(ndimage.gaussian_filter(without_strokes, PAPER_SIZE / 6, mode="nearest"))
    paper = np.asarray(smooth.resize(grey.shape[::-1], Image.Resampling.BICUBIC), np.float64)
    return (grey - paper) * 255 / np.maximum(255 - paper, 25)


def _crop_faint(ink: np.ndarray) -> np.ndarray:
    """The ink without faint pixels outside of the box of the others: JPEG adds such around strokes."""
    box = ndimage.find_objects((ink >= FAINT).astype(int))[0]
    cropped = np.zeros_like(ink)
    cropped[box] = ink[box]
    return cropped


def _remove_specks(ink: np.ndarray) -> np.ndarray:
    """The ink without small separate blots."""
    blots, count = ndimage.label(ink > 0, structure=np.ones((3, 3)))
    amounts = np.bincount(blots.ravel(), ink.ravel(), count + 1)
    return np.where((amounts >= SPECK * amounts.sum())[blots], ink, 0)


def _thicken(ink: np.ndarray) -> np.ndarray:
    """The ink of a thin pen as that of a thicker one: strokes in MNIST are a tenth as wide as their digit is tall."""
    if not ink.any():
        return ink
    size = max(part.stop - part.start for part in ndimage.find_objects((ink > 0).astype(int))[0])
    stroke = np.pad(ink > 0.5, 1)
    outline = sum(np.count_nonzero(np.diff(stroke, axis=axis)) for axis in (0, 1)) * math.pi / 4  # of all directions
    width = 2 * np.count_nonzero(stroke) / outline  # the outline follows a stroke on both sides
    growth = max(0, int(size / 10 - width))
    offset = np.arange(growth + 1) - growth / 2
    disc = offset[:, None] ** 2 + offset**2 <= ((growth + 1) / 2) ** 2
    return ndimage.grey_dilation(np.pad(ink, growth), footprint=disc)


def _averages(size: int, parts: int) -> np.ndarray:
    """The matrix, float64 (parts, size), that averages over equal parts of an axis, pixels weighted by overlap."""
    edges, pixels = np.linspace(0, size, parts + 1), np.arange(size)
    overlaps = np.minimum(edges[1:, None], pixels + 1) - np.maximum(edges[:-1, None], pixels)
    return np.maximum(overlaps, 0) * (parts / size)
