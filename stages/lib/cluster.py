"""Training on several machines at once: who takes part, which images are whose, and sums over all workers.

Each machine runs the same training on its share of every batch, and tf.distribute.MultiWorkerMirroredStrategy adds up
the gradients. Keras's `fit` does not work under it, so training.py has the loop, and takes from here the sums alone.
"""

import json
import os
import re
import signal
import socket
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from stages.lib.backend import tf
from stages.lib.errors import UserError

JOIN_SECONDS = 300  # how long to wait for the other workers
# TensorFlow finds out within 10 s who is lost. A worker that ended at once would look lost as well, to the others.
LINGER_SECONDS = 15


@dataclass(frozen=True)
class Cluster:
    """The workers that train together, as one of them sees it; a machine by itself is a cluster of one."""

    addresses: tuple[str, ...] = ("localhost",)
    index: int = 0
    strategy: tf.distribute.Strategy | None = None

    @property
    def size(self) -> int:
        """The number of workers."""
        return len(self.addresses)

    @property
    def chief(self) -> bool:
        """Whether this worker is the one that writes results."""
        return self.index == 0

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
        for index in np.flatnonzero((found != found[0]).any(axis=1)):
            raise UserError(f"worker {index} ({self.addresses[index]}) {otherwise}")

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
            others = [name for name in map(self._of_job, named) if name != self.index]
            if "CoordinationService/Heartbeat" in error.message:  # the chief has that service
                others = [0]
            who = f"worker {others[-1]} ({self.addresses[others[-1]]})" if others else "another worker"
            raise UserError(
                f"{who} was lost; nothing half-written was kept. Start the same command on all workers again: "
                "training goes on after the last epoch that all had finished"
            ) from None

    def _of_job(self, name: tuple[str, str]) -> int:
        """A worker's number from TensorFlow's name of it: the chief, where there is one, counts before the workers."""
        job, task = name
        return int(task) + (job == "worker" and "chief" in json.loads(os.environ["TF_CONFIG"])["cluster"])


def join(workers: int) -> Cluster:
    """Join the cluster that the environment variable TF_CONFIG describes, and wait until all workers have.

    TF_CONFIG is what Ray's TensorflowTrainer, Kubeflow's TFJob and cloud services set: {"cluster": {"worker":
    ["host:port", ...]}, "task": {"type": "worker", "index": 0}}. A task of type "chief" counts as the first worker.
    Call it before anything is computed.

    Args:
        workers: how many there should be, since the result depends on it.

    Raises:
        UserError: TF_CONFIG is not of so many workers, or its port cannot be opened.
    """
    addresses, index = _read_tf_config()
    if len(addresses) != workers:
        found = f"TF_CONFIG names {len(addresses)}" if len(addresses) > 1 else "TF_CONFIG names no others"
        raise UserError(
            f"params.yaml: train.workers is {workers}, but the environment variable {found}; the last bits of the "
            "result depend on how many train together, so both must say the same"
        )
    if workers == 1:
        return Cluster()
    _meet(addresses, index)
    before = signal.signal(signal.SIGINT, signal.SIG_DFL)  # while TensorFlow waits, Python would not see Ctrl-C
    try:
        strategy = tf.distribute.MultiWorkerMirroredStrategy()
    except (tf.errors.OpError, RuntimeError) as error:
        reason = str(error).strip().splitlines()
        raise UserError(f"cannot join the cluster as {addresses[index]}: {reason[0] if reason else error!r}") from None
    finally:
        signal.signal(signal.SIGINT, before)
    return Cluster(addresses, index, strategy)


def _meet(addresses: Sequence[str], index: int) -> None:
    """Wait until each worker can reach each other one.

    TensorFlow waits, too, but for an hour, deaf to Ctrl-C, and without a word on who is not there.

    Raises:
        UserError: one did not come, or this worker's port cannot be opened.
    """
    places = [(host, int(port)) for host, _, port in (address.rpartition(":") for address in addresses)]
    reached, heard = {index}, {index}
    end = time.monotonic() + JOIN_SECONDS
    print(
        f"train: worker {index} ({addresses[index]}) waits for the other {len(places) - 1}", file=sys.stderr, flush=True
    )
    with socket.create_server(("", places[index][1])) as server:
        server.settimeout(0.1)
        while len(reached) + len(heard) < 2 * len(places):
            if time.monotonic() > end:
                absent = ", ".join(
                    f"worker {n} ({addresses[n]})" for n in range(len(places)) if n not in reached or n not in heard
                )
                raise UserError(
                    f"{absent} did not come within {JOIN_SECONDS} s; start `python -m stages.train` on all in that "
                    "time, with the same TF_CONFIG but for the index of the task"
                )
            for other in set(range(len(places))) - reached:
                with suppress(OSError), socket.create_connection(places[other], timeout=1) as connection:
                    connection.sendall(index.to_bytes(4))
                    reached.add(other)
            with suppress(OSError):
                connection, _ = server.accept()
                with connection:
                    connection.settimeout(1)
                    heard.add(int.from_bytes(connection.recv(4, socket.MSG_WAITALL)))


def _read_tf_config() -> tuple[tuple[str, ...], int]:
    """The addresses of all workers, the chief's first, and which of them this process is."""
    text = os.environ.get("TF_CONFIG", "").strip()
    if text in ("", "{}"):
        return ("localhost",), 0
    try:
        config = json.loads(text)
        jobs, task = config["cluster"], config["task"]
        first, others = ([str(address) for address in jobs.get(job, [])] for job in ("chief", "worker"))
        index = {"chief": 0, "worker": len(first)}[task["type"]] + int(task["index"])
        addresses = (*first, *others)
        if not 0 <= index < len(addresses):
            raise ValueError(f"no address for task {task}")
        for address in addresses:
            int(address.rpartition(":")[2])
    except (ValueError, KeyError, TypeError, AttributeError, IndexError) as error:
        raise UserError(
            f"the environment variable TF_CONFIG is not that of a chief or a worker ({error!r}); it should be like "
            '{"cluster": {"worker": ["host:port", "host:port"]}, "task": {"type": "worker", "index": 0}}'
        ) from None
    return addresses, index
