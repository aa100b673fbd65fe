"""The scores of single classes, from the confusion matrix."""

import numpy as np


def class_scores(confusion: np.ndarray) -> dict[str, np.ndarray]:
    """Precision, recall and F1 per class, float (classes,): NaN for a class without images.

    `confusion` is integers (true class, predicted class). The precision of a class that is never predicted is 0.
    """
    correct, actual, predicted = np.diag(confusion), confusion.sum(axis=1), confusion.sum(axis=0)
    precision, recall = correct / np.maximum(predicted, 1), correct / np.maximum(actual, 1)
    scores = {"precision": precision, "recall": recall, "f1": 2 * correct / np.maximum(actual + predicted, 1)}
    return {name: np.where(actual > 0, values, np.nan) for name, values in scores.items()}
