"""Training on several machines at once: which images are whose, and sums over all workers.

Each machine runs the same training on its share of every batch, and tf.distribute.MultiWorkerMirroredStrategy adds up
the gradients. Keras's `fit` does not work under it, so training.py has the loop, and takes from here the sums alone.
"""

import re
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from stages.lib.backend import tf
from stages.lib.errors import UserError

# TensorFlow finds out within 10 s who is lost. A worker that ended at once would look lost as well, to the others.
LINGER_SECONDS = 15


@dataclass(frozen=True)
class Cluster:
    """The workers that train together, as one of them sees it; a machine by itself is a cluster of one."""

    addresses: tuple[str, ...] = ("localhost",)
    index: int = 0
    tasks: tuple[tuple[str, str], ...] = ()  # TensorFlow's name of each: its job, and its number there
    strategy: tf.distribute.Strategy | None = None

    @property
    def size(self) -> int:
        """The number of workers."""
        return len(self.addresses)

    @property
    def chief(self) -> bool:
        """Whether this worker is the one that writes results."""
        return self.index == 0

    def name(self, index: int) -> str:
        """A worker in words, by its number."""
        return f"worker {index} ({self.addresses[index]})"

    def share(self, count: int) -> slice:
        """Which of `count` rows are this worker's: consecutive ones, as many as the others have or one more."""
        return slice(count * self.index // self.size, count * (self.index + 1) // self.size)

    def sum(self, tensors: Sequence[tf.Tensor]) -> list[tf.Tensor]:
        """Add tensors of one type up over the workers, each by itself; for use in a function that is not XLA's."""
        if not self.strategy:
            return list(tensors)
        # In one piece: it is the round trips that cost time, not the bytes.
        total = self._sum_flat(tf.concat([tf.reshape(tensor, [-1]) for tensor in tensors], axis=0))
        parts = tf.split(total, [tensor.shape.num_elements() for tensor in tensors])
        return [tf.reshape(part, tensor.shape) for part, tensor in zip(parts, tensors, strict=True)]

    def sum_values(self, values: np.ndarray) -> np.ndarray:
        """Add arrays up over the workers: float64, so that integers up to 2**53 and all of float32 stay exact."""
        values = np.asarray(values, np.float64)
        return self._sum_numbers(tf.constant(values.ravel())).numpy().reshape(values.shape) if self.strategy else values

    def _sum_flat(self, flat: tf.Tensor) -> tf.Tensor:
        assert self.strategy  # noqa: S101, for mypy

        def summed() -> tf.Tensor:
            return tf.distribute.get_replica_context().all_reduce(tf.distribute.ReduceOp.SUM, tf.identity(flat))

        return self.strategy.run(summed)

    @cached_property
    def _sum_numbers(self) -> Callable[[tf.Tensor], tf.Tensor]:
        """The same compiled, once for all lengths."""
        return tf.function(self._sum_flat, input_signature=[tf.TensorSpec([None], tf.float64)])

    def gather(self, values: np.ndarray) -> np.ndarray:
        """The arrays of all workers, float64 (workers, *shape)."""
        rows = np.zeros((self.size, *values.shape))
        rows[self.index] = values
        return self.sum_values(rows)

    def from_chief(self, values: np.ndarray) -> np.ndarray:
        """The chief's array in the place of this worker's, float64."""
        return self.sum_values(values if self.chief else np.zeros_like(values))

    def agree(self, digest: bytes, otherwise: str) -> None:
        """Check that all workers have the same digest, of a multiple of four bytes.

        Raises:
            UserError: one has another; the message is its name, and what `otherwise` says.
        """
        found = self.gather(np.frombuffer(digest, ">u4"))
        for index in np.flatnonzero((found != found[0]).any(axis=1)).tolist():
            raise UserError(f"{self.name(index)} {otherwise}")

    @contextmanager
    def losses_named(self) -> Iterator[None]:
        """Turn TensorFlow's error for a worker that is lost into one that says which it was.

        Raises:
            UserError: another worker ended, hangs, or cannot be reached.
        """
        try:
            yield
        except tf.errors.OpError as error:
            if not self.strategy:
                raise
            if self.size > 2:
                time.sleep(LINGER_SECONDS)
            named = re.findall(r"/job:(\w+)/(?:replica:\d+/)?task:(\d+)", error.message)
            others = [self.tasks.index(task) for task in named if task != self.tasks[self.index]]
            if "CoordinationService/Heartbeat" in error.message:  # the chief has that service
                others = [0]
            who = self.name(others[-1]) if others else "another worker"
            raise UserError(
                f"{who} was lost; nothing half-written was kept. Start the same command on all workers again: "
                "training goes on after the last epoch that all had finished"
            ) from None
