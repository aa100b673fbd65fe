"""`make recipe`: real DVC experiments, which do not change the working tree."""

import json
import os
import re
import subprocess
from pathlib import Path

import pytest
import yaml
from conftest import ALL, BASELINE, Checkout

from mnist.core.errors import UserError
from mnist.core.paths import ROOT
from mnist.training.params import AugmentationParams, TrainParams
from stages.preprocess import PreprocessParams
from tools import recipe
from tools.recipe import read_recipe


def model_md5(checkout: Checkout) -> str:
    outs = yaml.safe_load((checkout.folder / "dvc.lock").read_text())["stages"]["train"]["outs"]
    return next(out["md5"] for out in outs if out["path"] == "models/model.keras")


def status(checkout: Checkout) -> str:
    command = ["git", "status", "--porcelain"]
    return subprocess.run(command, cwd=checkout.folder, capture_output=True, text=True, check=True).stdout


def params_of(checkout: Checkout, name: str) -> dict:
    """The parameters that differ from the last commit, as DVC reports them."""
    done = checkout.run("-m", "dvc", "params", "diff", "HEAD", name, "--json")
    return {key: change["new"] for key, change in json.loads(done.stdout)["params.yaml"].items()}


@pytest.mark.slow
def test_a_recipe_runs_beside_the_working_tree_and_can_be_run_again(
    checkout: Checkout, digits_mirror: Path, tmp_path: Path
) -> None:
    path = checkout.folder / "recipes/more.yaml"
    path.write_text("# More pictures.\nplot:\n  examples: 7\n")
    checkout.set_param("mistakes", "3")
    before, status_before = checkout.outputs(), status(checkout)

    done = checkout.run("-m", "tools.recipe", "more", changes={"HOME": str(tmp_path)})  # no author in git
    assert done.returncode == 0, done.stderr
    metrics = json.loads(before["reports/metrics.json"])
    result = f"): {metrics['errors']} errors in the 360 test images of scikit-learn digits.\n"
    assert f"Recipe more: Test accuracy {metrics['accuracy']:.4f} (95 % interval " in done.stdout
    assert result.rstrip() in done.stdout
    assert re.search(r" It ran in \d+ s\.\n", done.stdout)
    assert f"models/model.keras has MD5 {model_md5(checkout)}" in done.stdout
    assert "uncommitted changes are part of the experiment: params.yaml\n" in done.stdout
    assert params_of(checkout, "more") == {"plot.examples": 7, "plot.mistakes": 3}

    again = checkout.run("-m", "tools.recipe", "more")
    assert result in again.stdout
    assert "more has run before" in again.stdout
    assert "Reproducing" not in again.stdout

    path.write_text("# Too few pictures.\nplot:\n  examples: 0\n")
    failed = checkout.run("-m", "tools.recipe", "more")
    assert failed.returncode == 1
    assert "plot.examples is 0, but should be" in failed.stderr
    assert failed.stderr.endswith("recipe: experiment more failed; DVC prints above why\n")
    assert "Traceback" not in failed.stderr
    assert params_of(checkout, "more")["plot.examples"] == 7  # the earlier one is kept

    path.write_text("# As many pictures as before.\nplot:\n  examples: 7\n")
    mirror = {"DATASET_MIRROR": os.path.relpath(digits_mirror, checkout.folder)}
    fresh = checkout.run("-m", "tools.recipe", "more", "--fresh", changes=mirror)
    stages = re.findall(r"Running stage '(\w+)'", fresh.stdout)
    assert stages == ALL
    assert f"from {digits_mirror}\n" in fresh.stdout
    assert re.search(r" It ran in \d+ s\.\n", fresh.stdout)
    assert f"models/model.keras has MD5 {model_md5(checkout)}" in fresh.stdout
    assert (checkout.outputs(), status(checkout)) == (before, status_before)


def test_the_recipes_are_listed_and_an_unknown_one_is_refused(fresh: Checkout) -> None:
    line = "  make recipe NAME=tutorial  "
    listed = fresh.run("-m", "tools.recipe")
    assert listed.returncode == 0
    assert line in listed.stdout
    unknown = fresh.run("-m", "tools.recipe", "../params")
    assert unknown.returncode == 1
    assert unknown.stderr.startswith("recipe: there is no recipe '../params'; there are\n")
    assert line in unknown.stderr


@pytest.mark.parametrize("path", sorted((ROOT / "recipes").glob("*.yaml")), ids=lambda path: path.stem)
def test_the_committed_recipes_are_valid(path: Path) -> None:
    sections = {name: dict(values) for name, values in BASELINE.items()}
    for key, value in read_recipe(path.stem).items():
        section, name = key.split(".")
        assert name in sections[section], key
        sections[section][name] = value
    for params in (PreprocessParams, TrainParams, AugmentationParams):
        params.model_validate(sections[params.section])
    assert path.read_text().splitlines()[0].startswith("# ")  # `make recipe` lists it


@pytest.mark.parametrize(
    ("text", "message"), [("train: [", "is not valid YAML"), ("# nothing", "should contain `key: value` lines")]
)
def test_an_invalid_recipe_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, message: str) -> None:
    monkeypatch.setattr(recipe, "RECIPES", tmp_path)
    (tmp_path / "mine.yaml").write_text(text)
    with pytest.raises(UserError, match=f"^{tmp_path}/mine.yaml {message}"):
        read_recipe("mine")


@pytest.mark.parametrize("text", ["train: {epoch: 3}", "trian: {epochs: 3}"])
def test_dvc_refuses_an_unknown_key_of_a_recipe_before_it_runs_a_stage(checkout: Checkout, text: str) -> None:
    (checkout.folder / "recipes/mine.yaml").write_text(text)
    done = checkout.run("-m", "tools.recipe", "mine")
    assert done.returncode == 1
    assert re.search(r"Could not override '(train\.epoch|trian\.epochs)'", done.stderr)
    assert done.stderr.endswith("recipe: experiment mine failed; DVC prints above why\n")
    assert "Running stage" not in done.stdout
