"""Predictions: their mistakes and their confusion matrix."""

import subprocess
import sys

import numpy as np

from mnist.core.paths import ROOT
from mnist.metrics.predictions import Predictions

LABELS = np.array([0, 1, 2, 1], np.uint8)
PREDICTIONS = Predictions(LABELS, np.array([1, 1, 0, 2]), np.array([0.6, 0.9, 0.8, 0.6]))


def test_mistakes_are_sorted_by_falling_confidence():
    assert PREDICTIONS.mistakes.tolist() == [2, 0, 3]


def test_the_confusion_matrix_counts_by_true_then_predicted_class():
    np.testing.assert_array_equal(PREDICTIONS.confusion(3), [[0, 1, 0], [0, 1, 1], [1, 0, 0]])


def test_evaluation_does_not_import_pandas():
    code = "import sys, stages.evaluate; print('pandas' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.stdout == "False\n", done.stderr
