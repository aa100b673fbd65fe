"""Measuring: Python in processes of its own, in clones of the last commit, in turn."""

import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from importlib.util import find_spec
from itertools import pairwise
from pathlib import Path
from typing import Any

from mnist.core.paths import ROOT
from tools.checkout import clone_to, data_source, environment, set_params
from tools.cluster import workers

VARIABLES = {"CUDA_VISIBLE_DEVICES": "-1", "KERAS_BACKEND": "tensorflow", "TF_CPP_MIN_LOG_LEVEL": "2"}
VARIABLES |= {"MPLBACKEND": "agg", "DATASET_MIRROR": "", "PYTHONUNBUFFERED": "1"}  # lines arrive when they are printed


@dataclass(frozen=True)
class Measurement:
    """A command to measure; measurements.yaml explains the fields."""

    command: str
    params: dict[str, dict[str, Any]] = field(default_factory=dict)
    images: int = 60_000
    prepare: Sequence[str] = ("-m stages.download", "-m stages.preprocess")
    vary: Sequence[str] = ()
    stages: int | None = None
    requires: str = "numpy"
    cores: int | None = None


@dataclass(frozen=True)
class CompletedRun:
    """A process that succeeded."""

    seconds: float
    peak_megabytes: float  # resident memory
    epochs: list[float]  # seconds of each; without the first one unless it printed `start` before
    accuracies: list[float]  # of validation, after each epoch
    stages: int  # that `dvc repro` ran


def run(
    arguments: Sequence[str], folder: Path, variables: Mapping[str, str] | None = None, cores: int | None = None
) -> CompletedRun:
    """Run Python in a process of its own, on `cores` cores or all; if it fails, print its output, and exit."""
    limit = partial(os.sched_setaffinity, 0, sorted(os.sched_getaffinity(0))[:cores]) if cores else None
    command, env = [sys.executable, *arguments], environment({**VARIABLES, **(variables or {})})
    text, times, start = "", [], time.perf_counter()
    pipes: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "encoding": "utf-8"}
    with subprocess.Popen(command, cwd=folder, env=env, preexec_fn=limit, **pipes) as process:
        for line in process.stdout or ():
            text += line
            if line == "start\n" or "val_accuracy" in line:
                times.append(time.perf_counter())
        # wait4, unlike `resource`, gives the memory of this child only; but no less than its parent had at the fork.
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    seconds = time.perf_counter() - start
    if process.returncode:
        sys.exit(f"{text}\nbench: failed: python {shlex.join(arguments)}")
    return CompletedRun(
        seconds,
        peak_megabytes=usage.ru_maxrss / (1e6 if sys.platform == "darwin" else 1e6 / 1024),
        epochs=[end - start for start, end in pairwise(times)],
        accuracies=[float(value) for value in re.findall(r"val_accuracy:? ([\d.]+)", text)],
        stages=text.count("Running stage"),
    )


@dataclass(frozen=True)
class Bench:
    """Takes measurements in clones within a folder, with `params` of the pipeline if a measurement has no others."""

    folder: Path
    params: Mapping[str, Mapping[str, Any]]
    quick: bool  # with a thirtieth of the images
    clones: dict[str, Path] = field(default_factory=dict)

    def interleave(self, measurements: Mapping[str, Measurement], runs: int) -> dict[str, list[CompletedRun]]:
        """Take measurements in turn, A B A B ..., except for those whose package is not installed."""
        installed = [name for name, measurement in measurements.items() if find_spec(measurement.requires)]
        results: dict[str, list[CompletedRun]] = {name: [] for name in installed}
        for number in range(runs):
            for name, completed in results.items():
                print(f"  run {number + 1} of {runs}: {name}", file=sys.stderr)
                completed.append(self.measure(measurements[name], number))
        return results

    def measure(self, measurement: Measurement, number: int) -> CompletedRun:
        """Take a measurement for the `number`-th time, from 0."""
        key = repr((measurement.params, measurement.images, measurement.prepare))
        if key not in self.clones or not measurement.prepare:
            self.clones[key] = self.clone(measurement)
        clone = self.clones[key]
        if measurement.vary:
            section, name = measurement.vary
            set_params(clone, {section: {name: 11 + number}})
        with workers(measurement.params.get("train", {}).get("workers", 1), clone) as variables:
            completed = run(shlex.split(measurement.command), clone, variables, measurement.cores)
        if measurement.stages not in (None, completed.stages):
            sys.exit(f"bench: `dvc repro` ran {completed.stages} stages, expected {measurement.stages}")
        return completed

    def clone(self, measurement: Measurement) -> Path:
        """Clone the last commit without results, set its parameters, and run the commands that prepare it."""
        images = measurement.images // 30 if self.quick else measurement.images
        raw, clone = self.folder / f"raw-{images}", Path(tempfile.mkdtemp(dir=self.folder))
        if not raw.exists():
            source = data_source().get("DATASET_MIRROR") or sys.exit("bench: data/raw is missing; run `make` first")
            run(["-m", "tools.bench.programs", "tile_mnist", source, str(raw), str(images)], ROOT)
        clone = clone_to(clone)
        (clone / "dvc.lock").unlink(missing_ok=True)
        shutil.rmtree(clone / "reports", ignore_errors=True)
        shutil.copy(raw / "tiled.yaml", clone / "datasets")
        # DVC runs a recipe only with files that git knows.
        subprocess.run(["git", "add", "datasets/tiled.yaml"], cwd=clone, check=True)
        set_params(clone, self.params)
        set_params(clone, measurement.params)
        for command in measurement.prepare:
            run(shlex.split(command), clone)
        return clone
