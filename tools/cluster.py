"""`make cluster`: train with several workers, processes on this machine, and compare with one worker.

It takes place in a clone in build/cluster. Each process does what a machine of a real cluster does: the first one, the
chief, is `dvc repro`, the others run the train stage's command. Only TF_CONFIG tells them apart.

Several workers split sums otherwise than one does, and training amplifies how these are rounded: in float32 until it is
seen in the figures, in float64 not so far. So float64 shows whether they compute the same.
"""

import argparse
import json
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from mnist.core.errors import UserError, run_stage
from tools.checkout import ROOT, clone_to, data_source, environment, run_dvc, set_params

if TYPE_CHECKING:
    import pandas as pd

CLONE = ROOT / "build/cluster"


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


def train(count: int, precision: str) -> "tuple[pd.DataFrame, float]":
    """Train in the clone with this many processes.

    Returns:
        history.csv, and the seconds of the train stage with all that DVC does around it; few where DVC
        knows the result of one worker.

    Raises:
        UserError: a process failed.
    """
    import pandas as pd  # here, for `make bench` measures memory, and imports from this module

    set_params(CLONE, {"train": {"precision": precision, "workers": count}})
    start = time.monotonic()
    with workers(count, CLONE) as chief:
        status = run_dvc("repro", "train", folder=CLONE, changes=chief)
        if status == 130:
            raise KeyboardInterrupt
        if status:
            raise UserError(f"training with {count} workers failed; DVC says above why")
    return pd.read_csv(CLONE / "reports/history.csv", index_col="epoch"), time.monotonic() - start


def main() -> None:
    """Run the tool."""
    parser = argparse.ArgumentParser(prog="make cluster", description=__doc__)
    parser.add_argument("workers", nargs="?", type=int, default=2, choices=range(2, 17), metavar="2..16")
    parser.add_argument("--precision", default="float64", choices=("float32", "float64"), help="(float64)")
    arguments = parser.parse_args()
    count, precision = arguments.workers, arguments.precision
    clone_to(CLONE)
    (CLONE / "params.yaml").write_bytes((ROOT / "params.yaml").read_bytes())
    for option in (("cache.dir", str(ROOT / ".dvc/cache")), ("core.analytics", "false")):
        run_dvc("config", "--local", "--quiet", *option, folder=CLONE)
    if run_dvc("repro", "preprocess", folder=CLONE, changes=data_source()):
        raise UserError("the data could not be prepared; DVC says above why")
    alone, _ = train(1, precision)
    together, seconds = train(count, precision)
    table = alone.merge(together, on="epoch", suffixes=(" of 1", f" of {count}"))
    columns = [f"{name} of {n}" for name in alone for n in (1, count)]
    print(f"\n{table[columns].to_string(float_format='%.6f')}\n")
    largest = ", ".join(f"{name} {difference:.6f}" for name, difference in (alone - together).abs().max().items())
    print(f"The largest differences, in {precision}: {largest}")
    print(f"{count} workers took {seconds:.0f} s. What they say is in build/cluster/worker-*.log")


if __name__ == "__main__":
    run_stage(main)
