"""Reading a half of a published data set, and writing a split of it, a piece at a time."""

import math
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any, BinaryIO

import numpy as np

from stages.lib.catalogue import Dataset
from stages.lib.errors import UserError
from stages.lib.files import new_file
from stages.lib.idx import IdxFile
from stages.lib.paths import RAW, images_of, labels_of, relative

PIECE_BYTES = 1 << 20  # about how much of the published images is worked on at a time


def rows_of_piece(pixels: int) -> int:
    """How many images of so many pixels make a piece."""
    return max(1, PIECE_BYTES // pixels)


class PublishedHalf:
    """The images and labels of one half of a data set (train or t10k), opened together and checked."""

    def __init__(self, half: str, dataset: Dataset, files: ExitStack) -> None:
        """Open both files; they must be those of the data set, and of one length."""
        paths = [RAW / f"{half}-{kind}-ubyte.gz" for kind in ("images-idx3", "labels-idx1")]
        self._images = files.enter_context(IdxFile(paths[0], dimensions=3))
        self._labels = files.enter_context(IdxFile(paths[1], dimensions=1))
        for path in paths:
            if not dataset.files[path.name].matches(path):
                raise UserError(
                    f"{relative(path)} is not that of {dataset.title}; run `dvc repro` to download it again"
                )
        self.shape = self._images.shape
        if self._labels.shape != self.shape[:1]:
            raise UserError(
                f"{relative(paths[0])} holds {self.shape[0]} images, but {paths[1].name} {self._labels.shape[0]} labels"
            )
        self._classes = len(dataset.classes)

    def pieces(self) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Yield images, uint8 (n, height * width), and labels, uint8 (n,), a piece at a time."""
        rows = rows_of_piece(math.prod(self.shape[1:]))
        for images, labels in zip(self._images.pieces(rows), self._labels.pieces(rows), strict=True):
            if labels.max() >= self._classes:
                raise UserError(
                    f"{relative(self._labels.path)} holds label {labels.max()}, allowed are 0 to {self._classes - 1}"
                )
            yield images.reshape(len(images), -1), labels


class Split:
    """One split being written: its two arrays on disk, and its statistics."""

    def __init__(self, name: str, count: int, pixels: int, classes: int, files: ExitStack) -> None:
        """Open `{name}_images.npy` for float32 (count, pixels) and `{name}_labels.npy` for uint8 (count,)."""
        # Plain writes, not a writable memory map: on a full disk a write fails with an error, a map kills the process.
        self._images = files.enter_context(files.enter_context(new_file(images_of(name))).open("wb"))
        self._labels = files.enter_context(files.enter_context(new_file(labels_of(name))).open("wb"))
        _write_header(self._images, "<f4", (count, pixels))
        _write_header(self._labels, "|u1", (count,))
        # One for all pieces: fresh memory for each costs more time than the division.
        self._scaled = np.empty((rows_of_piece(pixels), pixels), np.float32)
        self.class_counts = np.zeros(classes, np.int64)
        self._pixel_counts = np.zeros(256, np.int64)

    def add(self, images: np.ndarray, labels: np.ndarray) -> None:
        """Append images, uint8 (n, height * width), and their labels, uint8 (n,); n is that of a piece."""
        self._images.write(np.divide(images, np.float32(255), out=self._scaled[: len(images)]).data)
        self._labels.write(labels.data)
        self.class_counts += np.bincount(labels, minlength=len(self.class_counts))
        self._pixel_counts += np.bincount(images.ravel(), minlength=256)

    def statistics(self) -> dict[str, Any]:
        """Number of images, and the pixels' mean and standard deviation on the scale 0 to 1.

        Computed from whole numbers, so that no order of summation can change a digit.
        """
        counts = [int(count) for count in self._pixel_counts]
        total = sum(counts)
        first = sum(value * count for value, count in enumerate(counts))
        second = sum(value * value * count for value, count in enumerate(counts))
        return {
            "n": int(self.class_counts.sum()),
            "pixel_mean": round(first / total / 255, 6),
            "pixel_std": round(((second * total - first**2) / total**2) ** 0.5 / 255, 6),
        }


def _write_header(file: BinaryIO, descr: str, shape: tuple[int, ...]) -> None:
    """Write the header of a .npy file of format 1.0 for an array in C order."""
    np.lib.format.write_array_header_1_0(file, {"descr": descr, "fortran_order": False, "shape": shape})
