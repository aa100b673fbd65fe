"""`make cluster`: train with several workers, processes on this machine, and compare with one worker.

It takes place in a clone in build/cluster. Each process does what a machine of a real cluster does: the first one, the
chief, is `dvc repro`, the others run the train stage's command. Only TF_CONFIG tells them apart.
"""

import argparse
import csv
import json
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from stages.lib.errors import UserError, run_stage
from tools.checkout import ROOT, clone_to, environment, run_dvc, set_params
from tools.verify import data_source

CLONE = ROOT / "build/cluster"
FIGURES = ("loss", "accuracy", "val_loss", "val_accuracy")


def free_addresses(count: int) -> list[str]:
    """Addresses on this machine that nobody uses."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    addresses = [f"127.0.0.1:{free.getsockname()[1]}" for free in sockets]
    for free in sockets:
        free.close()
    return addresses


def tf_config(addresses: list[str], index: int) -> dict[str, str]:
    """The environment variable that tells a process who it is, and where the others are."""
    config = {"cluster": {"worker": addresses}, "task": {"type": "worker", "index": index}}
    return {"TF_CONFIG": json.dumps(config)}


@contextmanager
def workers(count: int, folder: Path) -> Iterator[dict[str, str]]:
    """Start all workers but the chief in a folder, and wait for them in the end, or kill them after an error.

    Yields:
        What the chief has to have in its environment.

    Raises:
        UserError: one of them failed.
    """
    addresses = free_addresses(count)
    others = []
    try:
        for index in range(1, count):
            with log_of(index, folder).open("w") as log:
                given = environment(tf_config(addresses, index))
                command = [sys.executable, "-m", "stages.train"]
                others.append(subprocess.Popen(command, cwd=folder, env=given, stdout=log, stderr=log))
        yield tf_config(addresses, 0) if count > 1 else {}
        failed = [index for index, other in enumerate(others, 1) if other.wait(60)]
    finally:
        for other in others:
            other.kill()
            other.wait()
    if failed:
        logs = "".join(f"\nworker {index}: {log_of(index, folder).read_text().strip()}" for index in failed)
        raise UserError(f"training with {count} workers failed{logs}")


def log_of(index: int, folder: Path) -> Path:
    """What a worker that is not the chief says."""
    return folder / f"worker-{index}.log"


def train(count: int) -> tuple[list[dict[str, str]], float]:
    """Train in the clone with this many processes.

    Returns:
        The rows of history.csv, and the seconds of the train stage with all that DVC does around it; few where DVC
        knows the result of one worker.

    Raises:
        UserError: a process failed.
    """
    set_params(CLONE, {"train": {"workers": count}})
    start = time.monotonic()
    with workers(count, CLONE) as chief:
        status = run_dvc("repro", "train", folder=CLONE, changes=chief)
        if status == 130:
            raise KeyboardInterrupt
        if status:
            raise UserError(f"training with {count} workers failed; DVC says above why")
    with (CLONE / "reports/history.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file)), time.monotonic() - start


def main() -> None:
    """Run the tool."""
    parser = argparse.ArgumentParser(prog="make cluster", description=__doc__)
    parser.add_argument("workers", nargs="?", type=int, default=2, choices=range(2, 17), metavar="2..16")
    count = parser.parse_args().workers
    clone_to(CLONE)
    (CLONE / "params.yaml").write_bytes((ROOT / "params.yaml").read_bytes())
    for option in (("cache.dir", str(ROOT / ".dvc/cache")), ("core.analytics", "false")):
        run_dvc("config", "--local", "--quiet", *option, folder=CLONE)
    if run_dvc("repro", "preprocess", folder=CLONE, changes=data_source()):
        raise UserError("the data could not be prepared; DVC says above why")
    alone, _ = train(1)
    together, seconds = train(count)
    print(f"\n{'epoch':>5}  " + "  ".join(f"{name + ' of 1':>17} {f'of {count}':>9}" for name in FIGURES))
    for one, all_ in zip(alone, together, strict=True):
        print(f"{one['epoch']:>5}  " + "  ".join(f"{one[name]:>17} {all_[name]:>9}" for name in FIGURES))
    print(f"\n{count} workers took {seconds:.0f} s. What they say is in build/cluster/worker-*.log")


if __name__ == "__main__":
    run_stage(main)
