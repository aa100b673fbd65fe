"""`make recipe` and `make sweep`: real DVC experiments, which leave the working tree as it is."""

import csv
import json
import os
import re
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest
import yaml
from conftest import ALL, Checkout
from dvc.utils.hydra import apply_overrides

from mnist.core.errors import UserError
from mnist.core.params import read_yaml
from mnist.core.paths import PARAMS
from tools import recipe
from tools.checkout import ROOT
from tools.experiment import set_param
from tools.recipe import read_recipe
from tools.sweep import Sweep, read_sweep


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


@pytest.mark.slow
def test_a_sweep_resumes_after_ctrl_c_and_a_failure_and_ranks_by_validation(checkout: Checkout) -> None:
    (checkout.folder / "grid.yaml").write_text("grid: {train.seed: [42, 11, -1]}\n")
    before, status_before = checkout.outputs(), status(checkout)
    with checkout.start("-u", "-m", "tools.sweep", "grid.yaml") as sweep:
        assert sweep.stdout is not None
        lines = []
        while "Running stage 'train'" not in (line := sweep.stdout.readline()):
            assert line, "the sweep ended without training"
            lines.append(line)
        time.sleep(1)  # in the moment in which it starts a stage, DVC itself does not wait for the stage to end
        os.killpg(sweep.pid, signal.SIGINT)
        _, errors = sweep.communicate(timeout=120)
    assert any("sweep: 2 of 3: train.seed=11; about " in line for line in lines)
    assert sweep.returncode == 130
    assert errors.endswith("sweep: interrupted; finished settings are kept, `make sweep` resumes with the others\n")
    assert "sweep.py" not in errors
    assert processes_of_group(sweep.pid) == []
    assert list((checkout.folder / ".dvc/tmp/exps/standalone").iterdir()) == [
        checkout.folder / ".dvc/tmp/exps/standalone/run"
    ]
    assert (checkout.outputs(), status(checkout)) == (before, status_before)

    done = checkout.run("-m", "tools.sweep", "grid.yaml")
    assert done.returncode == 1
    assert "sweep: 1 of 3: train.seed=42; finished already" in done.stdout
    assert re.findall(r"Reproducing experiment '(.*)'", done.stdout) == ["sweep-seed=11", "sweep-seed=-1"]
    assert "train.seed is -1, but should be" in done.stderr
    assert "sweep: 1 of 3 settings failed" in done.stderr
    assert (checkout.outputs(), status(checkout)) == (before, status_before)

    accuracies = {}
    for seed in ("42", "11"):
        history = subprocess.run(
            ["git", "show", f"{revision_of(checkout, f'sweep-seed={seed}')}:reports/history.csv"],
            cwd=checkout.folder,
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        accuracies[seed] = float(list(csv.DictReader(history.splitlines()))[-1]["val_accuracy"])
    assert accuracies["42"] != accuracies["11"]
    table = done.stdout.partition("val_accuracy  val_loss train.seed")[2].splitlines()
    ranked = sorted(accuracies, key=lambda seed: -accuracies[seed])
    assert [line.split()[0::2][:2] for line in table[1:3]] == [[f"{accuracies[seed]:.4f}", seed] for seed in ranked]
    assert table[3].split() == ["failed", "failed", "-1", "sweep-seed=-1"]
    mean = sum(accuracies.values()) / 2
    wanted = [f"{value:.4f}" for value in (mean, min(accuracies.values()), max(accuracies.values()))]
    assert table[7].split() == [*wanted, "2"]


def processes_of_group(group: int) -> list[str]:
    """The processes of a process group, without zombies."""
    listed = subprocess.run(["ps", "-eo", "pgid=,stat=,args="], capture_output=True, text=True, check=True).stdout
    return [line for line in listed.splitlines() if line.split()[0] == str(group) and line.split()[1][0] != "Z"]


def revision_of(checkout: Checkout, name: str) -> str:
    """The commit of an experiment."""
    pattern = f"refs/exps/*/*/{name}"
    command = ["git", "for-each-ref", "--format=%(objectname)", pattern]
    return subprocess.run(command, cwd=checkout.folder, capture_output=True, text=True, check=True).stdout.strip()


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
    changes = read_recipe(path.stem)
    for key, value in changes.items():
        section, name = key.split(".")
        assert type(read_yaml(PARAMS)[section][name]) is type(value), key
    assert path.read_text().splitlines()[0].startswith("# ")  # `make recipe` lists it


def test_the_committed_sweep_is_valid() -> None:
    assert len(read_sweep(ROOT / "sweep.yaml").settings()) > 1


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


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("grid: {train.epochs: []}", "train.epochs is [], but should be a list of the values to try"),
        ("grid: {train.epochs: 3}", "train.epochs is 3, but should be a list of the values to try"),
        ("recipe: tutorial", "grid should list the values of a parameter"),
        ("grid: {train: {}}", "grid should list the values of a parameter"),
        ("grid: {train.epochs: [1]}\nrecipes: strong", "unknown key 'recipes'; known are recipe and grid"),
        ("grid: {train.epochs: [1]}\nrecipe: nosuch", "there is no recipe 'nosuch'"),
        ("grid: {train.epochs: [1]}\nrecipe: [tutorial]", "there is no recipe '['tutorial']'"),
        (
            "grid: {train.epochs: [1, 2]}\nrecipe: tutorial",
            "validation_size is 0, so settings would be compared on the test images",
        ),
        ("grid: [", "is not valid YAML"),
        (None, "is missing"),
    ],
)
def test_an_invalid_sweep_is_refused(tmp_path: Path, text: str | None, message: str) -> None:
    path = tmp_path / "grid.yaml"
    if text is not None:
        path.write_text(text)
    with pytest.raises(UserError) as caught:
        read_sweep(path)
    assert message in str(caught.value)


def test_experiments_of_a_sweep_have_distinct_names_that_git_accepts() -> None:
    grid = {
        "train.hidden_units": [[], [10, 24], [1024], [64] * 40],
        "train.learning_rate": [1e-05, 0.1, 1],
        "train.seed": [1, -1],
        "preprocess.seed": [1],
    }
    names = list(Sweep(grid, None, {}).settings())
    assert len(set(names)) == 24
    assert names[0] == "sweep-hidden_units=-learning_rate=1e-05-seed=1-seed=1"
    assert names[6] == "sweep-hidden_units=10,24-learning_rate=1e-05-seed=1-seed=1"
    assert list(Sweep({"train.epochs": [3]}, "strong", {}).settings()) == ["sweep-strong-epochs=3"]
    for name in names:
        assert len(name) < 120
        assert subprocess.run(["git", "check-ref-format", f"refs/exps/{name}"]).returncode == 0


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("train.hidden_units", []),
        ("train.hidden_units", [1024, 1024]),
        ("train.learning_rate", 1e-05),
        ("train.learning_rate", 1),
        ("train.activation", "gelu"),
        ("train.activation", "no, 'a' = \"b\""),
        ("train.activation", "10"),
        ("train.epochs", True),
    ],
)
def test_dvc_sets_a_parameter_to_the_exact_value(tmp_path: Path, key: str, value: object) -> None:
    path = Path(shutil.copy(PARAMS, tmp_path))
    expected = read_yaml(path)
    section, name = key.split(".")
    expected[section][name] = value
    apply_overrides(path, [set_param(key, value)])
    found = read_yaml(path)
    assert found == expected
    assert type(found[section][name]) is type(value)
