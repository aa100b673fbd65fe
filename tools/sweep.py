"""`make sweep`: run a grid of parameters, each setting as a DVC experiment, and rank them by validation accuracy."""

import argparse
import hashlib
import itertools
import json
import re
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from mnist.core.errors import UserError, run_stage
from mnist.core.params import read_yaml
from mnist.core.paths import PARAMS, ROOT, relative
from tools.experiment import Experiment, find, flatten, prepare, run, set_param
from tools.recipe import read_recipe

SEED, VALIDATION_SIZE = "train.seed", "preprocess.validation_size"


@dataclass(frozen=True)
class Sweep:
    """A sweep file: the values to try, and the recipe to start from with its changes, by dotted name."""

    grid: dict[str, list[Any]]
    recipe: str | None
    base: dict[str, Any]

    @property
    def varying(self) -> list[str]:
        """The parameters with more than one value."""
        return [key for key, values in self.grid.items() if len(values) > 1]

    @property
    def validation_sizes(self) -> list[Any]:
        """The values of preprocess.validation_size; 0 validates on the test images."""
        return self.grid.get(VALIDATION_SIZE, [(flatten(read_yaml(PARAMS)) | self.base).get(VALIDATION_SIZE)])

    def settings(self) -> dict[str, dict[str, Any]]:
        """Every combination of the values, by the name of its experiment, such as sweep-strong-epochs=30."""
        settings = {}
        for values in itertools.product(*self.grid.values()):
            setting = dict(zip(self.grid, values, strict=True))
            words = [set_param(key.rpartition(".")[2], value) for key, value in setting.items()]
            name = re.sub(r"[^\w.,+=-]", "", "-".join(["sweep", *filter(None, [self.recipe]), *words]))
            digest = hashlib.sha256(name.encode()).hexdigest()[:8]
            settings[name if len(name) <= 100 else f"{name[:100]}-{digest}"] = setting  # git stores it as a file name
        return settings


def read_sweep(path: Path) -> Sweep:
    """Read a sweep file; UserError if it is not valid, or would select a setting on the test images."""
    content, where = read_yaml(path), relative(path)
    if unknown := sorted(content.keys() - {"recipe", "grid"}):
        raise UserError(f"{where}: unknown key '{unknown[0]}'; known are recipe and grid")
    grid = flatten(content["grid"]) if isinstance(content.get("grid"), dict) else {}
    if not grid:
        raise UserError(f"{where}: grid should list the values of a parameter: `train.learning_rate: [0.001, 0.003]`")
    for key, values in grid.items():
        if not isinstance(values, list) or not values:
            raise UserError(f"{where}: grid: {key} is {values!r}, but should be a list of the values to try")
    recipe = str(content["recipe"]) if "recipe" in content else None
    sweep = Sweep(grid, recipe, read_recipe(recipe) if recipe else {})
    if 0 in sweep.validation_sizes and set(sweep.varying) - {SEED}:
        remedy = f"hold training images out: set it in the grid, as `{VALIDATION_SIZE}: [0.1]`"
        raise UserError(f"{where}: {VALIDATION_SIZE} is 0, so settings would be compared on the test images; {remedy}")
    return sweep


def run_all(sweep: Sweep) -> dict[str, Experiment | None]:
    """Run the settings that are not finished; return the experiment of each by name, None if it failed."""
    settings, results, seconds = sweep.settings(), dict[str, Experiment | None](), 0.0
    for number, (name, setting) in enumerate(settings.items(), 1):
        results[name] = find(name, sweep.base | setting)
        left = f"; about {seconds / 60 * (len(settings) - number + 1):.0f} min left" if seconds else ""
        remark = "; finished already" if results[name] else left
        text = ", ".join(set_param(key, value) for key, value in setting.items())
        print(f"\nsweep: {number} of {len(settings)}: {text}{remark}", flush=True)
        try:
            results[name] = experiment = results[name] or run(name, sweep.base | setting)
            seconds = experiment.seconds or seconds
        except UserError as error:
            print(f"sweep: {error}", file=sys.stderr, flush=True)
    return results


def tabulate(sweep: Sweep, results: dict[str, Experiment | None]) -> str:
    """The settings by validation accuracy, best first; with several seeds also the mean and range over the seeds."""
    rows: list[dict[str, Any]] = []
    for name, setting in sweep.settings().items():
        experiment = results[name]
        last = json.loads(experiment.read("reports/validation.json")) if experiment else {}
        row: dict[str, Any] = {column: float(last.get(column, "nan")) for column in ("val_accuracy", "val_loss")}
        row |= {key: json.dumps(setting[key]) for key in sweep.varying}
        row["seconds"] = f"{experiment.seconds:.0f}" if experiment and experiment.seconds else ""
        rows.append({**row, "experiment": name})
    style: Any = {"index": False, "na_rep": "failed", "float_format": "%.4f"}
    table = pd.DataFrame(rows).sort_values(["val_accuracy", "val_loss"], ascending=[False, True])
    if SEED not in sweep.varying:
        return table.to_string(**style)
    others = [key for key in sweep.varying if key != SEED]
    seeds = table.groupby(others or [""] * len(table))["val_accuracy"].agg(["mean", "min", "max", "count"])
    seeds = seeds.sort_values("mean", ascending=False).reset_index(drop=not others)
    return f"{table.to_string(**style)}\n\nval_accuracy over the seeds\n{seeds.to_string(**style)}"


def main() -> None:
    """Run the tool."""
    parser = argparse.ArgumentParser(prog="make sweep", description=__doc__)
    parser.add_argument("file", nargs="?", default=ROOT / "sweep.yaml", type=Path, help="the grid (sweep.yaml)")
    sweep = read_sweep(parser.parse_args().file)
    prepare("sweep")
    try:
        results = run_all(sweep)
    except KeyboardInterrupt:
        print("sweep: interrupted; finished settings are kept, `make sweep` resumes with the others", file=sys.stderr)
        sys.exit(130)
    print(f"\n{tabulate(sweep, results)}\n")
    if 0 in sweep.validation_sizes:
        print("This is the accuracy on the test images: report it, do not select by it.")
    else:
        print("Measure only the selected setting on the test images: dvc metrics diff HEAD EXPERIMENT")
    if failed := sum(not experiment for experiment in results.values()):
        sys.exit(f"sweep: {failed} of {len(results)} settings failed; DVC prints above why")


if __name__ == "__main__":
    run_stage(main)
