"""Separation of ink from paper, without uneven light, printed lines, frames, noise and specks."""

import math

import numpy as np
from scipy import ndimage

FAINT = 0.1  # fraction of full ink below which a pixel is noise, such as JPEG adds around strokes
SMALL = 64  # pixels per side up to which faint pixels next to a stroke are its edge, as in MNIST's images, not noise
SPECK = 0.03  # fraction of all ink below which a separate blot is dust
MAIN = 0.7  # fraction of all ink from which the largest blot is the digit, and other blots are parts of it
AROUND = np.ones((3, 3))  # the neighbours of a pixel, diagonal ones included


def extract_ink(grey: np.ndarray) -> np.ndarray:
    """Separate ink from paper in grey levels, float64 (height, width), 0 to 255: 0 paper to 1 ink, without a frame.

    A uniform border keeps the grey levels; an image of one colour has no ink.
    """
    grey = trim_frame(grey)
    uniform = np.ptp(border(grey)) == 0
    if is_dark_on_light(grey) or (not uniform and np.mean(grey > _middle(grey)) > 0.55):  # light may fall off outwards
        grey = 255 - grey
    if uniform:
        depth = np.maximum(grey - grey[0, 0], 0)
        ink = depth / max(depth.max(), 1)
        ink = _crop_faint(ink) if max(ink.shape) > SMALL and ink.any() else ink
    else:
        depth = _remove_edges(_remove_lines(_subtract_paper(grey)))
        full = np.median(depth[depth > depth.max() / 2]) if depth.any() else 1
        ink = np.minimum(depth / full, 1)
        ink[ink < FAINT] = 0
    return _thicken(_remove_specks(ink))


def is_single_shape(ink: np.ndarray) -> bool:
    """Whether most of the ink, float (height, width), is in one blot, unlike that of a text or a texture."""
    amounts = _blots(ink)[1]
    return bool(amounts.max(initial=0) > MAIN * amounts.sum())


def is_dark_on_light(grey: np.ndarray) -> np.ndarray:
    """Whether the border is lighter than the middle of the range of grey levels (..., height, width): bool (...)."""
    return np.median(border(grey), axis=-1) > _middle(grey)


def border(values: np.ndarray) -> np.ndarray:
    """The outermost pixels of one image, or of each of several: (..., pixels)."""
    sides = values[..., 0, :], values[..., -1, :], values[..., 1:-1, 0], values[..., 1:-1, -1]
    return np.concatenate(sides, axis=-1)


def trim_frame(grey: np.ndarray) -> np.ndarray:
    """The light paper within a dark frame; an image without a frame is returned itself."""
    dark = grey < _middle(grey)
    inner = [np.flatnonzero(dark.mean(axis=axis) < 0.9) for axis in (1, 0)]
    wide = all(len(lines) > 0.6 * size for lines, size in zip(inner, grey.shape, strict=True))
    if border(dark).mean() < 0.9 or not wide:
        return grey
    paper = tuple(slice(lines[0] + 1, lines[-1]) for lines in inner)
    # Light strokes on black fill less of their box, and less of its border.
    light = border(dark[paper]).mean() < 0.2 and dark[paper].mean() < 0.5
    # A light shape on black, without any ink in it, is not paper.
    ink = grey[paper] < _middle(grey[paper])
    return grey[paper] if light and 0 < ink.mean() < 0.4 else grey


def _middle(grey: np.ndarray) -> np.ndarray:
    """The middle of the range of grey levels of one image, or of each of several: float64 (...)."""
    return (grey.min((-2, -1)).astype(np.float64) + grey.max((-2, -1))) / 2


def _subtract_paper(grey: np.ndarray) -> np.ndarray:
    """The contrast of strokes, lighter than paper, with the paper around them, without noise: float64, 0 to 1."""
    size = 2 * max(grey.shape) // 5 + 1  # wider than any stroke
    level = 255 - grey
    smooth = ndimage.median_filter(level, 3)
    reflected = ndimage.grey_closing(smooth, size)
    extended = ndimage.grey_closing(np.pad(smooth, size, mode="edge"), size)[size:-size, size:-size]
    # `extended` follows light that falls off to the edge; where it is much darker, a stroke lies along the edge.
    depth = 1 - level / np.maximum(np.where(extended > 0.6 * reflected, extended, reflected), 1)
    lowest, paper = np.quantile(depth, (0.05, 0.25))  # both are of paper, even if half of the image is ink
    return np.maximum(depth - paper - 4.5 * (paper - lowest), 0)


