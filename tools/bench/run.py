"""How `tools.bench` runs things: processes of their own, clones, in turn.

The measuring process imports little: the peak memory that the system tells of a process is never less than that of the
process that started it.
"""

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from statistics import median
from typing import Any, TypeVar

from tools.checkout import ROOT, clone_to, environment, set_params

T = TypeVar("T")

# What the tutorial does, in the words of params.yaml: MNIST, validated on the test images.
TUTORIAL: dict[str, dict[str, Any]] = {
    "download": {"dataset": "mnist"},
    "preprocess": {"validation_size": 0},
    "train": {
        "hidden_units": [128, 64],
        "activation": "relu",
        "optimizer": "adam",
        "learning_rate": 0.001,
        "batch_size": 32,
    },
}

# For every process, so that both sides compute on the processor, and Keras on TensorFlow, on any machine.
EVERYWHERE = {"CUDA_VISIBLE_DEVICES": "-1", "KERAS_BACKEND": "tensorflow", "TF_CPP_MIN_LOG_LEVEL": "2"}


@dataclass(frozen=True)
class Plan:
    """How much to measure."""

    runs: int = 3
    seeds: int = 5
    epochs: int = 10
    images: int = 60_000
    sizes: tuple[int, ...] = (60_000, 240_000, 1_000_000)
    free_gigabytes: float = 6.0
    quick: bool = False

    @property
    def report(self) -> Path:
        """Where the report goes: out of the way if it only tries the tool out."""
        return ROOT / ("build/bench" if self.quick else "docs") / "benchmark.md"


QUICK = Plan(runs=2, seeds=3, epochs=2, images=2_000, sizes=(4_000, 8_000, 12_000), free_gigabytes=1.0, quick=True)


@dataclass(frozen=True)
class Finished:
    """A process that ended well."""

    seconds: float
    peak: int  # bytes of memory, resident at once
    lines: list[tuple[float, str]]  # what it printed, and when


@dataclass(frozen=True)
class Bench:
    """What every section is given: the plan, and a temporary folder."""

    plan: Plan
    folder: Path

    @cached_property
    def base(self) -> Path:
        """A clone with MNIST downloaded and preprocessed: 60,000 images to train on, the test images to validate on."""
        folder = self.folder / "base"
        clone(folder, TUTORIAL)
        for stage in ("download", "preprocess"):
            run(["-m", f"stages.{stage}"], folder, {"DATASET_MIRROR": source()})
        return folder

    def worker(self, kind: str, changes: Mapping[str, str] | None = None, **arguments: Any) -> dict[str, Any]:
        """The result of a function of tools.bench.worker, called in a process of its own."""
        lines = run(["-m", "tools.bench.worker", kind, json.dumps(arguments)], ROOT, changes).lines
        return json.loads(next(line for _, line in reversed(lines) if line.startswith("{")))

    def train(self, kind: str, network: Mapping[str, Any], run: int = 0, **arguments: Any) -> dict[str, Any]:
        """Train in a process of its own, by `fit` or by the pipeline's `loop`; the number of the run gives the seed."""
        given = {"epochs": self.plan.epochs, "images": self.plan.images, "validate": True, "seed": run + 1}
        return self.worker(kind, **{"checkout": str(self.base), **given, **network, **arguments})

    def repro(self, folder: Path, stages: int) -> float:
        """The seconds of `dvc repro` in a folder, which must run so many stages."""
        finished = run(["-m", "dvc", "repro"], folder, {"DATASET_MIRROR": str(self.base / "data/raw")})
        ran = sum(line.startswith("Running stage") for _, line in finished.lines)
        if ran != stages:
            sys.exit(f"bench: `dvc repro` ran {ran} stages, expected {stages}")
        return finished.seconds


def run(arguments: list[str], folder: Path, changes: Mapping[str, str] | None = None) -> Finished:
    """Run Python in a process of its own, to its end; if it fails, show what it printed, and end."""
    start = time.perf_counter()
    lines = []
    with subprocess.Popen(
        [sys.executable, *arguments],
        cwd=folder,
        env=environment({**EVERYWHERE, **(changes or {})}),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
        errors="replace",
    ) as process:
        assert process.stdout is not None  # noqa: S101, for mypy: it is a pipe
        for line in process.stdout:
            lines.append((time.perf_counter() - start, line))  # noqa: PERF401, each with its own time
        # wait4, unlike `resource`, tells the memory of this process alone.
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    seconds = time.perf_counter() - start
    if process.returncode:
        sys.exit("".join(line for _, line in lines) + f"\nbench: failed: python {' '.join(arguments)}")
    return Finished(seconds, usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024), lines)


def source() -> str:
    """Where to take MNIST from: DATASET_MIRROR, or what `make` has brought."""
    given = os.environ.get("DATASET_MIRROR")
    if given:
        return str(Path(given).resolve()) if Path(given).is_dir() else given  # it is used from other folders
    if not (ROOT / "data/raw").is_dir():
        sys.exit("bench: data/raw is missing; run `make` first, or set DATASET_MIRROR")
    return str(ROOT / "data/raw")


def clone(folder: Path, *changes: Mapping[str, Mapping[str, Any]]) -> None:
    """Clone the checkout's last commit, without its results, and change its params.yaml."""
    clone_to(folder)
    (folder / "dvc.lock").unlink(missing_ok=True)
    shutil.rmtree(folder / "reports", ignore_errors=True)
    for change in changes:
        set_params(folder, change)


def interleave(runs: Iterable[int], measures: Mapping[str, Callable[[int], T]]) -> dict[str, list[T]]:
    """Take measures in turn: A B A B ..., each given the number of the run."""
    results: dict[str, list[T]] = {name: [] for name in measures}
    for number in runs:
        for name, measure in measures.items():
            print(f"  run {number + 1}: {name}", file=sys.stderr, flush=True)
            results[name].append(measure(number))
    return results


def later_epochs(trainings: Mapping[str, list[dict[str, Any]]]) -> dict[str, list[float]]:
    """The median seconds of an epoch, of each training, without the first, in which it is compiled."""
    return {name: [median(each["epochs"][1:]) for each in results] for name, results in trainings.items()}
