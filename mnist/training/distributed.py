"""Training on several machines: each differentiates its shard of every batch, and the gradients are all-reduced.

Keras's `fit` does not work under tf.distribute.MultiWorkerMirroredStrategy, so only its all-reduce is used.
"""

from collections.abc import Callable

import numpy as np

from mnist.model.backend import keras, tf
from mnist.training.checkpoint import Checkpoint, code_and_versions, fingerprint
from mnist.training.fit import COLUMNS, Training
from mnist.training.loop import compile_steps, make_gradient_function, shuffled
from mnist.training.workers import Workers


def shard_positions(shard: slice, order: np.ndarray) -> np.ndarray:
    """The positions of a shard's images in the order of an epoch, integers (n,), ascending."""
    return np.flatnonzero((order >= shard.start) & (order < shard.stop))


def shard_batches(order: np.ndarray, batch_size: int, shard: slice, padded_size: int) -> tuple[np.ndarray, ...]:
    """Cut the order of an epoch into batches, and of each keep the shard's images.

    Returns rows of the shard and positions in the whole batch, int32, and weights, float32, 0 for padding, each
    (steps, padded_size), and the size of each whole batch, float32 (steps,).
    """
    starts = np.arange(0, len(order), batch_size)
    mine = shard_positions(shard, order)
    counts = np.bincount(mine // batch_size, minlength=len(starts))
    first = np.cumsum(counts) - counts
    taken = mine[(first[:, None] + np.arange(padded_size)) % len(mine)]
    weights = (np.arange(padded_size) < counts[:, None]).astype(np.float32)
    sizes = np.minimum(batch_size, len(order) - starts).astype(np.float32)
    return (order[taken] - shard.start).astype(np.int32), (taken % batch_size).astype(np.int32), weights, sizes


class DistributedTraining(Training):
    """A training on the batches of one machine, whose result differs from it in the rounding of sums.

    Two options give other results: batch normalisation uses the statistics of a worker's part of the batch, and dropout
    draws independently.
    """

    def __init__(self, workers: Workers, *arguments) -> None:  # noqa: ANN002, as of Training
        self.workers, self.is_chief = workers, workers.index == 0
        super().__init__(*arguments)
        self.shard = workers.shard(self.count)
        self.train = self.train[0][self.shard], self.train[1][self.shard]
        orders = (shuffled(self.count, self.params.seed, epoch) for epoch in range(self.params.epochs))
        batches = (shard_positions(self.shard, order) // self.params.batch_size for order in orders)
        self.padded_size = max(int(np.bincount(batch).max()) for batch in batches)

    def make_batches(self, epoch: int) -> tuple[np.ndarray, ...]:
        """This worker's part of the batches of an epoch."""
        order = shuffled(self.count, self.params.seed, epoch)
        return shard_batches(order, self.params.batch_size, self.shard, self.padded_size)

    def make_run_steps(self) -> Callable[..., tuple]:
        """Compile the training step in two parts, because XLA cannot compile the all-reduce between them."""
        network, optimizer, batch_size = self.network, self.optimizer, self.params.batch_size
        compute_gradients = make_gradient_function(network, self.params.label_smoothing)

        @tf.function(jit_compile=True, autograph=False)
        def differentiate(images, labels, batch, step):  # noqa: ANN001, ANN202, tensors all
            rows, positions, weights, size = batch
            inputs, targets = tf.gather(images, rows), tf.gather(labels, rows)
            if self.augment.params.enabled:
                inputs = self.augment(inputs, step, positions, batch_size)
            return compute_gradients(inputs, targets, weights, size)

        @tf.function(jit_compile=True, autograph=False)
        def update(gradients, rate):  # noqa: ANN001, ANN202, tensors all
            optimizer.learning_rate.assign(rate)
            optimizer.apply(gradients, network.trainable_variables)

        def train_step(images, labels, batch, rate, step):  # noqa: ANN001, ANN202, tensors all
            gradients, losses, correct = differentiate(images, labels, batch, step)
            update(self.workers.all_reduce(gradients), rate)
            return losses, correct

        return compile_steps(train_step, self.precision, jit_compile=False)

    def make_checkpoint(self) -> Checkpoint:
        """The checkpoint of this training, after a check that all workers run the same."""
        decided_by = fingerprint(*self.decided_by, *code_and_versions())
        remedy = "use one commit and one requirements.txt on all"
        problem = f"does not have the same parameters, source files or library versions as worker 0: {remedy}"
        self.workers.check_equal(decided_by, problem)
        validation = (array[self.workers.shard(len(array))] for array in self.validation)
        shards = fingerprint(*self.train, *validation)
        run_fingerprint = fingerprint(decided_by, self.workers.gather(np.frombuffer(shards, ">u4")))
        return Checkpoint(run_fingerprint, self.variables, active=self.is_chief)

    def resume(self) -> list[list[float]]:
        """Load the chief's checkpoint on all workers; then give each worker's dropout other random numbers."""
        history = super().resume()
        epochs = int(self.workers.broadcast(np.array(len(history))))
        if epochs:
            for variable in self.variables:
                variable.assign(self.workers.broadcast(variable.numpy()))
            history = self.workers.broadcast(np.array(history or np.zeros((epochs, len(COLUMNS))))).tolist()
        for layer in self.network.layers:
            if isinstance(layer, keras.layers.Dropout):
                layer.seed_generator.state.assign_add([self.workers.index, 0])
        return history

    def train_epoch(self, epoch: int, progress: Callable[[int], object] | None = None) -> tuple[float, float]:
        """Train for one epoch, and average the moving statistics of batch normalisation over the workers."""
        loss, accuracy = self.workers.sum_values(np.array(super().train_epoch(epoch, progress))).tolist()
        for variable in self.network.non_trainable_variables:
            if variable.dtype == self.precision:
                variable.assign(self.workers.sum_values(variable.numpy()) / self.workers.size)
        return loss, accuracy

    def sum_validation(self, images: np.ndarray, labels: np.ndarray) -> np.ndarray:
        """The sums over all workers, of which each validates its shard."""
        shard = self.workers.shard(len(labels))
        return self.workers.sum_values(super().sum_validation(images[shard], labels[shard]))

    def run(self) -> list[list[float]]:
        """Train as one machine does; check at the end that all workers have the same weights."""
        with self.workers.explain_lost_worker():
            history = super().run()
            weights = fingerprint(*(array for layer in self.layers for array in (layer.kernel, layer.bias)))
            self.workers.check_equal(weights, "does not have the same weights as worker 0 at the end")
        return history