def _remove_lines(depth: np.ndarray) -> np.ndarray:
    """The depth without thin lines from edge to edge, such as printed ones, also under strokes that are darker."""
    thin = max(depth.shape) // 25 + 3  # pixels, with the one that the maximum adds on both sides
    for _ in range(2):  # along columns, then along rows
        depth = depth.T
        thick = ndimage.maximum_filter1d(depth, 3, axis=0)  # a line that is not quite level remains connected
        long = ndimage.grey_opening(thick, (1, max(1, depth.shape[1] // 4)))
        line = (long > 0) & (ndimage.grey_opening(long, (thin, 1)) < long / 2)
        # A thick stroke interrupts a line: the ink between its parts is counted to its length.
        between = np.logical_or.accumulate(line, 1) & np.logical_or.accumulate(line[:, ::-1], 1)[:, ::-1]
        joined, _ = ndimage.label(between & (thick > 0), AROUND)
        lengths = [0, *(columns.stop - columns.start for _, columns in ndimage.find_objects(joined))]
        printed = line & (np.array(lengths) > 0.8 * depth.shape[1])[joined]
        printed = ndimage.binary_dilation(printed, np.ones((3, 1)))
        printed &= depth < 2 * ndimage.maximum_filter1d(long, 3, axis=0)
        bridged = ndimage.grey_closing(np.where(printed, 0, depth), (2 * thin - 4, 1))
        depth = np.where(printed, bridged, depth)
    return depth


def _remove_edges(depth: np.ndarray) -> np.ndarray:
    """The depth without blots that touch the edge, such as a table, unless no blot of a digit's size is left."""
    blots = ndimage.label(depth > 0, AROUND)[0]
    inside = np.where(np.isin(blots, border(blots)), 0, blots)
    sizes = [max(_lengths(box)) for box in ndimage.find_objects(inside) if box]
    return np.where(inside > 0, depth, 0) if max(sizes, default=0) > 0.2 * max(depth.shape) else depth


def _crop_faint(ink: np.ndarray) -> np.ndarray:
    """The ink without faint pixels outside of the box of the others: JPEG adds such around strokes."""
    box = ndimage.find_objects((ink >= FAINT).astype(int))[0]
    cropped = np.zeros_like(ink)
    cropped[box] = ink[box]
    return cropped


def _remove_specks(ink: np.ndarray) -> np.ndarray:
    """The ink without small separate blots."""
    blots, amounts = _blots(ink)
    return np.where((amounts >= SPECK * amounts.sum())[blots], ink, 0)


def _blots(ink: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The number of the blot of each pixel, int (height, width), 0 for paper; the ink of each number, float64."""
    blots, count = ndimage.label(ink > 0, AROUND)
    return blots, np.bincount(blots.ravel(), ink.ravel(), count + 1)


def _lengths(box: tuple[slice, ...]) -> list[int]:
    """The length of a box along each axis."""
    return [part.stop - part.start for part in box]


def _thicken(ink: np.ndarray) -> np.ndarray:
    """The ink of a thin pen as that of a thicker one: strokes in MNIST are a tenth as wide as their digit is tall."""
    if not ink.any():
        return ink
    size = max(_lengths(ndimage.find_objects((ink > 0).astype(int))[0]))
    stroke = np.pad(ink > 0.5, 1)
    outline = sum(np.count_nonzero(np.diff(stroke, axis=axis)) for axis in (0, 1)) * math.pi / 4  # of all directions
    width = 2 * np.count_nonzero(stroke) / outline  # the outline follows a stroke on both sides
    growth = max(0, int(size / 10 - width))
    offset = np.arange(growth + 1) - growth / 2
    disc = offset[:, None] ** 2 + offset**2 <= ((growth + 1) / 2) ** 2
    return ndimage.grey_dilation(np.pad(ink, growth), footprint=disc)
