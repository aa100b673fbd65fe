"""Calibration: do predictions of 90 % confidence have an accuracy of 90 %?"""

import math
from dataclasses import dataclass

import numpy as np

from mnist.metrics.interval import wilson_interval

BINS = 15  # of equal width, as in Guo et al. 2017
EDGES = np.arange(BINS + 1) / BINS


@dataclass(frozen=True)
class Reliability:
    """Predictions binned by confidence: arrays of shape (BINS,), 0 where a bin is empty."""

    count: np.ndarray  # number of predictions
    correct: np.ndarray  # number of correct ones
    confidence: np.ndarray  # sum of their confidences

    @property
    def expected_calibration_error(self) -> float:
        """Mean over the predictions of |accuracy - mean confidence| of their bin (Guo et al. 2017, equation 3)."""
        # A bin's weight, count / total, cancels the division by its count; so an empty bin is not a special case.
        return math.fsum(np.abs(self.correct - self.confidence)) / int(self.count.sum())

    @property
    def points(self) -> dict[str, np.ndarray]:
        """The bins that are not empty: number, count, mean confidence, accuracy with its 95 % interval."""
        number = np.flatnonzero(self.count)
        count, correct = self.count[number], self.correct[number]
        low, high = wilson_interval(correct, count)
        points = {"number": number, "count": count, "confidence": self.confidence[number] / count}
        return points | {"accuracy": correct / count, "low": low, "high": high}


def reliability(confidence: np.ndarray, correct: np.ndarray) -> Reliability:
    """Bin predictions by confidence, float (n,), 0 to 1, with `correct`, bool (n,); an edge is in the bin below it."""
    bins = np.searchsorted(EDGES[1:-1], confidence)
    count, confidences = np.bincount(bins, minlength=BINS), np.bincount(bins, confidence, minlength=BINS)
    return Reliability(count, np.bincount(bins[correct], minlength=BINS), confidences)
