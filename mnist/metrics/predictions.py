"""The predictions for the test images, and their mistakes."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Predictions:
    """The predictions for the test images: arrays of shape (n,)."""

    labels: np.ndarray  # integers, the true classes
    predicted: np.ndarray  # integers, the most probable classes
    confidence: np.ndarray  # float, 0 to 1, the probabilities of the predicted classes

    @property
    def wrong(self) -> np.ndarray:
        """Whether each image is misclassified, bool (n,)."""
        return self.predicted != self.labels

    @property
    def mistakes(self) -> np.ndarray:
        """The indices of the misclassified images, the most confident first."""
        order = np.argsort(-self.confidence, kind="stable")
        return order[self.wrong[order]]

    def confusion(self, classes: int) -> np.ndarray:
        """The confusion matrix, integers (classes, classes), true class by row."""
        counts = np.zeros((classes, classes), int)
        np.add.at(counts, (self.labels, self.predicted), 1)
        return counts
