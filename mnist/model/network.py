"""The dense network in use: prediction compiled by XLA, and saving to the same bytes."""

import json
import zipfile
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from mnist.core.files import atomic_write
from mnist.model.arithmetic import matmul
from mnist.model.backend import tf
from mnist.model.losses import log_softmax, softmax
from mnist.model.weights import DenseLayer

PREDICT_BATCH = 1000  # images per call; one shape, compiled once


@tf.function(jit_compile=True, autograph=False)
def _predict_batch(values: tf.Tensor, weights: Any, activations: tuple[str, ...]) -> tuple[tf.Tensor, tf.Tensor]:
    *hidden, (kernel, bias) = weights
    for (hidden_kernel, hidden_bias), activation in zip(hidden, activations, strict=True):
        values = getattr(tf.nn, activation)(matmul(values, hidden_kernel) + hidden_bias)
    logits = matmul(values, kernel) + bias
    return softmax(logits), log_softmax(logits)


def predict(layers: Sequence[DenseLayer], images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Predict images, float32 (n, pixels), 0 to 1; compiled by XLA, bit-identical across CPUs.

    Returns the probabilities and their natural logarithms, each float32 (n, classes).
    """
    weights = [(tf.constant(layer.kernel), tf.constant(layer.bias)) for layer in layers]
    activations = tuple(layer.activation for layer in layers[:-1])
    parts = [np.empty((2, 0, len(layers[-1].bias)), np.float32)]
    for start in range(0, len(images), PREDICT_BATCH):
        batch = images[start : start + PREDICT_BATCH]
        full = batch if len(batch) == PREDICT_BATCH else np.resize(batch, (PREDICT_BATCH, images.shape[1]))
        predicted = _predict_batch(tf.constant(full), weights, activations)
        parts.append(np.stack(predicted)[:, : len(batch)])
    probabilities, log_probabilities = np.concatenate(parts, axis=1)
    return probabilities, log_probabilities


def save_network(layers: Sequence[DenseLayer], name: str, path: Path) -> None:
    """Save dense layers as a Keras model of this name, with the same bytes for the same layers."""
    from mnist.model.backend import keras  # prediction does not need it

    names = [*(f"hidden_{n}" for n in range(1, len(layers))), "probabilities"]
    dense = [keras.layers.Dense(len(each.bias), each.activation, name=n) for each, n in zip(layers, names, strict=True)]
    network = keras.Sequential([keras.Input((len(layers[0].kernel),), name="pixels"), *dense], name=name)
    network.set_weights([array for layer in layers for array in (layer.kernel, layer.bias)])
    with TemporaryDirectory() as folder, atomic_write(path) as partial:
        network.save(saved := Path(folder, "model.keras"))
        with zipfile.ZipFile(saved) as source, zipfile.ZipFile(partial, "w") as target:
            for entry in sorted(source.namelist()):
                content = source.read(entry)
                if entry.endswith(".json"):
                    fixed = json.loads(content, object_hook=_fix_volatile)
                    content = json.dumps(fixed, sort_keys=True, indent=1).encode()
                target.writestr(zipfile.ZipInfo(entry, date_time=(1980, 1, 1, 0, 0, 0)), content)


def _fix_volatile(item: dict[str, Any]) -> dict[str, Any]:
    """Fix the date, and omit memory addresses (`shared_object_id`), which only layers that share an object need."""
    fixed = item | {"date_saved": "1980-01-01@00:00:00"} if "date_saved" in item else item
    return {key: value for key, value in fixed.items() if key != "shared_object_id"}
