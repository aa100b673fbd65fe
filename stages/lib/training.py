"""The training loop: gradient steps compiled by XLA, many to a call."""

import math
from collections.abc import Callable, Iterator

import numpy as np

from stages.lib.backend import keras, tf
from stages.lib.cluster import Cluster
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


def places_of(share: slice, order: np.ndarray, batch_size: int) -> tuple[np.ndarray, np.ndarray]:
    """Where in the order of an epoch, integers (n,), the images of a share are, and how many of them in each batch."""
    places = np.flatnonzero((order >= share.start) & (order < share.stop))
    return places, np.bincount(places // batch_size, minlength=math.ceil(len(order) / batch_size))


def deal(order: np.ndarray, batch_size: int, share: slice, width: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Which of a worker's images are in each batch of an epoch.

    All workers have the same batches, cut from the order of all images, and each takes from a batch what belongs to its
    share. As that is now more and now less, it is filled up to one width with its next images, of weight 0.

    Args:
        order: integers (n,), all images in the order of the epoch.
        batch_size: images a batch, those of all workers together.
        share: which images are this worker's.
        width: images of this worker a batch, with the fillers.

    Returns:
        For each batch and image, (steps, width): its row in the share, int32; its place in the batch, int32; its
        weight, float32, 0 or 1.
    """
    mine, counts = places_of(share, order, batch_size)
    starts = np.cumsum(counts) - counts
    taken = mine[(starts[:, None] + np.arange(width)) % len(mine)]
    weights = (np.arange(width) < counts[:, None]).astype(np.float32)
    return (order[taken] - share.start).astype(np.int32), (taken % batch_size).astype(np.int32), weights


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
    augment: Callable[..., tf.Tensor] | None = None,
    first_epoch: int = 0,
    cluster: Cluster = Cluster(),  # noqa: B008, it cannot be changed
) -> Iterator[tuple[float, float]]:
    """Train a network in place, an epoch at a time: what `fit` does, with the same mathematics, several times faster.

    Each step takes the gradient of the mean cross-entropy of a batch. The images come in a new order each epoch, drawn
    from the seed and the number of the epoch. A partial last batch is filled up with other images, of weight 0, so that
    all batches have one shape and the loop is compiled once.

    Several workers compute the gradient of the same batch, each that of its own images; the sum is what one machine
    has, but for rounding. Two things are each worker's own: batch normalisation takes mean and variance of its part of
    the batch (the running ones are averaged over the workers at the end of an epoch), and dropout draws by itself.

    Args:
        network: maps float32 (n, pixels) to probabilities (n, classes), in the precision of its weights.
        optimizer: updates the weights.
        images: float32 (n, pixels), those of all workers; may be memory-mapped, and is not copied: only this worker's
            share is read.
        labels: integers (n,).
        batch_size: images a step, those of all workers together.
        rates: float32 (epochs, steps of an epoch), the learning rate of each step.
        seed: decides the order of the images.
        progress: called with the number of images each time some have been trained on.
        label_smoothing: share of the true label that is spread over all classes in what is minimised (Szegedy et al.
            2016, "Rethinking the Inception architecture for computer vision").
        augment: deforms a batch, float32 (n, pixels), given the number of the step since the first epoch; if it is a
            worker's part of a batch, also the images' places in the whole batch, and the size of that.
        first_epoch: where to begin: 0, or the number of epochs that network and optimizer have been through.
        cluster: the workers that train together.

    Yields:
        Loss and accuracy of each epoch: means over its images, as they were met (deformed, and with dropout). The loss
        is without label smoothing, to be compared with that of other images.
    """
    count = len(labels)
    epochs, steps = rates.shape
    steps_per_call = max(1, CALL_IMAGES // batch_size)
    share = cluster.share(count)
    optimizer.build(network.trainable_variables)
    all_images = tf.experimental.dlpack.from_dlpack(images[share].__dlpack__())  # shares the memory
    all_labels = tf.constant(labels[share].astype(np.int32))
    sizes = tf.constant(np.minimum(batch_size, count - np.arange(steps) * batch_size).astype(np.float32))
    variables = network.trainable_variables
    precision = variables[0].dtype
    running = [variable for variable in network.non_trainable_variables if variable.dtype == precision]

    def order_of(epoch: int) -> np.ndarray:
        return np.random.default_rng([seed, epoch]).permutation(count).astype(np.int32)

    width = batch_size
    if cluster.size > 1:
        width = max(int(places_of(share, order_of(epoch), batch_size)[1].max()) for epoch in range(epochs))

    def differentiate(images, labels, rows, places, weights, size, number):  # noqa: ANN001, ANN202
        batch, truth = tf.gather(images, rows), tf.gather(labels, rows)
        weights, size = tf.cast(weights, precision), tf.cast(size, precision)
        if augment:
            batch = augment(batch, number, *((places, batch_size) if cluster.size > 1 else ()))
        with tf.GradientTape() as tape:
            probabilities = network(batch, training=True)
            losses = cross_entropy(truth, probabilities) * weights
            minimised = losses
            if label_smoothing:
                minimised = smoothed_cross_entropy(truth, probabilities, label_smoothing) * weights
            loss = tf.reduce_sum(minimised) / size
        hits = tf.cast(tf.argmax(probabilities, axis=1, output_type=tf.int32) == truth, precision) * weights
        return [*tape.gradient(loss, variables), tf.reduce_sum(losses), tf.reduce_sum(hits)]

    def update(gradients, rate):  # noqa: ANN001, ANN202
        optimizer.learning_rate.assign(rate)
        optimizer.apply(gradients, variables)

    if cluster.size > 1:  # XLA cannot compile the sums over the workers, only what is between them
        differentiate, update = (tf.function(part, jit_compile=True) for part in (differentiate, update))

    @tf.function(jit_compile=cluster.size == 1)
    def run_steps(images, labels, rows, places, weights, rates, steps_before, first, last):  # noqa: ANN001, ANN202
        def step(index, loss_sum, correct):  # noqa: ANN001, ANN202
            part = rows[index], places[index], weights[index], sizes[index], steps_before + index
            *gradients, losses, hits = cluster.sum(differentiate(images, labels, *part))
            update(gradients, rates[index])
            return index + 1, loss_sum + losses, correct + hits

        nothing = tf.zeros([], precision)
        return tf.while_loop(lambda index, *_: index < last, step, (first, nothing, nothing))[1:]

    for layer in network.layers if cluster.index else ():
        if isinstance(layer, keras.layers.Dropout):
            layer.seed_generator.state.assign_add([cluster.index, 0])
    for epoch in range(first_epoch, epochs):
        dealt = [tf.constant(part) for part in deal(order_of(epoch), batch_size, share, width)]
        epoch_rates = tf.constant(rates[epoch])
        steps_before = tf.constant(epoch * steps)
        loss_sum = correct = 0.0
        for first in range(0, steps, steps_per_call):
            last = min(first + steps_per_call, steps)
            bounds = tf.constant(first), tf.constant(last)
            part = run_steps(all_images, all_labels, *dealt, epoch_rates, steps_before, *bounds)
            loss_sum += float(part[0])
            correct += float(part[1])
            progress(min(last * batch_size, count) - first * batch_size)
        for variable in running if cluster.size > 1 else ():
            variable.assign(cluster.sum_values(variable.numpy()) / cluster.size)
        yield loss_sum / count, correct / count
