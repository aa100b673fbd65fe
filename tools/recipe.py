"""`make recipe NAME=...`: run a recipe, a named set of parameters, as the DVC experiment of that name."""

import argparse
import json
import sys

import yaml

from mnist.core.errors import run_stage
from tools.checkout import result
from tools.experiment import Experiment, find, list_of_recipes, read_recipe, run, say_uncommitted


def model_of(experiment: Experiment) -> str:
    """The MD5 of the experiment's model."""
    outs = yaml.safe_load(experiment.read("dvc.lock"))["stages"]["train"]["outs"]
    return next(out["md5"] for out in outs if out["path"] == "models/model.keras")


def result_of(experiment: Experiment) -> str:
    """The experiment's result in words, and what can be done with it."""
    metrics, data = (json.loads(experiment.read(f"reports/{name}.json")) for name in ("metrics", "data"))
    name = experiment.name
    ran = f" It ran in {experiment.seconds:.0f} s." if experiment.seconds else ""
    return (
        f"\nRecipe {name}: {result(metrics, data)}{ran}\nmodels/model.keras has MD5 {model_of(experiment)}.\n"
        f"Compare it: dvc exp show; dvc metrics diff HEAD {name}; dvc params diff HEAD {name}\n"
        f"Take it over into the working tree: dvc exp apply {name}"
    )


def main() -> None:
    """Run the tool."""
    parser = argparse.ArgumentParser(prog="make recipe", description=__doc__)
    parser.add_argument("name", nargs="?", help="the recipe; without it, all are listed")
    parser.add_argument("--fresh", action="store_true", help="run all stages, also those whose results are known")
    arguments = parser.parse_args()
    if not arguments.name:
        print(f"The recipes are\n{list_of_recipes()}")
        return
    changes = read_recipe(arguments.name)
    say_uncommitted("recipe")
    earlier = find(arguments.name, changes)
    if earlier and not arguments.fresh:
        print(f"recipe: {earlier.name} has run before; `make recipe NAME={earlier.name} FRESH=1` runs all of it again")
        print(result_of(earlier))
        return
    experiment = run(arguments.name, changes, fresh=arguments.fresh)
    print(result_of(experiment))
    if earlier and model_of(experiment) != model_of(earlier):
        sys.exit(f"recipe: the model is another than before: its MD5 was {model_of(earlier)}")


if __name__ == "__main__":
    run_stage(main)
