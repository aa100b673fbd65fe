"""`make sweep`: run a grid of parameters, each setting as a DVC experiment, and rank them by validation accuracy."""

import argparse
import csv
import hashlib
import itertools
import json
import math
import re
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from mnist.core.errors import UserError, run_stage
from mnist.core.params import read_yaml
from mnist.core.paths import relative
from tools.checkout import ROOT
from tools.experiment import (
    Experiment,
    check_value,
    current_params,
    find,
    flatten,
    read_recipe,
    run,
    say_uncommitted,
    set_param,
)

SEED = "train.seed"
LONGEST = 100  # characters of an experiment's name
STYLE: Any = {"index": False, "na_rep": "failed", "float_format": "%.4f"}


@dataclass(frozen=True)
class Sweep:
    """What a sweep file asks for."""

    recipe: str | None
    base: dict[str, Any]  # the recipe's changes
    grid: dict[str, list[Any]]  # the values to try, by dotted name

    @property
    def varying(self) -> list[str]:
        """The parameters that differ between settings."""
        return [key for key, values in self.grid.items() if len(values) > 1]

    @property
    def on_test_images(self) -> bool:
        """Whether the networks are validated on the test images."""
        key = "preprocess.validation_size"
        return 0 in self.grid.get(key, [(current_params() | self.base)[key]])

    def settings(self) -> dict[str, dict[str, Any]]:
        """Every combination of the grid's values, by the name of its experiment."""
        last = [key.rpartition(".")[2] for key in self.grid]
        short = [name if last.count(name) == 1 else key for key, name in zip(self.grid, last, strict=True)]
        settings: dict[str, dict[str, Any]] = {}
        for values in itertools.product(*self.grid.values()):
            words = ["sweep", *([self.recipe] if self.recipe else [])]
            words += [f"{key}-{_in_name(value)}" for key, value in zip(short, values, strict=True)]
            name, setting = "-".join(words), dict(zip(self.grid, values, strict=True))
            if len(name) > LONGEST or name in settings:
                name = f"{name[:LONGEST]}-{hashlib.sha256(repr(setting).encode()).hexdigest()[:8]}"
            settings[name] = setting
        return settings


def _in_name(value: Any) -> str:
    """A value as it can stand in the name of an experiment, which is one of a git ref: `[128, 64]` is 128-64."""
    return re.sub(r"[^\w.+-]+", "-", json.dumps(value)).strip("-.") or "none"


def read_sweep(path: Path) -> Sweep:
    """Read a sweep file.

    Raises:
        UserError: it is not as it should be, or would choose by the test images.
    """
    content = read_yaml(path)
    where = relative(path)
    for key in content:
        if key not in ("recipe", "grid"):
            raise UserError(f"{where}: unknown key '{key}'; known are recipe and grid")
    given = content.get("grid")
    grid = flatten(given) if isinstance(given, dict) else {}
    if not grid:
        raise UserError(f"{where}: grid should list the values of a parameter: `train.learning_rate: [0.001, 0.003]`")
    for key, values in grid.items():
        if not isinstance(values, list) or not values:
            raise UserError(f"{where}: grid: {key} is {values!r}, but should be a list of the values to try")
        for value in values:
            check_value(path, key, value)
            if values.count(value) > 1:
                raise UserError(f"{where}: grid: {key} lists {value} twice")
    recipe = str(content["recipe"]) if "recipe" in content else None
    sweep = Sweep(recipe, read_recipe(recipe) if recipe else {}, grid)
    if sweep.on_test_images and set(sweep.varying) - {SEED}:
        raise UserError(
            f"{where}: preprocess.validation_size is 0, so settings would be compared on the test images; "
            "hold training images out: set it in the grid, as `preprocess.validation_size: [5000]`"
        )
    return sweep


def run_all(sweep: Sweep) -> dict[str, Experiment | None]:
    """Run the settings that are not finished yet, one after another.

    Returns:
        The experiment of each setting by its name; None where it failed.

    Raises:
        KeyboardInterrupt: Ctrl-C; the finished ones are kept.
    """
    settings = sweep.settings()
    results = {name: find(name, sweep.base | setting) for name, setting in settings.items()}
    waiting = [name for name, found in results.items() if not found]
    if len(waiting) < len(settings):
        print(f"sweep: {len(settings) - len(waiting)} of {len(settings)} settings are finished already", flush=True)
    start = time.monotonic()
    for done, name in enumerate(waiting):
        setting = ", ".join(set_param(key, value) for key, value in settings[name].items())
        seconds = (time.monotonic() - start) / done * (len(waiting) - done) if done else 0
        left = f"; about {math.ceil(seconds / 60)} min left" if done else ""
        print(f"\nsweep: {len(settings) - len(waiting) + done + 1} of {len(settings)}: {setting}{left}", flush=True)
        try:
            results[name] = run(name, sweep.base | settings[name])
        except UserError as error:
            print(f"sweep: {error}", file=sys.stderr, flush=True)
    return results


def tables(sweep: Sweep, results: dict[str, Experiment | None]) -> str:
    """The settings by validation accuracy, best first; where the seed varies, also mean and range over the seeds."""
    rows = []
    for name, setting in sweep.settings().items():
        experiment = results[name]
        last = list(csv.DictReader(experiment.read("reports/history.csv").splitlines()))[-1] if experiment else {}
        rows.append(
            {
                "val_accuracy": float(last.get("val_accuracy", "nan")),
                "val_loss": float(last.get("val_loss", "nan")),
                **{key: json.dumps(setting[key]) for key in sweep.varying},
                "seconds": f"{experiment.seconds:.0f}" if experiment and experiment.seconds else "",
                "experiment": name,
            }
        )
    table = pd.DataFrame(rows).sort_values(["val_accuracy", "val_loss"], ascending=[False, True])
    text = table.to_string(**STYLE)
    if SEED in sweep.varying:
        others = [key for key in sweep.varying if key != SEED]
        seeds = table.groupby(others or [""] * len(table))["val_accuracy"].agg(["mean", "min", "max", "count"])
        seeds = seeds.sort_values("mean", ascending=False).reset_index(drop=not others)
        text += f"\n\nval_accuracy over the seeds\n{seeds.to_string(**STYLE)}"
    return text


def main() -> None:
    """Run the tool."""
    parser = argparse.ArgumentParser(prog="make sweep", description=__doc__)
    parser.add_argument("file", nargs="?", default=ROOT / "sweep.yaml", type=Path, help="the grid (sweep.yaml)")
    sweep = read_sweep(parser.parse_args().file)
    say_uncommitted("sweep")
    try:
        results = run_all(sweep)
    except KeyboardInterrupt:
        print(
            "sweep: interrupted; finished settings are kept, and `make sweep` goes on with the others", file=sys.stderr
        )
        sys.exit(130)
    print(f"\n{tables(sweep, results)}\n")
    print(
        "validation_size is 0: these figures are of the test images, to report and not to choose by."
        if sweep.on_test_images
        else "These figures are of the validation images. The test images are for the setting chosen by them: "
        "dvc metrics diff HEAD EXPERIMENT"
    )
    if failed := sum(not experiment for experiment in results.values()):
        sys.exit(f"sweep: {failed} of {len(results)} settings failed; DVC says above why")


if __name__ == "__main__":
    run_stage(main)
