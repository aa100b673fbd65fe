"""`make cluster`: train with several workers, processes on this machine, and compare with one worker.

It takes place in a clone in build/cluster. Each process does what a machine of a real cluster does: the first one, the
chief, is `dvc repro`, the others run the train stage's command. Only TF_CONFIG tells them apart.
"""

import argparse
import csv
import json
import re
import socket
import subprocess
import sys
import time
from pathlib import Path

from stages.lib.errors import UserError, run_stage
from tools.checkout import ROOT, clone_to, environment, run_dvc
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


def train(workers: int) -> tuple[list[dict[str, str]], float]:
    """Train in the clone with this many processes.

    Returns:
        The rows of history.csv, and the seconds of the train stage with all that DVC does around it; few where DVC
        knows the result of one worker.

    Raises:
        UserError: a process failed.
    """
    params = CLONE / "params.yaml"
    text, found = re.subn(r"(?m)^(  workers: )\d+", rf"\g<1>{workers}", params.read_text(encoding="utf-8"))
    if found != 1:
        raise UserError("params.yaml has no line `  workers: 1` in its section train")
    params.write_text(text, encoding="utf-8")
    addresses = free_addresses(workers)
    start = time.monotonic()
    command = [sys.executable, "-m", "stages.train"]
    others = []
    try:
        for index in range(1, workers):
            with log_of(index).open("w") as log:
                given = environment(tf_config(addresses, index))
                others.append(subprocess.Popen(command, cwd=CLONE, env=given, stdout=log, stderr=log))
        status = run_dvc("repro", "train", folder=CLONE, changes=tf_config(addresses, 0) if workers > 1 else None)
        if status == 130:
            raise KeyboardInterrupt
        failed = [index for index, other in enumerate(others, 1) if other.wait(60)]
    finally:
        for other in others:
            other.kill()
    if status or failed:
        logs = "".join(f"\nworker {index}: {log_of(index).read_text().strip()}" for index in failed)
        raise UserError(f"training with {workers} workers failed{logs}")
    with (CLONE / "reports/history.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file)), time.monotonic() - start


def log_of(index: int) -> Path:
    """What a worker that is not the chief says."""
    return CLONE / f"worker-{index}.log"


def main() -> None:
    """Run the tool."""
    parser = argparse.ArgumentParser(prog="make cluster", description=__doc__)
    parser.add_argument("workers", nargs="?", type=int, default=2, choices=range(2, 17), metavar="2..16")
    workers = parser.parse_args().workers
    clone_to(CLONE)
    (CLONE / "params.yaml").write_bytes((ROOT / "params.yaml").read_bytes())
    for option in (("cache.dir", str(ROOT / ".dvc/cache")), ("core.analytics", "false")):
        run_dvc("config", "--local", "--quiet", *option, folder=CLONE)
    if run_dvc("repro", "preprocess", folder=CLONE, changes=data_source()):
        raise UserError("the data could not be prepared; DVC says above why")
    alone, _ = train(1)
    together, seconds = train(workers)
    print(f"\n{'epoch':>5}  " + "  ".join(f"{name + ' of 1':>17} {f'of {workers}':>9}" for name in FIGURES))
    for one, all_ in zip(alone, together, strict=True):
        print(f"{one['epoch']:>5}  " + "  ".join(f"{one[name]:>17} {all_[name]:>9}" for name in FIGURES))
    print(f"\n{workers} workers took {seconds:.0f} s. What they say is in build/cluster/worker-*.log")


if __name__ == "__main__":
    run_stage(main)
