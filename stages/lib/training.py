"""The training loop: gradient steps compiled by XLA, many to a call."""

import math
from collections.abc import Callable, Iterator

import numpy as np

from stages.lib.backend import keras, tf
from stages.lib.network import cross_entropy, smoothed_cross_entropy

CALL_IMAGES = 16384  # about how many images a compiled call trains on: between calls come progress and Ctrl-C


def learning_rates(peak: float, schedule: str, *, epochs: int, warmup_epochs: float, steps: int) -> np.ndarray:
    """The learning rate of each step of a training.

    Args:
        peak: the highest rate.
        schedule: `constant`, or `cosine`: from the peak down to 0 along half a cosine (Loshchilov and Hutter 2017,
            "SGDR: stochastic gradient descent with warm restarts").
        epochs: how many.
        warmup_epochs: over so many first epochs the rate rises in a straight line (Goyal et al. 2017, "Accurate, large
            minibatch SGD").
        steps: of an epoch.

    Returns:
        float32 (epochs, steps). Computed here and not by Keras's CosineDecay in the compiled step, so that no last bit
        of a compiled cosine can matter: these are rounded from twice the digits.
    """
    total, warmup = epochs * steps, round(warmup_epochs * steps)
    rates = np.full(total, peak, np.float32)
    for step in range(total):
        if step < warmup:
            rates[step] = peak * (step + 1) / (warmup + 1)
        elif schedule == "cosine":
            rates[step] = peak * (1 + math.cos(math.pi * (step - warmup) / (total - warmup))) / 2
    return rates.reshape(epochs, steps)


def train_epochs(
    network: keras.Model,
    optimizer: keras.optimizers.Optimizer,
    images: np.ndarray,
    labels: np.ndarray,
    *,
    batch_size: int,
    rates: np.ndarray,
    seed: int,
    progress: Callable[[int], object],
    label_smoothing: float = 0.0,
    augment: Callable[[tf.Tensor, tf.Tensor], tf.Tensor] | None = None,
) -> Iterator[tuple[float, float]]:
    """Train a network in place, an epoch at a time: what `fit` does, with the same mathematics, several times faster.

    Each step takes the gradient of the mean cross-entropy of a batch. The images come in a new order each epoch, drawn
    from the seed and the number of the epoch. A partial last batch is filled up with other images, of weight 0, so that
    all batches have one shape and the loop is compiled once.

    Args:
        network: maps float32 (n, pixels) to probabilities (n, classes).
        optimizer: updates the weights.
        images: float32 (n, pixels); may be memory-mapped, and is not copied.
        labels: integers (n,).
        batch_size: images a step.
        rates: float32 (epochs, steps of an epoch), the learning rate of each step.
        seed: decides the order of the images.
        progress: called with the number of images each time some have been trained on.
        label_smoothing: share of the true label that is spread over all classes in what is minimised (Szegedy et al.
            2016, "Rethinking the Inception architecture for computer vision").
        augment: deforms a batch, float32 (batch_size, pixels), given the number of the step since the first epoch.

    Yields:
        Loss and accuracy of each epoch: means over its images, as they were met (deformed, and with dropout). The loss
        is without label smoothing, to be compared with that of other images.
    """
    count = len(labels)
    epochs, steps = rates.shape
    steps_per_call = max(1, CALL_IMAGES // batch_size)
    optimizer.build(network.trainable_variables)
    all_images = tf.experimental.dlpack.from_dlpack(images.__dlpack__())  # shares the memory
    all_labels = tf.constant(labels.astype(np.int32))
    weights = tf.constant((np.arange(steps * batch_size) < count).astype(np.float32).reshape(steps, batch_size))

    @tf.function(jit_compile=True)
    def run_steps(images, labels, order, weights, rates, steps_before, first, last):  # noqa: ANN001, ANN202
        def step(index, loss_sum, correct):  # noqa: ANN001, ANN202
            batch, weight = tf.gather(images, order[index]), weights[index]
            truth = tf.gather(labels, order[index])
            if augment:
                batch = augment(batch, steps_before + index)
            optimizer.learning_rate.assign(rates[index])
            with tf.GradientTape() as tape:
                probabilities = network(batch, training=True)
                losses = cross_entropy(truth, probabilities) * weight
                minimised = losses
                if label_smoothing:
                    minimised = smoothed_cross_entropy(truth, probabilities, label_smoothing) * weight
                loss = tf.reduce_sum(minimised) / tf.reduce_sum(weight)
            gradients = tape.gradient(loss, network.trainable_variables)
            optimizer.apply(gradients, network.trainable_variables)
            hits = tf.cast(tf.argmax(probabilities, axis=1, output_type=tf.int32) == truth, tf.float32) * weight
            return index + 1, loss_sum + tf.reduce_sum(losses), correct + tf.reduce_sum(hits)

        return tf.while_loop(lambda index, *_: index < last, step, (first, 0.0, 0.0))[1:]

    for epoch in range(epochs):
        order = np.random.default_rng([seed, epoch]).permutation(count).astype(np.int32)
        order_of_steps = tf.constant(np.resize(order, (steps, batch_size)))
        epoch_rates = tf.constant(rates[epoch])
        steps_before = tf.constant(epoch * steps)
        loss_sum = correct = 0.0
        for first in range(0, steps, steps_per_call):
            last = min(first + steps_per_call, steps)
            bounds = tf.constant(first), tf.constant(last)
            part = run_steps(all_images, all_labels, order_of_steps, weights, epoch_rates, steps_before, *bounds)
            loss_sum += float(part[0])
            correct += float(part[1])
            progress(min(last * batch_size, count) - first * batch_size)
        yield loss_sum / count, correct / count
