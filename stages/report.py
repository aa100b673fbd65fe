"""Report: one page that shows the run, with a pad to draw on, and a model card.

Reads reports/{data.json,history.csv,metrics.json,predictions.csv}, data/processed/test_{images,labels}.npy and
models/model.keras; writes reports/index.html, which needs no server and asks for nothing, and reports/model-card.md.
"""

import base64
import hashlib
import io
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import numpy as np
import pandas as pd
from PIL import Image

from mnist.core.data import DataSummary, read_data_summary
from mnist.core.errors import run_stage
from mnist.core.files import read_json, write_text
from mnist.core.params import read_sections
from mnist.core.paths import DATA_SUMMARY, HISTORY, METRICS, MODEL, MODEL_CARD, PAGE, PREDICTIONS, relative
from mnist.metrics.calibration import reliability
from mnist.metrics.predictions import Predictions, read_history, read_predictions
from mnist.model.weights import DenseLayer, read_weights
from mnist.report.charts import line_chart
from mnist.report.render import render

PAD_LIMIT = 8_000_000  # bytes of weights that the page may hold: a page of more is slow to open on a phone
PACKAGES = ("tensorflow-cpu", "tensorflow", "keras", "numpy", "pandas", "scikit-learn", "dvc")


def embedded_network(layers: list[DenseLayer], data: DataSummary, limit: int = PAD_LIMIT) -> dict[str, Any] | None:
    """What the page's pad needs of a network: its layers, and its weights as base64 of little-endian numbers.

    They are float32 or, where these exceed the limit in bytes, float16; None if those do, too.
    """
    weights = np.concatenate([part.ravel() for layer in layers for part in (layer.kernel, layer.bias)])
    precision = next((name for name in ("float32", "float16") if np.dtype(name).itemsize * weights.size <= limit), None)
    if precision is None:
        return None
    return {
        "image_shape": data.image_shape,
        "box": data.box,
        "layers": [{"units": len(layer.bias), "activation": layer.activation} for layer in layers],
        "precision": precision,
        "weights": base64.b64encode(weights.astype(np.dtype(precision).newbyteorder("<")).tobytes()).decode(),
    }


def data_uri(image: np.ndarray) -> str:
    """An image, float (height, width), 0 to 1, as the address of a PNG that is part of a page."""
    file = io.BytesIO()
    Image.fromarray(np.round(image * 255).astype(np.uint8)).save(file, "PNG")
    return f"data:image/png;base64,{base64.b64encode(file.getvalue()).decode()}"


def list_mistakes(predictions: Predictions, images: np.ndarray) -> list[dict[str, Any]]:
    """Every mistake, the most confident first, with its image; `images` is float32 (n, height, width)."""
    return [
        {
            "index": int(index),
            "label": int(predictions.labels[index]),
            "predicted": int(predictions.predicted[index]),
            "confidence": float(predictions.confidence[index]),
            "image": data_uri(images[index]),
        }
        for index in predictions.worst
    ]


def installed_versions() -> dict[str, str]:
    """The version of each package that takes part; TensorFlow's bears one name, whatever that of its wheel."""
    versions = {}
    for name in PACKAGES:
        with suppress(PackageNotFoundError):
            versions[name.removesuffix("-cpu")] = version(name)
    return versions


def main() -> None:
    """Run the stage."""
    data = read_data_summary()
    content, metrics, history = read_json(DATA_SUMMARY), read_json(METRICS), read_history()
    images, labels = data.load_split("test")
    predictions = read_predictions(data.classes, labels)
    layers = read_weights(MODEL, data)
    confusion = predictions.confusion(len(data.classes))
    bins = reliability(predictions.confidence, ~predictions.wrong)
    charts = {
        name: line_chart(name, history["epoch"], {"training": history[name], "validation": history[f"val_{name}"]})
        for name in ("accuracy", "loss")
    }
    context = {
        "data": content,
        "metrics": metrics,
        "classes": data.classes,
        "layer_sizes": [data.pixels, *(len(layer.bias) for layer in layers)],
        "parameter_count": sum(layer.kernel.size + layer.bias.size for layer in layers),
        "network": embedded_network(layers, data),
        "limit": PAD_LIMIT,
        "charts": charts,
        "confusion": confusion.tolist(),
        "most_confused": int((confusion - np.diag(np.diag(confusion))).max()),
        "bins": pd.DataFrame(bins.points).round(4).to_dict("records"),
        "mistakes": list_mistakes(predictions, images.reshape(-1, *data.image_shape)),
        "most_images": {name: max(row[name] for row in content["class_counts"]) for name in content["splits"]},
        "fewest": min(row["train"] for row in content["class_counts"]),
        "weakest": min(data.classes, key=lambda name: metrics["per_class"][name]["recall"]),
        "parameters": read_sections("download", "preprocess", "train", "augmentation", "compute"),
        "versions": installed_versions(),
        "hashes": {
            relative(path): hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest()
            for path in (MODEL, METRICS, HISTORY, PREDICTIONS, DATA_SUMMARY)
        },
    }
    for template, path in (("report.html", PAGE), ("model-card.md", MODEL_CARD)):
        write_text(path, render(template, context))
    print(f"report: {relative(PAGE)}, {PAGE.stat().st_size / 1e6:.1f} MB")


if __name__ == "__main__":
    run_stage(main)
