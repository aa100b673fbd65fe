"""Evaluate: measure the trained network once on the test images.

Reads models/model.keras, data/processed/test_{images,labels}.npy and reports/data.json;
writes reports/metrics.json and reports/predictions.csv.
"""

import math
from typing import Any

import numpy as np
from sklearn.metrics import precision_recall_fscore_support

from stages.lib.backend import ComputeParams, use_threads
from stages.lib.data import read_data
from stages.lib.errors import run_stage
from stages.lib.files import write_csv, write_json
from stages.lib.network import Predictor, load_network
from stages.lib.params import read_params
from stages.lib.paths import METRICS, MODEL, PREDICTIONS


def measure(labels: np.ndarray, predicted: np.ndarray, losses: np.ndarray, classes: list[str]) -> dict[str, Any]:
    """Compute the metrics.

    Args:
        labels: integers (n,), the true classes.
        predicted: integers (n,), the predicted classes.
        losses: float (n,), the cross-entropy of each image, in nats.
        classes: the name of each class.

    Returns:
        Accuracy, mean loss, number of errors, macro F1 (the plain mean of the classes' F1), and for each class
        precision and recall; 0 where a class was never predicted, or has no image. Rounded to 6 digits.
    """
    precision, recall, f1, _ = precision_recall_fscore_support(
        labels, predicted, labels=range(len(classes)), zero_division=0
    )
    errors = int(np.count_nonzero(predicted != labels))
    return {
        "accuracy": round(1 - errors / len(labels), 6),
        "loss": round(math.fsum(losses) / len(losses), 6),
        "errors": errors,
        "macro_f1": round(float(np.mean(f1)), 6),
        "per_class": {
            name: {"precision": round(float(precision[index]), 6), "recall": round(float(recall[index]), 6)}
            for index, name in enumerate(classes)
        },
    }


def main() -> None:
    """Run the stage."""
    use_threads(read_params(ComputeParams).threads)
    data = read_data()
    images, labels = data.split("test")
    network = load_network(MODEL, pixels=data.pixels, classes=len(data.classes), name=data.dataset)
    probabilities, losses = Predictor(network)(images, labels)
    predicted = probabilities.argmax(axis=1)
    confidence = probabilities.max(axis=1)
    metrics = measure(labels, predicted, losses, data.classes)
    write_json(METRICS, metrics)
    names = np.array(data.classes)
    rows = zip(range(len(labels)), names[labels], names[predicted], (f"{p:.6f}" for p in confidence), strict=True)
    write_csv(PREDICTIONS, ["index", "actual", "predicted", "confidence"], rows)
    print(f"Test accuracy: {metrics['accuracy']:.4f} ({metrics['errors']:,} errors in {len(labels):,} images)")


if __name__ == "__main__":
    run_stage(main)
