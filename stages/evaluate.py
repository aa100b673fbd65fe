"""Evaluate: measure the trained network once on the test images.

Reads models/model.keras, data/processed/test_{images,labels}.npy and reports/data.json;
writes reports/metrics.json and reports/predictions.csv.
"""

import math
from typing import Any

import numpy as np
from sklearn.metrics import precision_recall_fscore_support

from mnist.core.data import read_data_summary
from mnist.core.errors import run_stage
from mnist.core.files import write_csv, write_json
from mnist.core.params import read_params
from mnist.core.paths import METRICS, MODEL, PREDICTIONS
from mnist.metrics.calibration import reliability
from mnist.metrics.interval import wilson_interval
from mnist.model.backend import ComputeParams, use_threads
from mnist.model.network import predict
from mnist.model.weights import read_weights


def measure(
    labels: np.ndarray, probabilities: np.ndarray, confidence: np.ndarray, losses: np.ndarray, classes: list[str]
) -> dict[str, Any]:
    """Compute the metrics.

    Args:
        labels: integers (n,), the true classes.
        probabilities: float32 (n, classes), the most probable class being the predicted one.
        confidence: float (n,), the probability of the predicted class, as predictions.csv has it.
        losses: float (n,), the cross-entropy of each image as in training, in nats.
        classes: the name of each class.

    Returns:
        Accuracy with its 95 % interval; number of errors; mean loss; mean negative log-likelihood, in nats, for which
        an image may count more than the 16.1 at which Keras cuts its loss off; expected calibration error; macro F1
        (the plain mean of the classes' F1); and for each class precision, recall and F1, 0 where a class was never
        predicted, or has no image. Rounded to 6 digits, which hides the last bits in which processors may differ.
    """
    predicted = probabilities.argmax(axis=1)
    precision, recall, f1, _ = precision_recall_fscore_support(
        labels, predicted, labels=range(len(classes)), zero_division=0
    )
    errors = int(np.count_nonzero(predicted != labels))
    low, high = wilson_interval(len(labels) - errors, len(labels))
    likelihoods = probabilities[np.arange(len(labels)), labels].astype(np.float64)
    surprises = -np.log(np.maximum(likelihoods, np.finfo(np.float32).tiny))  # finite also where a likelihood is 0
    return {
        "accuracy": round(1 - errors / len(labels), 6),
        "accuracy_interval": {"low": round(float(low), 6), "high": round(float(high), 6)},
        "errors": errors,
        "loss": round(math.fsum(losses) / len(losses), 6),
        "negative_log_likelihood": round(math.fsum(surprises) / len(surprises), 6),
        "expected_calibration_error": round(reliability(confidence, predicted == labels).expected_calibration_error, 6),
        "macro_f1": round(math.fsum(f1) / len(f1), 6),
        "per_class": {
            name: {
                "precision": round(float(precision[index]), 6),
                "recall": round(float(recall[index]), 6),
                "f1": round(float(f1[index]), 6),
            }
            for index, name in enumerate(classes)
        },
    }


def main() -> None:
    """Run the stage."""
    use_threads(read_params(ComputeParams).threads)
    data = read_data_summary()
    images, labels = data.load_split("test")
    probabilities, losses = predict(read_weights(MODEL, data), images, labels)
    predicted = probabilities.argmax(axis=1)
    # Rounded before it is measured, so that anybody can compute the calibration error from predictions.csv.
    confidence = np.array([round(float(p), 6) for p in probabilities.max(axis=1)])
    metrics = measure(labels, probabilities, confidence, losses, data.classes)
    write_json(METRICS, metrics)
    names = np.array(data.classes)
    rows = zip(range(len(labels)), names[labels], names[predicted], (f"{p:.6f}" for p in confidence), strict=True)
    write_csv(PREDICTIONS, ["index", "actual", "predicted", "confidence"], rows)
    print(f"Test accuracy: {metrics['accuracy']:.4f} ({metrics['errors']:,} errors in {len(labels):,} images)")


if __name__ == "__main__":
    run_stage(main)
