"""Report: write a page that shows the run, with a pad to draw on, and a model card.

Reads reports/{data.json,history.csv,metrics.json,predictions.csv}, data/processed/test_{images,labels}.npy and
models/model.keras; writes reports/index.html, a single file that works offline, and reports/model-card.md.
"""

import base64
import hashlib
import io
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import numpy as np
from PIL import Image

from mnist.core.data import DataSummary, read_data_summary
from mnist.core.errors import run_stage
from mnist.core.files import read_json, write_text
from mnist.core.params import read_sections
from mnist.core.paths import DATA_SUMMARY, HISTORY, METRICS, MODEL, MODEL_CARD, PAGE, PREDICTIONS, relative
from mnist.metrics.calibration import reliability
from mnist.metrics.predictions import Predictions
from mnist.metrics.results import read_history, read_predictions
from mnist.metrics.scores import class_scores
from mnist.model.weights import DenseLayer, read_weights
from mnist.report.charts import line_chart
from mnist.report.render import render

CONFUSIONS, EXAMPLES = 8, 4  # pairs of classes listed beside the confusion matrix, and images of each
PAD_LIMIT = 8_000_000  # bytes of weights in the page; phones open a larger page slowly


def embed_network(layers: list[DenseLayer], data: DataSummary, limit: int = PAD_LIMIT) -> dict[str, Any] | None:
    """The network for the page's pad, weights in base64: float32, float16 if those exceed `limit` bytes, or None."""
    weights = np.concatenate([part.ravel() for layer in layers for part in (layer.kernel, layer.bias)])
    for precision, stored in (("float32", "<f4"), ("float16", "<f2")):
        content = weights.astype(stored).tobytes()
        if len(content) <= limit:
            return {
                "image_shape": data.image_shape,
                "box": data.box,
                "layers": [{"units": len(layer.bias), "activation": layer.activation} for layer in layers],
                "precision": precision,
                "weights": base64.b64encode(content).decode(),
            }
    return None


def frequent_confusions(predictions: Predictions, errors: np.ndarray) -> list[dict[str, Any]]:
    """The pairs of classes with the most errors, integers (true class, predicted class), and examples of each."""
    mistakes, pairs = predictions.mistakes, []
    most = np.argsort(-errors, axis=None, kind="stable")[: min(CONFUSIONS, np.count_nonzero(errors))]
    for actual, predicted in zip(*np.unravel_index(most, errors.shape), strict=True):
        chosen = (predictions.labels[mistakes] == actual) & (predictions.predicted[mistakes] == predicted)
        count, examples = errors[actual, predicted], mistakes[chosen][:EXAMPLES]
        pairs.append({"actual": actual, "predicted": predicted, "count": count, "examples": examples})
    return pairs


def data_uri(image: np.ndarray) -> str:
    """Encode an image, float (height, width), 0 to 1, as the data URI of a PNG."""
    file = io.BytesIO()
    Image.fromarray(np.round(image * 255).astype(np.uint8)).save(file, "PNG")
    return f"data:image/png;base64,{base64.b64encode(file.getvalue()).decode()}"


def installed_versions() -> dict[str, str]:
    """The version of each package in use; both distributions of TensorFlow are named tensorflow."""
    versions = {}
    for name in ("tensorflow-cpu", "tensorflow", "keras", "numpy", "pandas", "scikit-learn", "dvc"):
        with suppress(PackageNotFoundError):
            versions[name.removesuffix("-cpu")] = version(name)
    return versions


def main() -> None:
    """Run the stage."""
    data, history = read_data_summary(), read_history()
    layers = read_weights(MODEL, data)
    images, labels = data.load_split("test")
    predictions = read_predictions(data.classes, labels)
    confusion = predictions.confusion(len(data.classes))
    errors, scores = confusion - np.diag(np.diag(confusion)), class_scores(confusion)
    lowest = float(np.nanmin(scores["recall"]))
    files = (MODEL, METRICS, HISTORY, PREDICTIONS, DATA_SUMMARY)
    context = {
        "data": read_json(DATA_SUMMARY),
        "metrics": read_json(METRICS),
        "layers": layers,
        "network": embed_network(layers, data) if data.prepare else None,
        "limit": PAD_LIMIT,
        "charts": [line_chart(history, measure) for measure in ("accuracy", "loss")],
        "confusion": confusion,
        "scores": scores,
        "lowest_recall": lowest,
        "weakest": [name for name, recall in zip(data.classes, scores["recall"], strict=True) if recall == lowest],
        "most_confused": errors.max(),
        "confusions": frequent_confusions(predictions, errors),
        "calibration": reliability(predictions.confidence, ~predictions.wrong).points,
        "predictions": predictions,
        "image_uri": lambda index: data_uri(images[index].reshape(data.image_shape)),
        "parameters": read_sections("download", "preprocess", "train", "augmentation"),
        "versions": installed_versions(),
        "hashes": {relative(path): hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest() for path in files},
    }
    for template, path in (("report.html", PAGE), ("model-card.md", MODEL_CARD)):
        write_text(path, render(template, context))
    print(f"report: {relative(PAGE)}, {PAGE.stat().st_size / 1e6:.1f} MB")


if __name__ == "__main__":
    run_stage(main)
