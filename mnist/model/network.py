"""The dense network in use: prediction compiled by XLA, and saving to the same bytes."""

import json
import zipfile
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
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
    batch_images = np.zeros((PREDICT_BATCH, images.shape[1]), np.float32)
    batch_labels = np.zeros(PREDICT_BATCH, np.int32)
    results = [(np.empty((0, len(layers[-1].bias)), np.float32), np.empty(0, np.float32))]
    for start in range(0, len(images), PREDICT_BATCH):
        size = len(labels[start : start + PREDICT_BATCH])
        batch_images[:size], batch_labels[:size] = images[start : start + size], labels[start : start + size]
        batch = _predict_batch(tf.constant(batch_images), tf.constant(batch_labels), weights, activations)
        results.append(tuple(part.numpy()[:size] for part in batch))
    probabilities, losses = map(np.concatenate, zip(*results, strict=True))
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
    fixed = item | {"date_saved": "1980-01-01@00:00:00"} if "date_saved" in item else item
    return {key: value for key, value in fixed.items() if key != "shared_object_id"}
