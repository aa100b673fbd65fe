"""The workers that train together: joining the others, sums over all workers, and the error of a lost one."""

import os
import re
import signal
import socket
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from mnist.core.errors import UserError
from mnist.model.backend import tf

JOIN_SECONDS = 300
GREETING = b"stages.train worker "  # followed by the sender's index
# TensorFlow detects a lost worker within 10 s. A worker that ended at once would look lost to the others.
LINGER_SECONDS = 15


@dataclass(frozen=True)
class Workers:
    """All workers of a training, as one of them sees them; the first one, the chief, writes the results."""

    addresses: tuple[str, ...]
    index: int
    tasks: tuple[tuple[str, int], ...] = ()  # TensorFlow's names: job and index in it
    strategy: Any = None  # tf.distribute.Strategy

    @property
    def size(self) -> int:
        """The number of workers."""
        return len(self.addresses)

    def name(self, index: int) -> str:
        """A worker's index and address as text."""
        return f"worker {index} ({self.addresses[index]})"

    def shard(self, count: int) -> slice:
        """This worker's rows of `count`: consecutive ones, equally many for each worker, or one more."""
        return slice(count * self.index // self.size, count * (self.index + 1) // self.size)

    def all_reduce(self, tensors: Sequence[tf.Tensor]) -> list[tf.Tensor]:
        """Sum each of several tensors of one dtype over the workers; for use in a function not compiled by XLA."""
        # Concatenated, because the time goes into round trips, not into bytes.
        flat = tf.concat([tf.reshape(tensor, [-1]) for tensor in tensors], axis=0)
        total = self.strategy.run(_sum_over_workers, args=[flat])
        parts = tf.split(total, [tensor.shape.num_elements() for tensor in tensors])
        return [tf.reshape(part, tensor.shape) for part, tensor in zip(parts, tensors, strict=True)]

    def sum_values(self, values: np.ndarray) -> np.ndarray:
        """Sum an array over the workers: float64, exact for integers up to 2**53 and for float32."""
        [total] = tf.function(self.all_reduce)([tf.constant(values, tf.float64)])
        return total.numpy()

    def gather(self, values: np.ndarray) -> np.ndarray:
        """The arrays of all workers, float64 (workers, *shape)."""
        rows = np.zeros((self.size, *values.shape))
        rows[self.index] = values
        return self.sum_values(rows)

    def broadcast(self, values: np.ndarray) -> np.ndarray:
        """The chief's array on every worker, float64."""
        return self.sum_values(values if self.index == 0 else np.zeros_like(values))

    def check_equal(self, digest: bytes, problem: str) -> None:
        """Check that all workers have the same digest, of a multiple of four bytes; UserError names another one."""
        digests = self.gather(np.frombuffer(digest, ">u4"))
        for index in np.flatnonzero((digests != digests[0]).any(axis=1)).tolist():
            raise UserError(f"{self.name(index)} {problem}")

    @contextmanager
    def explain_lost_worker(self) -> Iterator[None]:
        """Convert TensorFlow's error for a worker that ended, hangs or cannot be reached into a UserError."""
        try:
            yield
        except tf.errors.OpError as error:
            if self.size > 2:
                time.sleep(LINGER_SECONDS)
            named = re.findall(r"/job:(\w+)/(?:replica:\d+/)?task:(\d+)", error.message)
            others = [index for job, n in named if (index := self.tasks.index((job, int(n)))) != self.index]
            if "CoordinationService/Heartbeat" in error.message:  # the chief runs that service
                others = [0]
            name = self.name(others[-1]) if others else "another worker"
            remedy = "Start the command on all workers again: training resumes after the last epoch that all finished"
            raise UserError(f"{name} was lost; no half-written file was kept. {remedy}") from None


def _sum_over_workers(tensor: tf.Tensor) -> tf.Tensor:
    return tf.distribute.get_replica_context().all_reduce(tf.distribute.ReduceOp.SUM, tf.identity(tensor))


def join_workers(count: int) -> Workers | None:
    """Join the workers of TF_CONFIG, before the first computation; None for one machine; UserError if not `count`."""
    workers = _parse_tf_config()
    found = workers.size if workers else 1
    if found != count:
        named = f"the environment variable TF_CONFIG names {found} (1 if it is not set)"
        raise UserError(f"params.yaml: train.workers is {count}, but {named}; set both to the same number")
    if not workers:
        return None
    _wait_for_workers(workers)
    before = signal.signal(signal.SIGINT, signal.SIG_DFL)  # while TensorFlow waits, Python would not see Ctrl-C
    try:
        return replace(workers, strategy=tf.distribute.MultiWorkerMirroredStrategy())
    except (tf.errors.OpError, RuntimeError) as error:
        reason = (str(error).strip() or repr(error)).splitlines()[0]
        raise UserError(f"cannot join the cluster as {workers.name(workers.index)}: {reason}") from None
    finally:
        signal.signal(signal.SIGINT, before)


def _parse_tf_config() -> Workers | None:
    """The workers that TF_CONFIG describes, the chief first; None if it describes at most one machine."""
    if not os.environ.get("TF_CONFIG", "").strip():
        return None
    try:
        resolver = tf.distribute.cluster_resolver.TFConfigClusterResolver()
        jobs = resolver.cluster_spec().as_dict()
        if sum(map(len, jobs.values())) <= 1:
            return None
        named = {(job, n): address for job in ("chief", "worker") for n, address in enumerate(jobs.get(job, []))}
        index = list(named).index((resolver.task_type, resolver.task_id))
        for address in named.values():
            int(address.rpartition(":")[2])
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        problem = f"the environment variable TF_CONFIG is not that of a chief or a worker ({error!r})"
        example = '{"cluster": {"worker": ["host:port", "host:port"]}, "task": {"type": "worker", "index": 0}}'
        raise UserError(f"{problem}; it should be like {example}") from None
    return Workers(tuple(named.values()), index, tuple(named))


def _wait_for_workers(workers: Workers) -> None:
    """Wait for all: TensorFlow does so for an hour, without reacting to Ctrl-C, and without naming the missing one."""
    places = [(host, int(port)) for host, _, port in (address.rpartition(":") for address in workers.addresses)]
    index, everyone = workers.index, set(range(workers.size))
    reached, heard = {index}, {index}
    end = time.monotonic() + JOIN_SECONDS
    print(f"train: {workers.name(index)} waits for the other {workers.size - 1}", file=sys.stderr, flush=True)
    with socket.create_server(("", places[index][1])) as server:
        server.settimeout(0.1)
        while absent := everyone - (reached & heard):
            if time.monotonic() > end:
                raise UserError(
                    f"{', '.join(map(workers.name, sorted(absent)))} did not start within {JOIN_SECONDS} s; start "
                    "`python -m stages.train` on all in that time, with the same TF_CONFIG except for the task's index"
                )
            for other in everyone - reached:
                with suppress(OSError), socket.create_connection(places[other], timeout=1) as connection:
                    connection.sendall(GREETING + index.to_bytes(4))
                    reached.add(other)
            with suppress(OSError), server.accept()[0] as connection:
                connection.settimeout(1)
                message = connection.recv(len(GREETING) + 4, socket.MSG_WAITALL)
                if message.startswith(GREETING):  # not a port scanner or another program
                    heard.add(int.from_bytes(message.removeprefix(GREETING)))
