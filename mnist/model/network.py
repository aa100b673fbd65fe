"""The feed-forward network: built for training and for inference, compiled for prediction, saved to the same bytes."""

import json
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mnist.core.errors import UserError
from mnist.core.files import atomic_write
from mnist.core.paths import relative
from mnist.model.backend import keras, tf
from mnist.model.layers import BatchNormalization, Dense, Dropout
from mnist.model.losses import cross_entropy
from mnist.model.weights import model_error, read_weights

PREDICT_BATCH = 1000  # images per call; one shape, compiled once


@dataclass(frozen=True)
class NetworkConfig:
    """A dense network with softmax output; weights are Glorot-uniform (Glorot and Bengio 2010), biases zero.

    Args:
        name: the data set that the network is for.
        pixels: length of the input, a flattened image.
        classes: length of the output.
        hidden_units: units of each hidden layer, input side first.
        activation: of the hidden layers, by its name in Keras.
        seed: of the initial weights and of dropout.
        batch_normalization: normalise each hidden layer before its activation; the layer then has no bias.
        dropout: dropout rate of the hidden layers.
        precision: dtype of weights and computations in training.
    """

    name: str
    pixels: int
    classes: int
    hidden_units: list[int]
    activation: str = "relu"
    seed: int = 0
    batch_normalization: bool = False
    dropout: float = 0.0
    precision: str = "float32"


def build_network(config: NetworkConfig) -> keras.Sequential:
    """Build the network that is trained, inside the compiled step."""
    keras.utils.set_random_seed(config.seed)
    dtype = config.precision
    network = keras.Sequential([keras.Input((config.pixels,), name="pixels")], name=config.name)
    for n, units in enumerate(config.hidden_units, 1):
        if config.batch_normalization:
            network.add(Dense(units, use_bias=False, name=f"hidden_{n}", dtype=dtype))
            network.add(BatchNormalization(name=f"normalization_{n}", dtype=dtype))
            network.add(keras.layers.Activation(config.activation, name=f"activation_{n}", dtype=dtype))
        else:
            network.add(Dense(units, config.activation, name=f"hidden_{n}", dtype=dtype))
        if config.dropout:
            network.add(Dropout(config.dropout, name=f"dropout_{n}", dtype=dtype))
    network.add(Dense(config.classes, "softmax", name="probabilities", dtype=dtype))
    return network


def build_inference_network(config: NetworkConfig) -> keras.Sequential:
    """Build the network that validates and is saved: Keras's own dense layers only, in float32."""
    network = keras.Sequential([keras.Input((config.pixels,), name="pixels")], name=config.name)
    for n, units in enumerate(config.hidden_units, 1):
        network.add(keras.layers.Dense(units, config.activation, name=f"hidden_{n}", dtype="float32"))
    network.add(keras.layers.Dense(config.classes, "softmax", name="probabilities", dtype="float32"))
    return network


def fold_batch_norm(network: keras.Sequential, inference_network: keras.Sequential) -> None:
    """Copy a trained network's weights, with batch normalisation folded into its dense layers.

    In inference batch normalisation only scales and shifts each unit, and dropout does nothing.
    """
    weights: list[np.ndarray] = []
    for layer in network.layers:
        if isinstance(layer, Dense):
            weights += layer.get_weights()
        elif isinstance(layer, BatchNormalization):
            gamma, beta, mean, variance = layer.get_weights()
            scale = gamma / np.sqrt(variance + variance.dtype.type(layer.epsilon))
            weights[-1] = weights[-1] * scale
            weights.append(beta - mean * scale)
    inference_network.set_weights(weights)


class Predictor:
    """A network compiled by XLA for prediction: bit-identical across CPUs, unlike direct calls."""

    def __init__(self, network: keras.Model) -> None:
        """Wrap a network; it is compiled at the first call, and uses the network's current weights."""

        @tf.function(jit_compile=True)
        def run(images: tf.Tensor, labels: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            probabilities = network(images, training=False)
            return probabilities, cross_entropy(labels, probabilities)

        self._run = run
        self._classes = network.output_shape[-1]

    def __call__(self, images: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Predict.

        Args:
            images: float32 (n, pixels), 0 to 1.
            labels: integers (n,), the true classes.

        Returns:
            Probabilities, float32 (n, classes), and the cross-entropy of each image, float32 (n,), in nats.
        """
        probabilities = np.empty((len(images), self._classes), np.float32)
        losses = np.empty(len(images), np.float32)
        batch_images = np.zeros((PREDICT_BATCH, images.shape[1]), np.float32)
        batch_labels = np.zeros(PREDICT_BATCH, np.int32)
        for start in range(0, len(images), PREDICT_BATCH):
            rows = slice(start, min(start + PREDICT_BATCH, len(images)))
            size = rows.stop - rows.start
            batch_images[:size], batch_labels[:size] = images[rows], labels[rows]
            batch = self._run(tf.constant(batch_images), tf.constant(batch_labels))
            probabilities[rows], losses[rows] = (part.numpy()[:size] for part in batch)
        return probabilities, losses


def save_network(network: keras.Model, path: Path) -> None:
    """Save in Keras's format, with the same bytes for the same network.

    Keras writes the date, the zip entries' times and memory addresses (`shared_object_id`) into the file; here the
    first two are fixed, and the last omitted, which only matters for layers that share an object.
    """
    with atomic_write(path) as partial:
        saved = partial.with_name(f"{partial.name}.keras")
        try:
            network.save(saved)
            with zipfile.ZipFile(saved) as source, zipfile.ZipFile(partial, "w") as target:
                for name in sorted(source.namelist()):
                    content = source.read(name)
                    if name.endswith(".json"):
                        content = json.dumps(_normalize(json.loads(content)), sort_keys=True, indent=1).encode()
                    target.writestr(zipfile.ZipInfo(name, date_time=(1980, 1, 1, 0, 0, 0)), content)
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


def load_network(path: Path, *, pixels: int, classes: int, name: str) -> keras.Model:
    """Load a saved network, in Keras's safe mode (no code in the file is run), and check that it fits the data.

    Keras allocates whatever the file describes, so the file is first read as strictly as train writes it.

    Raises:
        UserError: the file is missing, corrupt, or of a network for other data.
    """
    read_weights(path)
    try:
        network = keras.saving.load_model(path, compile=False, safe_mode=True)
    except Exception as error:  # for a corrupt file zipfile, h5py and Keras raise almost any type
        raise model_error(path, error) from None
    if network.name != name or network.input_shape != (None, pixels) or network.output_shape != (None, classes):
        raise UserError(
            f"{relative(path)} is a network for '{network.name}', {network.input_shape[-1]} pixels, "
            f"{network.output_shape[-1]} classes; the data is '{name}', {pixels} pixels, {classes} classes: "
            "run `dvc repro`"
        )
    return network
