"""Joining the other machines of a cluster: who they are, and waiting until all are there."""

import json
import os
import signal
import socket
import sys
import time
from contextlib import suppress
from dataclasses import replace

from stages.lib.backend import tf
from stages.lib.cluster import Cluster
from stages.lib.errors import UserError

JOIN_SECONDS = 300  # how long to wait for the other workers
GREETING = b"stages.train worker "  # what one worker says to another, and then its number


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
    cluster = _described()
    if cluster.size != workers:
        found = f"TF_CONFIG names {cluster.size}" if cluster.size > 1 else "TF_CONFIG names no others"
        raise UserError(
            f"params.yaml: train.workers is {workers}, but the environment variable {found}; the last bits of the "
            "result depend on how many train together, so both must say the same"
        )
    if workers == 1:
        return Cluster()
    _meet(cluster)
    before = signal.signal(signal.SIGINT, signal.SIG_DFL)  # while TensorFlow waits, Python would not see Ctrl-C
    try:
        return replace(cluster, strategy=tf.distribute.MultiWorkerMirroredStrategy())
    except (tf.errors.OpError, RuntimeError) as error:
        reason = str(error).strip().splitlines()
        raise UserError(
            f"cannot join the cluster as {cluster.name(cluster.index)}: {reason[0] if reason else error!r}"
        ) from None
    finally:
        signal.signal(signal.SIGINT, before)


def _meet(cluster: Cluster) -> None:
    """Wait until each worker can reach each other one.

    TensorFlow waits, too, but for an hour, deaf to Ctrl-C, and without a word on who is not there.

    Raises:
        UserError: one did not come, or this worker's port cannot be opened.
    """
    places = [(host, int(port)) for host, _, port in (address.rpartition(":") for address in cluster.addresses)]
    index, everyone = cluster.index, set(range(cluster.size))
    reached, heard = {index}, {index}
    end = time.monotonic() + JOIN_SECONDS
    print(f"train: {cluster.name(index)} waits for the other {cluster.size - 1}", file=sys.stderr, flush=True)
    with socket.create_server(("", places[index][1])) as server:
        server.settimeout(0.1)
        while absent := everyone - (reached & heard):
            if time.monotonic() > end:
                raise UserError(
                    f"{', '.join(map(cluster.name, sorted(absent)))} did not come within {JOIN_SECONDS} s; "
                    "start `python -m stages.train` on all in that time, with the same TF_CONFIG but for the index of "
                    "the task"
                )
            for other in everyone - reached:
                with suppress(OSError), socket.create_connection(places[other], timeout=1) as connection:
                    connection.sendall(GREETING + index.to_bytes(4))
                    reached.add(other)
            with suppress(OSError):
                connection, _ = server.accept()
                with connection:
                    connection.settimeout(1)
                    said = connection.recv(len(GREETING) + 4, socket.MSG_WAITALL)
                    if said.startswith(GREETING):  # others, such as port scanners, are no workers
                        heard.add(int.from_bytes(said.removeprefix(GREETING)))


def _described() -> Cluster:
    """The cluster that TF_CONFIG describes, the chief first, and which of its workers this process is.

    Raises:
        UserError: it does not describe one.
    """
    text = os.environ.get("TF_CONFIG", "").strip()
    if text in ("", "{}"):
        return Cluster()
    try:
        config = json.loads(text)
        found = {
            (job, str(number)): str(address)
            for job in ("chief", "worker")
            for number, address in enumerate(config["cluster"].get(job, []))
        }
        tasks = tuple(found)
        index = tasks.index((config["task"]["type"], str(int(config["task"]["index"]))))
        for address in found.values():
            int(address.rpartition(":")[2])
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(
            f"the environment variable TF_CONFIG is not that of a chief or a worker ({error!r}); it should be like "
            '{"cluster": {"worker": ["host:port", "host:port"]}, "task": {"type": "worker", "index": 0}}'
        ) from None
    return Cluster(tuple(found.values()), index, tasks)
