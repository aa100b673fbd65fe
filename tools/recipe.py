"""`make recipe NAME=...`: run a recipe, a named set of parameters, as the DVC experiment of that name."""

import argparse
import sys
from typing import Any

import yaml

from mnist.core.errors import UserError, run_stage
from mnist.core.params import read_yaml
from mnist.core.paths import ROOT
from tools.checkout import describe_result
from tools.experiment import Experiment, find, flatten, prepare, run

RECIPES = ROOT / "recipes"


def list_recipes() -> str:
    """List each recipe with the command that runs it and the first comment in its file."""
    texts = {path.stem: path.read_text(encoding="utf-8", errors="replace") for path in sorted(RECIPES.glob("*.yaml"))}
    comments = {name: text.partition("\n")[0].lstrip("# ") for name, text in texts.items()}
    width = max(map(len, comments), default=0)
    return "\n".join(f"  make recipe NAME={name:<{width}}  {comment}" for name, comment in comments.items())


def read_recipe(name: str) -> dict[str, Any]:
    """Read the parameters that a recipe changes, by dotted name; UserError if there is none or it is not valid."""
    path = RECIPES / f"{name}.yaml"
    if path not in RECIPES.glob("*.yaml"):
        raise UserError(f"there is no recipe '{name}'; there are\n{list_recipes()}")
    return flatten(read_yaml(path))


def model_md5(experiment: Experiment) -> str:
    """The MD5 of the experiment's model."""
    outs = yaml.safe_load(experiment.read("dvc.lock"))["stages"]["train"]["outs"]
    return next(out["md5"] for out in outs if out["path"] == "models/model.keras")


def main() -> None:
    """Run the tool."""
    parser = argparse.ArgumentParser(prog="make recipe", description=__doc__)
    parser.add_argument("name", nargs="?", help="the recipe; without it, all are listed")
    parser.add_argument("--fresh", action="store_true", help="run all stages, even those with results in DVC's cache")
    arguments = parser.parse_args()
    name, fresh = arguments.name, arguments.fresh
    if not name:
        print(f"The recipes are\n{list_recipes()}")
        return
    changes = read_recipe(name)
    prepare("recipe")
    earlier = find(name, changes)
    if earlier and not fresh:
        print(f"recipe: {name} has run before; `make recipe NAME={name} FRESH=1` runs all stages again")
    experiment = earlier if earlier and not fresh else run(name, changes, fresh=fresh)
    ran = f" It ran in {experiment.seconds:.0f} s." if experiment.seconds else ""
    print(f"\nRecipe {name}: {describe_result(experiment.read)}{ran}")
    print(f"models/model.keras has MD5 {model_md5(experiment)}.")
    print(f"Compare it: dvc exp show; dvc metrics diff HEAD {name}; dvc params diff HEAD {name}")
    print(f"Apply it to the working tree: dvc exp apply {name}")
    if earlier and model_md5(experiment) != model_md5(earlier):
        sys.exit(f"recipe: the model differs from the earlier one, which had MD5 {model_md5(earlier)}")


if __name__ == "__main__":
    run_stage(main)
