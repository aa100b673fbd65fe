"""`make sweep`: real DVC experiments, which do not change the working tree."""

import csv
import os
import re
import signal
import subprocess
import time
from pathlib import Path

import pytest
from conftest import Checkout

from mnist.core.errors import UserError
from mnist.core.paths import ROOT
from tools import sweep
from tools.sweep import Sweep, read_sweep


def status(checkout: Checkout) -> str:
    command = ["git", "status", "--porcelain"]
    return subprocess.run(command, cwd=checkout.folder, capture_output=True, text=True, check=True).stdout


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


def test_the_committed_sweep_is_valid(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sweep, "PARAMS", ROOT / "tests/params.yaml")
    assert len(read_sweep(ROOT / "sweep.yaml").settings()) > 1


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


def test_a_missing_parameter_is_left_to_the_stage_that_reads_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "params.yaml").write_text("preprocess: {seed: 1}")
    (tmp_path / "grid.yaml").write_text("grid: {train.epochs: [1, 2]}")
    monkeypatch.setattr(sweep, "PARAMS", tmp_path / "params.yaml")
    assert len(read_sweep(tmp_path / "grid.yaml").settings()) == 2


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
