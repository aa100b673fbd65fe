"""Evaluate: measure the trained network once on the test images.

Reads models/model.keras, data/processed/test_{images,labels}.npy and reports/data.json;
writes reports/metrics.json and reports/predictions.csv.
"""

from statistics import fmean

import numpy as np

from mnist.core.data import read_data_summary
from mnist.core.errors import run_stage
from mnist.core.files import write_csv, write_json
from mnist.core.paths import METRICS, MODEL, PREDICTIONS
from mnist.metrics.calibration import reliability
from mnist.metrics.interval import wilson_interval
from mnist.metrics.tables import Predictions
from mnist.model.network import predict
from mnist.model.weights import read_weights


def measure(predictions: Predictions, probabilities: np.ndarray, losses: np.ndarray, classes: list[str]) -> dict:
    """Compute the metrics, rounded to 6 digits; a class without images or predictions has scores of 0.

    Probabilities are float32 (n, classes); losses are float (n,), the cross-entropy in nats, clipped by Keras at 16.1.
    """
    counts = predictions.confusion(len(classes))
    hits, actual, predicted = np.diag(counts), counts.sum(axis=1), counts.sum(axis=0)
    f1 = 2 * hits / np.maximum(actual + predicted, 1)
    scores = {"precision": hits / np.maximum(predicted, 1), "recall": hits / np.maximum(actual, 1), "f1": f1}
    likelihood = probabilities[np.arange(len(losses)), predictions.labels].astype(np.float64)
    nll = -np.log(np.maximum(likelihood, np.finfo(np.float32).tiny))  # finite also for a likelihood of 0
    errors = int(np.count_nonzero(predictions.wrong))
    low, high = wilson_interval(len(losses) - errors, len(losses))
    calibration = reliability(predictions.confidence, ~predictions.wrong)
    return {
        "accuracy": round(1 - errors / len(losses), 6),
        "accuracy_interval": {"low": round(float(low), 6), "high": round(float(high), 6)},
        "errors": errors,
        "loss": round(fmean(losses), 6),
        "negative_log_likelihood": round(fmean(nll), 6),
        "expected_calibration_error": round(calibration.expected_calibration_error, 6),
        "macro_f1": round(fmean(f1), 6),
        "per_class": {
            name: {score: round(float(values[index]), 6) for score, values in scores.items()}
            for index, name in enumerate(classes)
        },
    }


def main() -> None:
    """Run the stage."""
    data = read_data_summary()
    images, labels = data.load_split("test")
    probabilities, log_probabilities = predict(read_weights(MODEL, data), images)
    losses = -log_probabilities[np.arange(len(labels)), labels]
    # Rounded first, so that the calibration error can be computed from predictions.csv.
    confidence = np.array([round(float(p), 6) for p in probabilities.max(axis=1)])
    predictions = Predictions(labels, probabilities.argmax(axis=1), confidence)
    metrics = measure(predictions, probabilities, losses, data.classes)
    write_json(METRICS, metrics)
    names = np.array(data.classes)
    columns = range(len(labels)), names[labels], names[predictions.predicted], (f"{p:.6f}" for p in confidence)
    write_csv(PREDICTIONS, ["index", "actual", "predicted", "confidence"], zip(*columns, strict=True))
    print(f"Test accuracy: {metrics['accuracy']:.4f} ({metrics['errors']:,} errors in {len(labels):,} images)")


if __name__ == "__main__":
    run_stage(main)
