"""The training loop: the mathematics of Keras's `fit` in steps compiled by XLA, many per call."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from mnist.model.backend import keras, tf
from mnist.model.losses import cross_entropy, smoothed_cross_entropy

CALL_IMAGES = 16384  # images per compiled call, about; progress and Ctrl-C are handled between calls


class Batches(NamedTuple):
    """The batches of an epoch, padded to a fixed size with zero-weight images, so that the step is compiled once."""

    rows: np.ndarray
    """int32 (steps, size), indices of images."""
    weights: np.ndarray
    """float32 (steps, size), 0 for padding, else 1."""
    sizes: np.ndarray
    """float32 (steps,), images without padding."""


@dataclass(frozen=True)
class LoopConfig:
    """What decides the steps of a training, besides the network and the optimiser.

    Args:
        batch_size: images per step.
        rates: float32 (epochs, steps per epoch), the learning rate of each step.
        seed: of the order of the images.
        label_smoothing: fraction of each label that is spread evenly over all classes.
        augment: maps images, float32 (n, pixels), and the number of the step to augmented images.
    """

    batch_size: int
    rates: np.ndarray
    seed: int
    label_smoothing: float = 0.0
    augment: Callable[..., tf.Tensor] | None = None


def shuffled(count: int, seed: int, epoch: int) -> np.ndarray:
    """The order of the images in an epoch, int32 (count,)."""
    return np.random.default_rng([seed, epoch]).permutation(count).astype(np.int32)


def pad_batches(order: np.ndarray, batch_size: int) -> Batches:
    """Cut an epoch's order of images into batches; the last one is padded with the first images."""
    steps = math.ceil(len(order) / batch_size)
    weights = (np.arange(steps * batch_size) < len(order)).astype(np.float32).reshape(steps, batch_size)
    return Batches(np.resize(order, (steps, batch_size)), weights, weights.sum(axis=1))


def make_gradient_function(network: keras.Model, label_smoothing: float) -> Callable[..., tuple]:
    """A function that differentiates the mean loss of a batch.

    It maps images, float32 (n, pixels), labels, int32 (n,), weights, float32 (n,), and the batch's size to the
    gradients, the sum of the losses without label smoothing, and the number of correct predictions.
    """
    variables = network.trainable_variables
    precision = variables[0].dtype

    def compute_gradients(images: tf.Tensor, labels: tf.Tensor, weights: tf.Tensor, size: tf.Tensor) -> tuple:
        weights, size = tf.cast(weights, precision), tf.cast(size, precision)
        with tf.GradientTape() as tape:
            probabilities = network(images, training=True)
            losses = minimized = cross_entropy(labels, probabilities) * weights
            if label_smoothing:
                minimized = smoothed_cross_entropy(labels, probabilities, label_smoothing) * weights
            mean_loss = tf.reduce_sum(minimized) / size
        correct = tf.cast(tf.argmax(probabilities, axis=1, output_type=tf.int32) == labels, precision) * weights
        return tape.gradient(mean_loss, variables), tf.reduce_sum(losses), tf.reduce_sum(correct)

    return compute_gradients


def make_train_step(network: keras.Model, optimizer: keras.optimizers.Optimizer, config: LoopConfig) -> Callable:
    """A function that trains on one batch, and returns the sum of its losses and the number of correct predictions."""
    compute_gradients = make_gradient_function(network, config.label_smoothing)

    def train_step(images: tf.Tensor, labels: tf.Tensor, batch: Any, rate: tf.Tensor, step: tf.Tensor) -> tuple:
        rows, weights, size = batch
        inputs, targets = tf.gather(images, rows), tf.gather(labels, rows)
        if config.augment:
            inputs = config.augment(inputs, step)
        gradients, loss, correct = compute_gradients(inputs, targets, weights, size)
        optimizer.learning_rate.assign(rate)
        optimizer.apply(gradients, network.trainable_variables)
        return loss, correct

    return train_step


def compile_steps(train_step: Callable, precision: str, *, jit_compile: bool = True) -> Callable:
    """A compiled function that runs the steps `first` to `last - 1` of an epoch, and adds up their results."""

    @tf.function(jit_compile=jit_compile)
    def run_steps(images, labels, batches, rates, steps_before, first, last):  # noqa: ANN001, ANN202, tensors all
        def body(index: tf.Tensor, loss_sum: tf.Tensor, correct_sum: tf.Tensor) -> tuple:
            batch = [part[index] for part in batches]
            loss, correct = train_step(images, labels, batch, rates[index], steps_before + index)
            return index + 1, loss_sum + loss, correct_sum + correct

        zero = tf.zeros([], precision)
        return tf.while_loop(lambda index, *_: index < last, body, (first, zero, zero))[1:]

    return run_steps


class Trainer:
    """Trains a network in place, an epoch at a time."""

    def __init__(
        self,
        network: keras.Model,
        optimizer: keras.optimizers.Optimizer,
        images: np.ndarray,
        labels: np.ndarray,
        config: LoopConfig,
    ) -> None:
        """Prepare the loop; the step is compiled at the first epoch.

        Args:
            network: maps float32 (n, pixels) to probabilities (n, classes), in the precision of its weights.
            optimizer: updates the weights.
            images: float32 (n, pixels), 0 to 1; may be memory-mapped, and is not copied.
            labels: integers (n,).
            config: how to train.
        """
        optimizer.build(network.trainable_variables)
        self.network, self.optimizer, self.config = network, optimizer, config
        self.images = tf.experimental.dlpack.from_dlpack(images.__dlpack__())  # shares the memory
        self.labels = tf.constant(labels.astype(np.int32))
        self.count = len(labels)
        self.run_steps = self.make_run_steps()

    def make_run_steps(self) -> Callable:
        """Compile the training step."""
        train_step = make_train_step(self.network, self.optimizer, self.config)
        return compile_steps(train_step, self.network.trainable_variables[0].dtype)

    def make_batches(self, epoch: int) -> tuple[np.ndarray, ...]:
        """The batches of an epoch, numbered from 0."""
        return pad_batches(shuffled(self.count, self.config.seed, epoch), self.config.batch_size)

    def train_epoch(self, epoch: int, progress: Callable[[int], object] | None = None) -> tuple[float, float]:
        """Train for one epoch.

        Args:
            epoch: its number, from 0.
            progress: called with the number of images after every part of the epoch.

        Returns:
            Mean loss in nats, without label smoothing, and accuracy, both of the images as trained on: augmented, and
            with dropout.
        """
        batch_size, rates = self.config.batch_size, tf.constant(self.config.rates[epoch])
        steps = len(self.config.rates[epoch])
        batches = tuple(tf.constant(part) for part in self.make_batches(epoch))
        steps_before = tf.constant(epoch * steps)
        steps_per_call = max(1, CALL_IMAGES // batch_size)
        loss_sum = correct_sum = 0.0
        for first in range(0, steps, steps_per_call):
            last = min(first + steps_per_call, steps)
            bounds = tf.constant(first), tf.constant(last)
            loss, correct = self.run_steps(self.images, self.labels, batches, rates, steps_before, *bounds)
            loss_sum += float(loss)
            correct_sum += float(correct)
            if progress:
                progress(min(last * batch_size, self.count) - first * batch_size)
        return loss_sum / self.count, correct_sum / self.count
