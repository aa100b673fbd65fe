"""The training step and its batches: the mathematics of Keras's `fit`, compiled by XLA, many steps per call."""

import math
from collections.abc import Callable

import numpy as np

from mnist.model.backend import keras, tf
from mnist.model.losses import cross_entropy


def shuffled(count: int, seed: int, epoch: int) -> np.ndarray:
    """The order of the images in an epoch, int32 (count,)."""
    return np.random.default_rng([seed, epoch]).permutation(count).astype(np.int32)


def pad_batches(order: np.ndarray, batch_size: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Cut an epoch's order of images into batches of one size, the last one padded with the first images.

    The padding has no weight in the loss; batch normalisation counts it in the batch's statistics, unlike in `fit`.
    Returns indices, int32 (steps, size), weights, 0 for padding, float32 (steps, size), and counts, float32 (steps,).
    """
    steps = math.ceil(len(order) / batch_size)
    weights = (np.arange(steps * batch_size) < len(order)).astype(np.float32).reshape(steps, batch_size)
    return np.resize(order, (steps, batch_size)), weights, weights.sum(axis=1)


def make_gradient_function(network: keras.Model, label_smoothing: float) -> Callable[..., tuple]:
    """A function of images, float32 (n, pixels), labels, int32 (n,), weights, float32 (n,), and size of a batch.

    It returns gradients of the mean loss, and per image, times its weight, the loss without smoothing, in nats, and 1
    for a correct prediction.
    """
    variables = network.trainable_variables
    precision = variables[0].dtype

    def compute_gradients(images: tf.Tensor, labels: tf.Tensor, weights: tf.Tensor, size: tf.Tensor) -> tuple:
        weights, size = tf.cast(weights, precision), tf.cast(size, precision)
        with tf.GradientTape() as tape:
            logits = network(images, training=True)
        losses, upstream = cross_entropy(labels, logits, label_smoothing)
        correct = tf.cast(tf.argmax(logits, axis=1, output_type=tf.int32) == labels, precision)
        gradients = tape.gradient(logits, variables, upstream * (weights / size)[:, None])
        return gradients, losses * weights, correct * weights

    return compute_gradients


def make_train_step(
    network: keras.Model, optimizer: keras.optimizers.Optimizer, label_smoothing: float, augment: Callable | None
) -> Callable[..., tuple]:
    """A function that trains on one batch, and returns the loss and 1 for a correct prediction, per image."""
    compute_gradients = make_gradient_function(network, label_smoothing)

    def train_step(images: tf.Tensor, labels: tf.Tensor, batch: list, rate: tf.Tensor, step: tf.Tensor) -> tuple:
        rows, weights, size = batch
        inputs, targets = tf.gather(images, rows), tf.gather(labels, rows)
        if augment:
            inputs = augment(inputs, step)
        gradients, losses, correct = compute_gradients(inputs, targets, weights, size)
        optimizer.learning_rate.assign(rate)
        optimizer.apply(gradients, network.trainable_variables)
        return losses, correct

    return train_step


def compile_steps(train_step: Callable, precision: str, *, jit_compile: bool = True) -> Callable[..., tuple]:
    """A compiled function that runs the steps `first` to `last - 1` of an epoch.

    It returns, per position of the batch, (n,), the sum of losses and the number of correct predictions.
    """

    @tf.function(jit_compile=jit_compile, autograph=False)
    def run_steps(images, labels, batches, rates, steps_before, first, last):  # noqa: ANN001, ANN202, tensors all
        def body(index: tf.Tensor, loss_sums: tf.Tensor, correct_sums: tf.Tensor) -> tuple:
            batch = [part[index] for part in batches]
            losses, correct = train_step(images, labels, batch, rates[index], steps_before + index)
            return index + 1, loss_sums + losses, correct_sums + correct

        zeros = tf.zeros_like(batches[0][0], precision)
        return tf.while_loop(lambda index, *_: index < last, body, (first, zeros, zeros))[1:]

    return run_steps
