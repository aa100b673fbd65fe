"""The training step and its batches: the mathematics of Keras's `fit`, compiled by XLA, many steps per call."""

import math
from collections.abc import Callable

import numpy as np

from mnist.model.backend import keras, tf


def shuffled(count: int, seed: int, epoch: int) -> np.ndarray:
    """The order of the images in an epoch, int32 (count,)."""
    return np.random.default_rng([seed, epoch]).permutation(count).astype(np.int32)


def pad_batches(order: np.ndarray, batch_size: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Cut an epoch's order of images into batches of one size, the last one padded with the first images.

    Returns indices, int32 (steps, size), weights, 0 for padding, float32 (steps, size), and counts, float32 (steps,).
    """
    steps = math.ceil(len(order) / batch_size)
    weights = (np.arange(steps * batch_size) < len(order)).astype(np.float32).reshape(steps, batch_size)
    return np.resize(order, (steps, batch_size)), weights, weights.sum(axis=1)


def smoothed_cross_entropy(labels: tf.Tensor, probabilities: tf.Tensor, smoothing: float) -> tf.Tensor:
    """The cross-entropy, (n,), in nats, with a fraction of each label spread over all classes (Szegedy et al. 2016)."""
    classes = probabilities.shape[-1]
    targets = keras.ops.one_hot(labels, classes, dtype=probabilities.dtype) * (1 - smoothing) + smoothing / classes
    return keras.ops.categorical_crossentropy(targets, probabilities)


def make_gradient_function(network: keras.Model, label_smoothing: float) -> Callable[..., tuple]:
    """A function of images, float32 (n, pixels), labels, int32 (n,), weights, float32 (n,), and size of a batch.

    It returns gradients of the mean loss, the sum of losses without smoothing, in nats, and the number of hits.
    """
    variables = network.trainable_variables
    precision = variables[0].dtype

    def compute_gradients(images: tf.Tensor, labels: tf.Tensor, weights: tf.Tensor, size: tf.Tensor) -> tuple:
        weights, size = tf.cast(weights, precision), tf.cast(size, precision)
        with tf.GradientTape() as tape:
            probabilities = network(images, training=True)
            losses = minimized = keras.ops.sparse_categorical_crossentropy(labels, probabilities) * weights
            if label_smoothing:
                minimized = smoothed_cross_entropy(labels, probabilities, label_smoothing) * weights
            mean_loss = tf.reduce_sum(minimized) / size
        correct = tf.cast(tf.argmax(probabilities, axis=1, output_type=tf.int32) == labels, precision) * weights
        return tape.gradient(mean_loss, variables), tf.reduce_sum(losses), tf.reduce_sum(correct)

    return compute_gradients


def make_train_step(
    network: keras.Model, optimizer: keras.optimizers.Optimizer, label_smoothing: float, augment: Callable | None
) -> Callable[..., tuple]:
    """A function that trains on one batch, and returns the sum of its losses and the number of correct predictions."""
    compute_gradients = make_gradient_function(network, label_smoothing)

    def train_step(images: tf.Tensor, labels: tf.Tensor, batch: list, rate: tf.Tensor, step: tf.Tensor) -> tuple:
        rows, weights, size = batch
        inputs, targets = tf.gather(images, rows), tf.gather(labels, rows)
        if augment:
            inputs = augment(inputs, step)
        gradients, loss, correct = compute_gradients(inputs, targets, weights, size)
        optimizer.learning_rate.assign(rate)
        optimizer.apply(gradients, network.trainable_variables)
        return loss, correct

    return train_step


def compile_steps(train_step: Callable, precision: str, *, jit_compile: bool = True) -> Callable[..., tuple]:
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
