"""Evaluate: measure the trained network once on the test images.

Reads models/model.keras, data/processed/test_{images,labels}.npy and reports/data.json;
writes reports/metrics.json, reports/per_class.csv and reports/predictions.csv.
"""

from collections.abc import Sequence
from statistics import fmean
from typing import Any

import numpy as np

from mnist.core.data import read_data_summary
from mnist.core.errors import run_stage
from mnist.core.files import write_csv, write_json
from mnist.core.paths import METRICS, MODEL, PER_CLASS, PREDICTIONS
from mnist.metrics.calibration import reliability
from mnist.metrics.interval import wilson_interval
from mnist.metrics.predictions import Predictions
from mnist.metrics.scores import class_scores
from mnist.model.network import predict
from mnist.model.weights import read_weights


def measure(predictions: Predictions, losses: np.ndarray, classes: int) -> dict[str, Any]:
    """Compute the metrics, rounded to 6 digits; macro F1 is the mean over the classes that have images.

    Losses are float (n,), the cross-entropy of each image in nats.
    """
    errors = int(np.count_nonzero(predictions.wrong))
    low, high = wilson_interval(len(losses) - errors, len(losses))
    calibration = reliability(predictions.confidence, ~predictions.wrong)
    f1 = class_scores(predictions.confusion(classes))["f1"]
    return {
        "accuracy": round(1 - errors / len(losses), 6),
        "accuracy_interval": {"low": round(float(low), 6), "high": round(float(high), 6)},
        "errors": errors,
        "loss": round(fmean(losses), 6),
        "expected_calibration_error": round(calibration.expected_calibration_error, 6),
        "macro_f1": round(fmean(f1[~np.isnan(f1)]), 6),
    }


def tabulate_classes(confusion: np.ndarray, classes: list[str]) -> dict[str, Sequence[object]]:
    """Name, test images, errors and scores of each class, by column; a class without images has empty scores."""
    images, scores = confusion.sum(axis=1), class_scores(confusion)
    texts = {name: ["" if np.isnan(score) else f"{score:.6f}" for score in scores[name]] for name in scores}
    return {"class": classes, "images": images, "errors": images - np.diag(confusion), **texts}


def main() -> None:
    """Run the stage."""
    data = read_data_summary()
    images, labels = data.load_split("test")
    probabilities, log_probabilities = predict(read_weights(MODEL, data), images)
    losses = -log_probabilities[np.arange(len(labels)), labels]
    # Rounded first, so that the calibration error can be computed from predictions.csv.
    confidence = np.array([round(float(p), 6) for p in probabilities.max(axis=1)])
    predictions = Predictions(labels, probabilities.argmax(axis=1), confidence)
    metrics = measure(predictions, losses, len(data.classes))
    write_json(METRICS, metrics)
    per_class = tabulate_classes(predictions.confusion(len(data.classes)), data.classes)
    write_csv(PER_CLASS, list(per_class), zip(*per_class.values(), strict=True))
    names = np.array(data.classes)
    columns = range(len(labels)), names[labels], names[predictions.predicted], (f"{p:.6f}" for p in confidence)
    write_csv(PREDICTIONS, ["index", "actual", "predicted", "confidence"], zip(*columns, strict=True))
    print(f"Test accuracy: {metrics['accuracy']:.4f} ({metrics['errors']:,} errors in {len(labels):,} images)")


if __name__ == "__main__":
    run_stage(main)
