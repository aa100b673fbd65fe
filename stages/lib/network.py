"""The feed-forward network: built from parameters, run compiled, saved to the same bytes."""

import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from stages.lib.backend import keras, optimization_barrier, tf
from stages.lib.errors import UserError
from stages.lib.files import new_file
from stages.lib.paths import relative
from stages.lib.weights import read_weights

# Up to these sizes, in images and in numbers, XLA's own gradient had the same bits on an Intel Sapphire Rapids and on
# emulated Haswell and EPYC, of the default network also on an AMD Zen 3. So it stays: what is published has its bits.
SMALL_BATCH, SMALL_KERNEL = 32, 1 << 20
PREDICT_BATCH = 1000  # images a call; one shape, so that it is compiled once


class Dense(keras.layers.Dense):
    """Keras's layer with a gradient of the same bits on every processor, for the compiled training step only."""

    def call(self, inputs: tf.Tensor, training: bool | None = None) -> tf.Tensor:  # noqa: ARG002
        """Map (n, inputs) to (n, units)."""
        products = matrix_product(inputs, tf.convert_to_tensor(self.kernel))
        return self.activation(products + self.bias if self.use_bias else products)


@tf.custom_gradient
def matrix_product(left: tf.Tensor, right: tf.Tensor) -> tuple[tf.Tensor, Callable[[tf.Tensor], tuple]]:
    """The product of two matrices, (n, inputs) and (inputs, units), and its gradient.

    XLA gave products whose first matrix is to be turned, as for the gradient of the weights, other last bits on an
    Intel Sapphire Rapids, an emulated Haswell and an emulated EPYC. With a matrix that is turned beforehand, as in all
    others that were tried, float32 numbers are added one after the other, by fused multiply-add, in blocks of 512.
    """

    def gradient(upstream: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        if left.shape[0] <= SMALL_BATCH and right.shape.num_elements() <= SMALL_KERNEL:
            return tf.matmul(upstream, right, transpose_b=True), tf.matmul(left, upstream, transpose_a=True)
        # The barrier keeps XLA from turning it within the product all the same.
        [turned] = optimization_barrier(tf.transpose(left))
        return tf.matmul(upstream, right, transpose_b=True), tf.matmul(turned, upstream)

    return tf.matmul(left, right), gradient


class BatchNormalization(keras.layers.BatchNormalization):
    """Keras's layer with another way to 1 / sqrt(variance).

    For Keras's, XLA takes the processor's own approximation of it (`rsqrtss`), which is not the same on all of them.
    """

    def call(self, inputs: tf.Tensor, training: bool | None = None, mask: None = None) -> tf.Tensor:  # noqa: ARG002
        """Normalise (n, units): by the batch in training, in prediction by the mean over the last batches."""
        mean, variance = self.moving_mean, self.moving_variance
        if training:
            mean, variance = tf.nn.moments(inputs, axes=[0])
            self.moving_mean.assign(self.moving_mean * self.momentum + mean * (1 - self.momentum))
            self.moving_variance.assign(self.moving_variance * self.momentum + variance * (1 - self.momentum))
        scale = self.gamma * tf.exp(-0.5 * tf.math.log(variance + self.epsilon))
        return inputs * scale + (self.beta - mean * scale)


class Dropout(keras.layers.Dropout):
    """Keras's layer with random numbers of a kind (ThreeFry, Salmon et al. 2011) that XLA computes while it uses them.

    For Keras's own, a kind left open, it compiles all kinds and chooses at run time: an epoch of a network of
    2048-1024-512 took eight times as long with dropout as without. With these it takes a fortieth longer.
    """

    def call(self, inputs: tf.Tensor, training: bool = False) -> tf.Tensor:
        """Of (n, units) leave out a share in training, and scale up the others by as much; only in XLA."""
        if not training:
            return inputs
        seed = tf.cast(self.seed_generator.next(), tf.int32)
        kept = tf.random.stateless_uniform(tf.shape(inputs), seed, alg="threefry") >= self.rate
        return inputs * (tf.cast(kept, inputs.dtype) / (1 - self.rate))


def build_network(
    pixels: int,
    hidden_units: list[int],
    classes: int,
    *,
    activation: str,
    seed: int,
    name: str,
    batch_normalization: bool = False,
    dropout: float = 0.0,
    precision: str = "float32",
    for_training: bool = False,
) -> keras.Sequential:
    """Build a dense network with softmax output; weights are Glorot-uniform (Glorot and Bengio 2010), biases zero.

    Args:
        pixels: size of the input, a flattened image.
        hidden_units: units of each hidden layer, input side first.
        classes: size of the output.
        activation: of the hidden layers.
        seed: decides the initial weights and what dropout leaves out.
        name: of the network; the pipeline uses it to tell which data set a model is for.
        batch_normalization: normalise the sums of each hidden layer before the activation (Ioffe and Szegedy 2015,
            "Batch normalization"), in place of a bias.
        dropout: share of each hidden layer's units that a training step leaves out (Srivastava et al. 2014, "Dropout").
        precision: type of the weights, and of all that is computed with them.
        for_training: build it of this module's layers, for the compiled step, and not of Keras's own, to be saved.
    """
    keras.utils.set_random_seed(seed)
    dense = Dense if for_training else keras.layers.Dense
    network = keras.Sequential([keras.Input((pixels,), name="pixels")], name=name)
    for n, units in enumerate(hidden_units, 1):
        if batch_normalization:
            network.add(dense(units, use_bias=False, name=f"hidden_{n}", dtype=precision))
            network.add(BatchNormalization(name=f"normalization_{n}", dtype=precision))
            network.add(keras.layers.Activation(activation, name=f"activation_{n}", dtype=precision))
        else:
            network.add(dense(units, activation, name=f"hidden_{n}", dtype=precision))
        if dropout:
            network.add(Dropout(dropout, name=f"dropout_{n}", dtype=precision))
    network.add(dense(classes, "softmax", name="probabilities", dtype=precision))
    return network


def copy_weights(network: keras.Sequential, plain: keras.Sequential) -> None:
    """Give a network of dense layers alone the weights with which it predicts what `network` does.

    In prediction batch normalisation only scales and shifts each unit, so it goes into the weights before it, and
    dropout does nothing. What was trained in float64 is rounded to the plain network's float32.
    """
    for layer in plain.layers:
        kernel, *bias = network.get_layer(layer.name).get_weights()
        if not bias:
            normalization = network.get_layer(layer.name.replace("hidden", "normalization"))
            gamma, beta, mean, variance = normalization.get_weights()
            scale = gamma / np.sqrt(variance + variance.dtype.type(normalization.epsilon))
            kernel, bias = kernel * scale, [beta - mean * scale]
        layer.set_weights([kernel, *bias])


def cross_entropy(labels: tf.Tensor, probabilities: tf.Tensor) -> tf.Tensor:
    """The negative log of the probability given to the true class, (n,), in nats."""
    return keras.ops.sparse_categorical_crossentropy(labels, probabilities)


def smoothed_cross_entropy(labels: tf.Tensor, probabilities: tf.Tensor, smoothing: float) -> tf.Tensor:
    """The same, with the given share of each label spread over all classes, (n,), in nats."""
    classes = probabilities.shape[-1]
    targets = keras.ops.one_hot(labels, classes, dtype=probabilities.dtype) * (1 - smoothing) + smoothing / classes
    return keras.ops.categorical_crossentropy(targets, probabilities)


class Predictor:
    """A network compiled by XLA for prediction: the same bits on every processor, which plain calls do not give."""

    def __init__(self, network: keras.Model) -> None:
        """Wrap a network; it is compiled at the first call, and follows the network's weights."""

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
    first two are fixed, and the last left out, which only matters for layers that share an object.
    """
    with new_file(path) as partial:
        saved = partial.with_name(f"{partial.name}.keras")
        try:
            network.save(saved)
            with zipfile.ZipFile(saved) as source, zipfile.ZipFile(partial, "w") as target:
                for name in sorted(source.namelist()):
                    content = source.read(name)
                    if name.endswith(".json"):
                        content = json.dumps(_stable(json.loads(content)), sort_keys=True, indent=1).encode()
                    target.writestr(zipfile.ZipInfo(name, date_time=(1980, 1, 1, 0, 0, 0)), content)
        finally:
            saved.unlink(missing_ok=True)


def _stable(value: Any) -> Any:
    """A copy of JSON content without what differs between two savings of the same network."""
    if isinstance(value, list):
        return [_stable(item) for item in value]
    if isinstance(value, dict):
        return {
            key: "1980-01-01@00:00:00" if key == "date_saved" else _stable(item)
            for key, item in value.items()
            if key != "shared_object_id"
        }
    return value


def load_network(path: Path, *, pixels: int, classes: int, name: str) -> keras.Model:
    """Load a saved network, in Keras's safe mode (no code in the file is run), and check that it fits the data.

    Keras takes memory for whatever the file describes; so it is first read as what train writes, and no more.

    Raises:
        UserError: the file is missing, damaged, or of a network for other data.
    """
    read_weights(path)
    try:
        network = keras.saving.load_model(path, compile=False, safe_mode=True)
    except Exception as error:  # for a damaged file zipfile, h5py and Keras end in almost any of them
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise UserError(f"{relative(path)} is no model that can be loaded ({reason}); run `dvc repro`") from None
    if network.name != name or network.input_shape != (None, pixels) or network.output_shape != (None, classes):
        raise UserError(
            f"{relative(path)} is a network for '{network.name}', {network.input_shape[-1]} pixels, "
            f"{network.output_shape[-1]} classes; the data is '{name}', {pixels} pixels, {classes} classes: "
            "run `dvc repro`"
        )
    return network
