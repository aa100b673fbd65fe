"""The dense network in use: prediction compiled by XLA, and saving to the same bytes."""

import json
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mnist.core.files import atomic_write
from mnist.model.backend import keras, tf
from mnist.model.weights import DenseLayer

PREDICT_BATCH = 1000  # images per call; one shape, compiled once


def cross_entropy(labels: tf.Tensor, probabilities: tf.Tensor) -> tf.Tensor:
    """The negative log of the true class's probability, (n,), in nats."""
    return keras.ops.sparse_categorical_crossentropy(labels, probabilities)


@tf.function(jit_compile=True)
def _predict_batch(images: tf.Tensor, labels: tf.Tensor, weights: Any, activations: tuple[str, ...]) -> tuple:
    values = images
    for (kernel, bias), activation in zip(weights, activations, strict=True):
        values = keras.activations.get(activation)(tf.matmul(values, kernel) + bias)
    return values, cross_entropy(labels, values)


def predict(layers: Sequence[DenseLayer], images: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Predict images, float32 (n, pixels), 0 to 1; compiled by XLA, so bit-identical across CPUs.

    Returns probabilities, float32 (n, classes), and the cross-entropy of each image with its label, float32 (n,), in
    nats.
    """
    weights = [(tf.constant(layer.kernel), tf.constant(layer.bias)) for layer in layers]
    activations = tuple(layer.activation for layer in layers)
    probabilities = np.empty((len(images), len(layers[-1].bias)), np.float32)
    losses = np.empty(len(images), np.float32)
    batch_images = np.zeros((PREDICT_BATCH, images.shape[1]), np.float32)
    batch_labels = np.zeros(PREDICT_BATCH, np.int32)
    for start in range(0, len(images), PREDICT_BATCH):
        rows = slice(start, min(start + PREDICT_BATCH, len(images)))
        size = rows.stop - rows.start
        batch_images[:size], batch_labels[:size] = images[rows], labels[rows]
        batch = _predict_batch(tf.constant(batch_images), tf.constant(batch_labels), weights, activations)
        probabilities[rows], losses[rows] = (part.numpy()[:size] for part in batch)
    return probabilities, losses


def save_network(layers: Sequence[DenseLayer], name: str, path: Path) -> None:
    """Save dense layers as a Keras model of this name, with the same bytes for the same layers.

    Keras writes the date, the zip entries' times and memory addresses (`shared_object_id`) into the file; here the
    first two are fixed, and the last omitted, which only matters for layers that share an object.
    """
    network = keras.Sequential([keras.Input((len(layers[0].kernel),), name="pixels")], name=name)
    names = [*(f"hidden_{n}" for n in range(1, len(layers))), "probabilities"]
    for layer, layer_name in zip(layers, names, strict=True):
        network.add(keras.layers.Dense(len(layer.bias), layer.activation, name=layer_name))
    network.set_weights([array for layer in layers for array in (layer.kernel, layer.bias)])
    with atomic_write(path) as partial:
        saved = partial.with_name(f"{partial.name}.keras")
        try:
            network.save(saved)
            with zipfile.ZipFile(saved) as source, zipfile.ZipFile(partial, "w") as target:
                for entry in sorted(source.namelist()):
                    content = source.read(entry)
                    if entry.endswith(".json"):
                        content = json.dumps(_normalize(json.loads(content)), sort_keys=True, indent=1).encode()
                    target.writestr(zipfile.ZipInfo(entry, date_time=(1980, 1, 1, 0, 0, 0)), content)
        finally:
            saved.unlink(missing_ok=True)


def _normalize(value: Any) -> Any:
    """Remove from JSON what differs between two saves of the same network."""
    if isinstance(value, list):
        return [_normalize(item) for item in value]
    if isinstance(value, dict):
        value = value | {"date_saved": "1980-01-01@00:00:00"} if "date_saved" in value else value
        return {key: _normalize(item) for key, item in value.items() if key != "shared_object_id"}
    return value
