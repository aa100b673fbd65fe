"""`make cluster`: train with several workers, as processes on this machine, and compare with one worker.

The chief is `dvc repro`, the other workers run the train stage's command, as on the machines of a real cluster. They
add in a different order than one worker, and training amplifies the rounding: in float32 until it shows.
"""

import argparse
import json
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from mnist.core.errors import UserError, run_stage
from mnist.core.paths import ROOT
from tools.checkout import clone_to, data_source, environment, run_dvc, set_params

CLONE = ROOT / "build/cluster"


def free_addresses(count: int) -> list[str]:
    """Addresses on this machine that no process listens on."""
    with ExitStack() as stack:
        servers = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(count)]
        return [f"127.0.0.1:{server.getsockname()[1]}" for server in servers]


def tf_config(addresses: list[str], index: int) -> dict[str, str]:
    """The environment variable with the addresses of all workers and the index of one."""
    task = {"type": "worker", "index": index}
    return {"TF_CONFIG": json.dumps({"cluster": {"worker": addresses}, "task": task})}


@contextmanager
def workers(count: int, folder: Path) -> Iterator[dict[str, str]]:
    """Start all workers but the chief in a folder, and yield the chief's environment variable, none for one worker.

    On exit, wait for the workers, or kill them after an error; UserError if one failed.
    """
    addresses = free_addresses(count)
    logs = [folder / f"worker-{index}.log" for index in range(1, count)]
    with ExitStack() as stack:
        started: list[subprocess.Popen[bytes]] = []
        for index, path in enumerate(logs, 1):
            log, env = stack.enter_context(path.open("w")), environment(tf_config(addresses, index))
            command = [sys.executable, "-m", "stages.train"]
            started.append(stack.enter_context(subprocess.Popen(command, cwd=folder, env=env, stdout=log, stderr=log)))
            stack.callback(started[-1].kill)
        yield tf_config(addresses, 0) if count > 1 else {}
        failed = [path for path, worker in zip(logs, started, strict=True) if worker.wait(60)]
    if failed:
        messages = "".join(f"\n{path.stem}: {path.read_text().strip()}" for path in failed)
        raise UserError(f"training with {count} workers failed{messages}")


def main() -> None:
    """Run the tool."""
    import pandas as pd  # here, since `make bench` imports this module and measures memory

    from tools.cache import open_repo

    parser = argparse.ArgumentParser(prog="make cluster", description=__doc__)
    parser.add_argument("workers", nargs="?", type=int, default=2, choices=range(2, 17), metavar="2..16")
    parser.add_argument("--precision", default="float64", choices=("float32", "float64"), help="(float64)")
    arguments = parser.parse_args()
    clone = clone_to(CLONE)
    shutil.copyfile(ROOT / "params.yaml", clone / "params.yaml")
    with open_repo() as repo:
        run_dvc("config", "--local", "--quiet", "cache.dir", repo.cache.local_cache_dir, folder=clone)
    if run_dvc("repro", "preprocess", folder=clone, changes=data_source()):
        raise UserError("the data could not be prepared; DVC prints above why")
    histories = []
    for count in (1, arguments.workers):
        set_params(clone, {"train": {"precision": arguments.precision, "workers": count}})
        start = time.monotonic()
        with workers(count, clone) as chief:
            if run_dvc("repro", "train", folder=clone, changes=chief):
                raise UserError(f"training with {count} workers failed; DVC prints above why")
        seconds = time.monotonic() - start
        histories.append(pd.read_csv(clone / "reports/history.csv", index_col="epoch"))
    one, several = histories
    table = pd.concat([each.add_suffix(f" of {n}") for each, n in zip(histories, (1, count), strict=True)], axis=1)
    columns = [f"{name} of {n}" for name in one for n in (1, count)]
    print(f"\n{table[columns].to_string(float_format='%.6f')}\n")
    largest = ", ".join(f"{name} {difference:.6f}" for name, difference in (one - several).abs().max().items())
    print(f"The largest differences, in {arguments.precision}: {largest}")
    print(f"{count} workers took {seconds:.0f} s; their output is in {os.path.relpath(clone)}/worker-*.log")


if __name__ == "__main__":
    run_stage(main)
