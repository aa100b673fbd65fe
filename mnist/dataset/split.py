"""Reading the training or test files of a data set, and writing a split, in chunks of bounded memory."""

import math
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import numpy as np

from mnist.core.errors import UserError
from mnist.core.files import atomic_write, missing_file
from mnist.core.paths import RAW, images_path, labels_path, relative
from mnist.dataset.catalogue import Dataset
from mnist.dataset.idx import IdxFile

CHUNK_BYTES = 1 << 20  # of raw images
NOISE = 25  # grey levels, of 255, up to which a pixel is not ink: JPEG adds such noise around strokes
CENTRED = 1.5  # pixels by which the centre of mass of a centred image may differ from the middle


def rows_per_chunk(pixels: int) -> int:
    """The number of images of this many pixels in a chunk."""
    return max(1, CHUNK_BYTES // pixels)


def ink_sizes(images: np.ndarray) -> np.ndarray:
    """The longer side in pixels of each image's bounding box of ink, integers (n,), 0 for an image without ink.

    Images are uint8 (n, height, width), white on black.
    """
    ink, spans = np.greater(images, NOISE), []
    for lines in (ink.any(axis=1), ink.any(axis=2)):
        margins = lines.argmax(axis=1) + lines[:, ::-1].argmax(axis=1)
        spans.append(np.where(lines.any(axis=1), lines.shape[1] - margins, 0))
    return np.maximum(*spans)


def are_centred(images: np.ndarray) -> np.ndarray:
    """Whether the centre of mass of each image, uint8 (n, height, width), is in its middle: bool (n,)."""
    offsets = []
    for axis in (1, 2):
        lines = images.sum(axis=axis, dtype=np.int64)
        positions = np.arange(lines.shape[1])
        offsets.append(lines @ positions / np.maximum(lines.sum(axis=1), 1) - positions.mean())
    return np.abs(offsets).max(axis=0) < CENTRED


class RawSplit:
    """The images and labels of one raw split (train or t10k), opened together and checked."""

    def __init__(self, name: str, dataset: Dataset, files: ExitStack) -> None:
        """Open both files; they must be those of the data set, and of equal length."""
        paths = [RAW / f"{name}-{kind}-ubyte.gz" for kind in ("images-idx3", "labels-idx1")]
        for path in paths:
            if not path.exists():
                raise missing_file(path)
            if not dataset.files[path.name].matches(path):
                raise UserError(f"{relative(path)} is not that of {dataset.title}; run `dvc repro` to replace it")
        self._images, self._labels = IdxFile(paths[0], 3, files), IdxFile(paths[1], 1, files)
        self.shape = self._images.shape
        if self._labels.shape != self.shape[:1]:
            counts = self.shape[0], self._labels.shape[0]
            raise UserError(f"{relative(paths[0])} has {counts[0]} images, but {paths[1].name} {counts[1]} labels")
        self._classes = len(dataset.classes)

    def chunks(self) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Yield images, uint8 (n, height * width), and labels, uint8 (n,), in chunks."""
        rows = rows_per_chunk(math.prod(self.shape[1:]))
        for images, labels in zip(self._images.chunks(rows), self._labels.chunks(rows), strict=True):
            if labels.max() >= self._classes:
                name = relative(self._labels.path)
                raise UserError(f"{name} has label {labels.max()}, expected 0 to {self._classes - 1}")
            yield images.reshape(len(images), -1), labels


class SplitWriter:
    """Writes the two arrays of one split, and gathers its statistics."""

    def __init__(self, name: str, count: int, image_shape: tuple[int, ...], classes: int, files: ExitStack) -> None:
        """Open `{name}_images.npy` for float32 (count, pixels) and `{name}_labels.npy` for uint8 (count,)."""
        pixels = math.prod(image_shape)
        # Regular writes, not a writable memory map: on a full disk a write raises, a map kills the process.
        self._images = files.enter_context(files.enter_context(atomic_write(images_path(name))).open("wb"))
        self._labels = files.enter_context(files.enter_context(atomic_write(labels_path(name))).open("wb"))
        for file, descr, shape in ((self._images, "<f4", (count, pixels)), (self._labels, "|u1", (count,))):
            np.lib.format.write_array_header_1_0(file, {"descr": descr, "fortran_order": False, "shape": shape})
        # One buffer for all chunks: allocating one per chunk takes longer than the division.
        self._scaled = np.empty((rows_per_chunk(pixels), pixels), np.float32)
        self.class_counts = np.zeros(classes, np.int64)
        self._pixel_counts = np.zeros(256, np.int64)
        self._image_shape = image_shape
        self._size_counts = np.zeros(max(image_shape) + 1, np.int64)
        self._centred_count = 0

    def append(self, images: np.ndarray, labels: np.ndarray) -> None:
        """Append a chunk: images, uint8 (n, height * width), and labels, uint8 (n,)."""
        self._images.write(np.divide(images, np.float32(255), out=self._scaled[: len(images)]).data)
        self._labels.write(labels.data)
        self.class_counts += np.bincount(labels, minlength=len(self.class_counts))
        self._pixel_counts += np.bincount(images.ravel(), minlength=256)
        images = images.reshape(-1, *self._image_shape)
        self._size_counts += np.bincount(ink_sizes(images), minlength=len(self._size_counts))
        self._centred_count += int(np.count_nonzero(are_centred(images)))

    def box(self) -> int:
        """The side in pixels of the square that the ink of new images is scaled to fit.

        It is the median of the longer side of each image's bounding box. Where all images were scaled to one box, as
        MNIST's were to 20 by 20, that is its side; specks and clipped edges in some images do not change it.
        """
        counts = self._size_counts[1:]  # without the images that have no ink
        median = 1 + int(np.searchsorted(counts.cumsum(), counts.sum() / 2)) if counts.any() else max(self._image_shape)
        return min(median, *self._image_shape)

    def centred(self) -> bool:
        """Whether the ink has a margin, and nearly all images are centred by mass, as MNIST's were."""
        margin = self.box() <= 0.9 * min(self._image_shape)
        return bool(margin and self._centred_count >= 0.99 * self._size_counts[1:].sum())

    def statistics(self) -> dict[str, Any]:
        """Number of images, mean and standard deviation of the pixels (0 to 1), computed from exact integer sums."""
        total, first, second = (int(np.arange(256) ** power @ self._pixel_counts) for power in range(3))
        return {
            "n": int(self.class_counts.sum()),
            "pixel_mean": round(first / total / 255, 6),
            "pixel_std": round(((second * total - first**2) / total**2) ** 0.5 / 255, 6),
        }
