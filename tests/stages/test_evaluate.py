"""The metrics: computed by hand from few predictions, by scikit-learn, and from the files of a run."""

import csv
import json
import math

import numpy as np
import pytest
from conftest import Checkout
from sklearn.metrics import classification_report, log_loss

from mnist.metrics.tables import Predictions
from mnist.model.backend import keras
from stages.evaluate import measure

CLASSES = ["cat", "dog", "owl"]


def metrics_of(probabilities: np.ndarray, labels: np.ndarray) -> dict:
    confidence = np.array([round(float(p), 6) for p in probabilities.max(axis=1)])
    losses = keras.ops.convert_to_numpy(keras.ops.sparse_categorical_crossentropy(labels, probabilities))
    return measure(Predictions(labels, probabilities.argmax(axis=1), confidence), probabilities, losses, CLASSES)


def random_predictions(count: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(3)
    probabilities = rng.dirichlet((0.5, 0.5, 0.5), count).astype(np.float32)
    return probabilities, np.array([rng.choice(3, p=p / p.sum()) for p in probabilities.astype(np.float64)])


def test_metrics_computed_by_hand():
    probabilities = np.array([[0.5, 0.25, 0.25], [0.25, 0.5, 0.25], [0.5, 0.25, 0.25], [1, 0, 0]], np.float32)
    assert metrics_of(probabilities, np.array([0, 1, 1, 0])) == {
        "accuracy": 0.75,
        "accuracy_interval": {"low": 0.300642, "high": 0.954413},
        "errors": 1,
        "loss": pytest.approx(math.log(2 * 2 * 4) / 4, abs=2e-6),
        "negative_log_likelihood": round(math.log(2 * 2 * 4) / 4, 6),
        "expected_calibration_error": round(abs(2 - 1.5) / 4, 6),
        "macro_f1": round((0.8 + 2 / 3 + 0) / 3, 6),
        "per_class": {
            "cat": {"precision": 0.666667, "recall": 1.0, "f1": 0.8},
            "dog": {"precision": 1.0, "recall": 0.5, "f1": 0.666667},
            "owl": {"precision": 0.0, "recall": 0.0, "f1": 0.0},
        },
    }


def test_they_equal_those_of_scikit_learn():
    probabilities, labels = random_predictions(2000)
    metrics = metrics_of(probabilities, labels)
    report = classification_report(labels, probabilities.argmax(axis=1), target_names=CLASSES, output_dict=True)
    for name in CLASSES:
        theirs = {"f1": report[name]["f1-score"], **{key: report[name][key] for key in ("precision", "recall")}}
        assert metrics["per_class"][name] == pytest.approx(theirs, abs=1e-6)
    assert metrics["macro_f1"] == pytest.approx(report["macro avg"]["f1-score"], abs=1e-6)
    double = probabilities.astype(np.float64)
    theirs = log_loss(labels, double / double.sum(axis=1, keepdims=True))
    assert metrics["negative_log_likelihood"] == pytest.approx(theirs, abs=2e-6)


@pytest.mark.parametrize(
    ("likelihood", "nll"), [(1e-3, 6.907755), (1e-30, 69.077553), (1e-42, 87.336545), (0, 87.336545), (1, 0)]
)
def test_the_log_likelihood_exceeds_the_clipped_loss_and_is_finite(likelihood, nll):
    metrics = metrics_of(np.array([[likelihood, 1 - likelihood, 0]], np.float32), np.array([0]))
    assert metrics["negative_log_likelihood"] == pytest.approx(nll, abs=1e-6)
    assert metrics["loss"] == pytest.approx(min(nll, -math.log(1e-7)), abs=1e-5)


def test_the_order_of_the_images_does_not_matter():
    probabilities, labels = random_predictions(2000)
    assert metrics_of(probabilities[::-1], labels[::-1]) == metrics_of(probabilities, labels)


def test_the_calibration_error_can_be_computed_from_predictions_csv(reproduced: Checkout) -> None:
    with (reproduced.folder / "reports/predictions.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert any(not row["confidence"].endswith("000") for row in rows)
    gaps: dict[int, float] = {}
    for row in rows:
        number = math.ceil(float(row["confidence"]) * 15)
        gaps[number] = gaps.get(number, 0) + (row["actual"] == row["predicted"]) - float(row["confidence"])
    metrics = json.loads((reproduced.folder / "reports/metrics.json").read_text())
    error = sum(map(abs, gaps.values())) / len(rows)
    assert metrics["expected_calibration_error"] == pytest.approx(error, abs=5.1e-7)
    assert metrics["accuracy_interval"]["low"] < metrics["accuracy"] < metrics["accuracy_interval"]["high"]
