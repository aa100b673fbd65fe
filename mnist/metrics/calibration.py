"""Calibration: is a network that is 90 % sure right 90 % of the time?"""

import math
from dataclasses import dataclass

import numpy as np

from mnist.metrics.interval import wilson_interval

BINS = 15  # as in Guo et al. 2017
EDGES = np.arange(BINS + 1) / BINS


@dataclass(frozen=True)
class Reliability:
    """Predictions gathered in bins by their confidence: arrays of shape (BINS,), 0 where a bin is empty."""

    count: np.ndarray
    """How many predictions the bin holds."""
    correct: np.ndarray
    """How many of them are right."""
    confidence: np.ndarray
    """The sum of their confidences."""

    @property
    def expected_calibration_error(self) -> float:
        """How far confidence and accuracy lie apart, 0 to 1 (Naeini et al. 2015; Guo et al. 2017, equation 3).

        The mean over the predictions of |accuracy - mean confidence| of the bin that each is in.
        """
        # A bin's weight, count / total, cancels the division by its count; so an empty bin is no special case.
        return math.fsum(np.abs(self.correct - self.confidence)) / int(self.count.sum())

    @property
    def points(self) -> dict[str, np.ndarray]:
        """The bins that hold predictions: number, count, mean confidence, accuracy with its 95 % interval."""
        number = np.flatnonzero(self.count)
        count, correct = self.count[number], self.correct[number]
        low, high = wilson_interval(correct, count)
        return {
            "number": number,
            "count": count,
            "confidence": self.confidence[number] / count,
            "accuracy": correct / count,
            "low": low,
            "high": high,
        }


def reliability(confidence: np.ndarray, correct: np.ndarray) -> Reliability:
    """Gather predictions in bins of equal width; an edge belongs to the bin below it, as in Guo et al. 2017.

    Args:
        confidence: float (n,), the probability given to the predicted class, 0 to 1.
        correct: bool (n,), whether the prediction is right.
    """
    bins = np.searchsorted(EDGES[1:-1], confidence)
    return Reliability(
        count=np.bincount(bins, minlength=BINS),
        correct=np.bincount(bins[correct], minlength=BINS),
        confidence=np.bincount(bins, confidence, minlength=BINS),
    )
