"""Photos and drawings of handwriting, made into images as the network knows them.

MNIST's makers scaled each digit to fit a square of 20 by 20 pixels, with grey edges, and put its centre of mass in the
middle of 28 by 28 (LeCun et al. 1998, "Gradient-based learning applied to document recognition"). `fit_ink` does that;
`mnist/report/templates/pad.js` does the same in the report. `find_ink` is for what photos have besides ink: paper, shadows,
noise.
"""

import math

import numpy as np
from PIL import Image, ImageOps
from scipy import ndimage

WORKING_SIZE = 160  # pixels of the longer side to which a larger photo is reduced: more than the network can see
PAPER_SIZE = 32  # pixels of each side of the coarse image in which the light on the paper is followed
FAINT = 0.1  # of the strength of ink: less is left out, as JPEG surrounds strokes with it
SPECK = 0.03  # share of all ink below which a blot that lies by itself is dust


def find_ink(image: Image.Image) -> np.ndarray:
    """Tell ink from paper in a photo of ink on paper, or of white on black.

    Most of the border is paper. If it is unevenly lit, the light is followed across the image; what lies within the
    paper's noise is no ink. A clean image, with one level along all of its border, keeps its greys.

    Returns:
        Float64 (height, width), 0 paper to 1 ink; all 0 for an image of one colour.
    """
    grey = _grey(ImageOps.exif_transpose(image))
    if np.median(_border(grey)) > (grey.min() + grey.max()) / 2:
        grey = 255 - grey
    low, high = np.percentile(_border(grey), (25, 75))
    if high - low > 0.05 * np.ptp(grey):
        grey = _evenly_lit(grey)
    border = _border(grey)
    paper = np.median(border)
    noise = 6 * np.median(np.abs(border - paper))  # four standard deviations, if it is normal
    depth = np.maximum(grey - paper - noise, 0)
    if not depth.any():
        return depth
    if np.ptp(border) == 0:
        ink = depth / depth.max()
    else:
        ink = np.minimum(depth / np.median(depth[depth > depth.max() / 2]), 1)
        ink[ink < FAINT] = 0
    return _thickened(_without_specks(ink))


def fit_ink(ink: np.ndarray, image_shape: tuple[int, int], box: int) -> np.ndarray:
    """Scale ink to fit a square, and put its centre of mass in the middle of an image.

    Args:
        ink: float (height, width), 0 paper to 1 ink.
        image_shape: height and width of the result.
        box: side of the square in pixels.

    Returns:
        uint8 (height, width), the strongest ink 255; all 0 if there is no ink.
    """
    image = np.zeros(image_shape, np.uint8)
    rows, columns = np.flatnonzero(ink.any(axis=1)), np.flatnonzero(ink.any(axis=0))
    if not rows.size:
        return image
    ink = ink[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    height, width = (max(1, math.floor(size * box / max(ink.shape) + 0.5)) for size in ink.shape)
    ink = _averages(ink.shape[0], height) @ ink @ _averages(ink.shape[1], width).T
    top, left = (
        min(max(0, math.floor(size / 2 - centre + 0.5)), size - part)
        for size, centre, part in zip(image_shape, ndimage.center_of_mass(ink), ink.shape, strict=True)
    )
    image[top : top + height, left : left + width] = np.floor(255 * ink / ink.max() + 0.5)
    return image


def _grey(image: Image.Image) -> np.ndarray:
    """Brightness, float64 (height, width), 0 to 255, of at most WORKING_SIZE pixels a side."""
    if image.has_transparency_data:
        # What is drawn on nothing gets the paper that it stands out from.
        image = image.convert("RGBA")
        drawn = np.asarray(image.convert("L"))[np.asarray(image.getchannel("A")) > 127]
        paper = "white" if drawn.size and drawn.mean() < 128 else "black"
        image = Image.alpha_composite(Image.new("RGBA", image.size, paper), image)
    if image.mode.startswith("I"):  # 16 bits, which Pillow would cut off at 255 and not scale
        image = Image.fromarray((np.asarray(image, np.float64) / 257).astype(np.uint8))
    image = image.convert("L")
    image.thumbnail((WORKING_SIZE, WORKING_SIZE), Image.Resampling.BOX)
    return np.asarray(image, np.float64)


def _border(values: np.ndarray) -> np.ndarray:
    """The outermost pixels."""
    return np.concatenate([values[0], values[-1], values[1:-1, 0], values[1:-1, -1]])


def _evenly_lit(grey: np.ndarray) -> np.ndarray:
    """How much brighter than the paper around it each pixel is, for the light that paper and ink share."""
    coarse = Image.fromarray(grey.astype(np.float32)).resize((PAPER_SIZE, PAPER_SIZE), Image.Resampling.BOX)
    without_strokes = ndimage.minimum_filter(np.asarray(coarse), PAPER_SIZE // 3, mode="nearest")
    smooth = Image.fromarray(ndimage.gaussian_filter(without_strokes, PAPER_SIZE / 6, mode="nearest"))
    paper = np.asarray(smooth.resize(grey.shape[::-1], Image.Resampling.BICUBIC), np.float64)
    return (grey - paper) * 255 / np.maximum(255 - paper, 25)


def _without_specks(ink: np.ndarray) -> np.ndarray:
    """The ink without what lies by itself and is small."""
    blots, count = ndimage.label(ink > 0, structure=np.ones((3, 3)))
    amounts = np.bincount(blots.ravel(), ink.ravel(), count + 1)
    return np.where((amounts >= SPECK * amounts.sum())[blots], ink, 0)


def _thickened(ink: np.ndarray) -> np.ndarray:
    """The ink of a thin pen as that of a thicker one: the strokes of MNIST are a tenth of their digit's size."""
    rows, columns = (np.flatnonzero(ink.any(axis=axis)) for axis in (1, 0))
    if not rows.size:
        return ink
    size = max(np.ptp(rows), np.ptp(columns)) + 1
    stroke = np.pad(ink > 0.5, 1)
    outline = sum(np.count_nonzero(np.diff(stroke, axis=axis)) for axis in (0, 1)) * math.pi / 4  # of all directions
    width = 2 * np.count_nonzero(stroke) / outline  # a stroke's outline goes along it twice
    more = int(size / 10 - width)
    return ink if more < 1 else ndimage.grey_dilation(np.pad(ink, more), footprint=_disc(more + 1))


def _disc(diameter: int) -> np.ndarray:
    offset = np.arange(diameter) - (diameter - 1) / 2
    return offset[:, None] ** 2 + offset**2 <= (diameter / 2) ** 2


def _averages(size: int, parts: int) -> np.ndarray:
    """The matrix, float64 (parts, size), that averages over equal parts of an axis; a pixel in two counts by share."""
    edges = np.linspace(0, size, parts + 1)
    pixels = np.arange(size)
    shares = np.minimum(edges[1:, None], pixels + 1) - np.maximum(edges[:-1, None], pixels)
    return np.maximum(shares, 0) * (parts / size)
