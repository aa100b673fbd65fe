"""The training loop: gradient steps compiled by XLA, many to a call."""

from collections.abc import Callable, Iterator

import numpy as np

from stages.lib.backend import keras, tf
from stages.lib.network import cross_entropy

CALL_IMAGES = 16384  # about how many images a compiled call trains on: between calls come progress and Ctrl-C


def train_epochs(
    network: keras.Model,
    optimizer: keras.optimizers.Optimizer,
    images: np.ndarray,
    labels: np.ndarray,
    *,
    batch_size: int,
    epochs: int,
    seed: int,
    progress: Callable[[int], object],
) -> Iterator[tuple[float, float]]:
    """Train a network in place, an epoch at a time: what `fit` does, with the same mathematics, several times faster.

    Each step takes the gradient of the mean cross-entropy of a batch. The images come in a new order each epoch, drawn
    from the seed and the number of the epoch. A partial last batch is filled up with images of weight 0, so that all
    batches have one shape and the loop is compiled once.

    Args:
        network: maps float32 (n, pixels) to probabilities (n, classes).
        optimizer: updates the weights.
        images: float32 (n, pixels); may be memory-mapped, and is not copied.
        labels: integers (n,).
        batch_size: images a step.
        epochs: passes over the images.
        seed: decides the order of the images.
        progress: called with the number of images each time some have been trained on.

    Yields:
        Loss and accuracy of each epoch: means over its images, as they were met.
    """
    count = len(labels)
    steps = -(-count // batch_size)
    steps_per_call = max(1, CALL_IMAGES // batch_size)
    optimizer.build(network.trainable_variables)
    all_images = tf.experimental.dlpack.from_dlpack(images.__dlpack__())  # shares the memory
    all_labels = tf.constant(labels.astype(np.int32))
    weights = tf.constant((np.arange(steps * batch_size) < count).astype(np.float32).reshape(steps, batch_size))

    @tf.function(jit_compile=True)
    def run_steps(images, labels, order, weights, first, last):  # noqa: ANN001, ANN202
        def step(index, loss_sum, correct):  # noqa: ANN001, ANN202
            batch, weight = tf.gather(images, order[index]), weights[index]
            truth = tf.gather(labels, order[index])
            with tf.GradientTape() as tape:
                probabilities = network(batch, training=True)
                losses = cross_entropy(truth, probabilities) * weight
                loss = tf.reduce_sum(losses) / tf.reduce_sum(weight)
            gradients = tape.gradient(loss, network.trainable_variables)
            optimizer.apply(gradients, network.trainable_variables)
            hits = tf.cast(tf.argmax(probabilities, axis=1, output_type=tf.int32) == truth, tf.float32) * weight
            return index + 1, loss_sum + tf.reduce_sum(losses), correct + tf.reduce_sum(hits)

        return tf.while_loop(lambda index, *_: index < last, step, (first, 0.0, 0.0))[1:]

    for epoch in range(epochs):
        order = np.zeros(steps * batch_size, np.int32)
        order[:count] = np.random.default_rng([seed, epoch]).permutation(count)
        order_of_steps = tf.constant(order.reshape(steps, batch_size))
        loss_sum = correct = 0.0
        for first in range(0, steps, steps_per_call):
            last = min(first + steps_per_call, steps)
            part = run_steps(all_images, all_labels, order_of_steps, weights, tf.constant(first), tf.constant(last))
            loss_sum += float(part[0])
            correct += float(part[1])
            progress(min(last * batch_size, count) - first * batch_size)
        yield loss_sum / count, correct / count
