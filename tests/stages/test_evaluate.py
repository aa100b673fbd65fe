"""The metrics: computed by hand from few predictions, by scikit-learn, and from the files of a run."""

import csv
import json
import math
import re

import numpy as np
import pytest
from conftest import Checkout
from sklearn.metrics import classification_report, log_loss

from mnist.metrics.predictions import Predictions
from stages.evaluate import measure, tabulate_classes

CLASSES = ["cat", "dog", "owl"]


def metrics_of(probabilities: np.ndarray, labels: np.ndarray) -> dict:
    confidence = np.array([round(float(p), 6) for p in probabilities.max(axis=1)])
    losses = -np.log(probabilities[np.arange(len(labels)), labels])
    return measure(Predictions(labels, probabilities.argmax(axis=1), confidence), losses, len(CLASSES))


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
        "loss": round(math.log(2 * 2 * 4) / 4, 6),
        "expected_calibration_error": round(abs(2 - 1.5) / 4, 6),
        "macro_f1": round((0.8 + 2 / 3) / 2, 6),  # no image is an owl
    }


def test_the_table_of_classes_computed_by_hand():
    confusion = np.array([[2, 0, 0], [1, 1, 1], [0, 0, 0]])
    assert {name: list(column) for name, column in tabulate_classes(confusion, CLASSES).items()} == {
        "class": CLASSES,
        "images": [2, 3, 0],
        "errors": [0, 2, 0],
        "precision": ["0.666667", "1.000000", ""],
        "recall": ["1.000000", "0.333333", ""],
        "f1": ["0.800000", "0.500000", ""],
    }


def test_they_equal_those_of_scikit_learn():
    probabilities, labels = random_predictions(2000)
    metrics = metrics_of(probabilities, labels)
    report = classification_report(labels, probabilities.argmax(axis=1), target_names=CLASSES, output_dict=True)
    assert metrics["macro_f1"] == pytest.approx(report["macro avg"]["f1-score"], abs=1e-6)
    double = probabilities.astype(np.float64)
    theirs = log_loss(labels, double / double.sum(axis=1, keepdims=True))
    assert metrics["loss"] == pytest.approx(theirs, abs=2e-6)


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


def test_metrics_diff_fits_in_12_lines_and_single_classes_are_a_table(checkout: Checkout) -> None:
    for name in ("metrics", "validation"):
        path = checkout.folder / f"reports/{name}.json"
        path.write_text(re.sub(r"\d+(,?\n)", r"9\1", path.read_text()))  # each number changes
    done = checkout.run("-m", "dvc", "metrics", "diff", "--all")
    assert done.returncode == 0, done.stderr
    assert len(re.findall("^reports/metrics.json", done.stdout, re.MULTILINE)) <= 8
    assert len(done.stdout.splitlines()) <= 12
    with (checkout.folder / "reports/per_class.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["class"] for row in rows] == list("0123456789")
    assert sum(int(row["images"]) for row in rows) == 360
