"""The pipeline as a whole, under real DVC: the stages that a change reruns, and their outputs."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from conftest import ALL, Checkout, dvc

from mnist.dataset.digits import digits_files

TRAIN_ON = ALL[ALL.index("train") :]
EDIT = "\n# edited\n"

# A change (a parameter's new value, or files that get a comment), and the stages that `dvc repro` then runs.
CHANGES = [
    ((), []),
    (("params.yaml", "floor: 0.9", "unsure_below: 0.5"), []),
    (("predict.py", "mnist/handwriting.py", "mnist/paper.py", "tools/gate.py", "tests/conftest.py", "README.md"), []),
    (("datasets/new.yaml", "datasets/mnist.yaml"), []),
    (("datasets/digits.yaml",), ["download", "preprocess"]),
    (("stages/download.py",), ["download"]),
    (("stages/plot.py",), ["plot"]),
    (("mnist/dataset/idx.py",), ["download", "preprocess"]),
    (("mnist/training/schedule.py",), ["train"]),
    (("mnist/figures.py",), ["plot"]),
    (("mnist/style.py",), ["plot", "report"]),
    (("mnist/report/templates/report.html", "mnist/report/templates/model-card.md"), ["report"]),
    (("examples: 7",), ["plot"]),
    (("epochs: 3",), TRAIN_ON),
    (("validation_size: 0",), ALL[1:]),
    pytest.param(("rotation: 15.0",), TRAIN_ON, marks=pytest.mark.slow),
    pytest.param(("mnist/metrics/interval.py",), ["evaluate", "plot", "report"], marks=pytest.mark.slow),
    pytest.param(("mnist/model/network.py",), ["train", "evaluate", "report"], marks=pytest.mark.slow),
    pytest.param(("mnist/core/paths.py",), ALL, marks=pytest.mark.slow),
]


@pytest.mark.parametrize(("changes", "stages"), CHANGES, ids=lambda value: " ".join(value) or "nothing")
def test_a_change_reruns_these_stages_and_its_undoing_none(
    checkout: Checkout, changes: tuple[str, ...], stages: list[str]
) -> None:
    before = checkout.outputs()
    for change in changes:
        if ": " in change:
            checkout.set_param(*change.split(": "))
        else:
            with (checkout.folder / change).open("a") as file:
                file.write(EDIT)
    assert checkout.repro() == stages
    if stages:
        checkout.git("checkout", "--", *{change if "/" in change else "params.yaml" for change in changes})
        assert checkout.repro() == []
        assert checkout.outputs() == before


def test_metrics_diff_compares_with_the_last_commit(checkout: Checkout) -> None:
    path = "reports/metrics.json"
    before = json.loads((checkout.folder / path).read_text())["errors"]
    checkout.edit(path, f'"errors": {before}', f'"errors": {before + 5}')
    assert json.loads(dvc(checkout.folder, "metrics", "diff", "--json")) == {
        path: {"errors": {"old": before, "new": before + 5, "diff": 5}}
    }


@pytest.mark.slow
def test_a_data_set_of_ones_own_reruns_all(checkout: Checkout, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    shapes = {(300, 6, 4): 256, (300,): 3, (50, 6, 4): 256, (50,): 3}
    arrays = [rng.integers(0, end, shape, np.uint8) for shape, end in shapes.items()]
    checkout.add_dataset("noise", arrays, ["a cat", "a dog", "neither"], tmp_path / "mirror")
    assert checkout.repro() == ALL
    per_class = (checkout.folder / "reports/per_class.csv").read_text().splitlines()
    assert [row.split(",")[0] for row in per_class] == ["class", "a cat", "a dog", "neither"]
    assert np.load(checkout.folder / "data/processed/train_images.npy").shape == (100, 24)


def test_each_artefact_has_its_documented_form(reproduced: Checkout) -> None:
    raw = {path.name: path.read_bytes() for path in (reproduced.folder / "data/raw").iterdir()}
    assert raw == digits_files()
    for split, count in {"train": 1237, "validation": 200, "test": 360}.items():
        images = np.load(reproduced.folder / f"data/processed/{split}_images.npy")
        labels = np.load(reproduced.folder / f"data/processed/{split}_labels.npy")
        assert (images.dtype, images.shape) == (np.float32, (count, 64))
        assert (images.min(), images.max()) == (0, 1)
        assert (labels.dtype, labels.shape) == (np.uint8, (count,))
        assert set(labels) == set(range(10))
    reports = reproduced.folder / "reports"
    history = (reports / "history.csv").read_text().splitlines()
    assert history[0] == "epoch,loss,accuracy,val_loss,val_accuracy"
    assert [line.split(",")[0] for line in history[1:]] == ["1", "2"]
    predictions = (reports / "predictions.csv").read_text().splitlines()
    assert predictions[0] == "index,actual,predicted,confidence"
    rows = [line.split(",") for line in predictions[1:]]
    assert [int(row[0]) for row in rows] == list(range(360))
    metrics = json.loads((reports / "metrics.json").read_text())
    errors = sum(row[1] != row[2] for row in rows)
    assert metrics["errors"] == errors
    assert metrics["accuracy"] == pytest.approx(1 - errors / 360, abs=1e-6)
    assert {path.name for path in (reports / "figures").iterdir()} == {
        "curves.png",
        "confusion_matrix.png",
        "augmentation.png",
        "recall.png",
        "calibration.png",
        "first_predictions.png",
        "worst_mistakes.png",
    }


def test_deleted_results_are_restored_without_a_run(checkout: Checkout) -> None:
    before = checkout.outputs()
    for folder in ("data", "models", "reports"):
        shutil.rmtree(checkout.folder / folder)
    assert checkout.repro() == []
    assert checkout.outputs() == before


@pytest.mark.parametrize("address", ["{folder}", "file://{folder}"])
def test_the_data_can_come_from_ones_own_mirror(unreproduced: Checkout, digits_mirror: Path, address: str) -> None:
    changes = {"DATASET_MIRROR": address.format(folder=digits_mirror)}
    assert unreproduced.repro("preprocess", changes=changes) == ["download", "preprocess"]
    assert (unreproduced.folder / "reports/data.json").exists()


def without_results(checkout: Checkout, folder: Path) -> Checkout:
    """A clone of the last commit that has no results, as on a machine on which nothing has run."""
    clone = Checkout(folder)
    checkout.git("clone", ".", str(folder))
    (folder / "dvc.lock").unlink()
    shutil.rmtree(folder / "reports")
    return clone


def test_a_shared_cache_spares_the_second_machine_all_runs(checkout: Checkout, tmp_path: Path) -> None:
    other = without_results(checkout, tmp_path / "other machine")
    (checkout.folder / ".dvc/cache").rename(tmp_path / "shared")
    dvc(other.folder, "config", "--local", "cache.dir", str(tmp_path / "shared"))
    assert other.repro() == []
    assert other.outputs() == checkout.outputs()


@pytest.mark.slow
def test_pushed_runs_are_not_repeated_by_the_second_machine(checkout: Checkout, tmp_path: Path) -> None:
    without = checkout.run("-m", "tools.push")
    assert (without.returncode, without.stdout) == (1, "")
    assert without.stderr.startswith("push: DVC has no remote yet; name one: dvc remote add --default ")

    dvc(checkout.folder, "remote", "add", "--default", "storage", str(tmp_path / "remote"))
    checkout.git("commit", "--all", "--message", "a remote")
    other = without_results(checkout, tmp_path / "other machine")
    first = checkout.outputs()
    checkout.set_param("epochs", "3")
    assert checkout.repro() == ["train", "evaluate", "plot", "report"]
    pushed = checkout.run("-m", "tools.push")
    assert pushed.returncode == 0, pushed.stderr
    assert pushed.stdout.splitlines()[-1].startswith("push: 10 runs of stages are in the remote storage")

    assert other.repro("--pull") == []
    assert other.outputs() == first
    ran = dvc(other.folder, "exp", "run", "--pull", "--set-param", "train.epochs=3")
    assert "Running stage" not in ran
    assert other.outputs() == checkout.outputs() != first


def test_a_clone_pulls_from_a_remote_and_runs_nothing(checkout: Checkout, tmp_path: Path) -> None:
    dvc(checkout.folder, "remote", "add", "--default", "storage", str(tmp_path / "remote"))
    checkout.git("commit", "--all", "--message", "a remote")
    dvc(checkout.folder, "push")
    clone = Checkout(tmp_path / "elsewhere")
    checkout.git("clone", ".", str(clone.folder))
    dvc(clone.folder, "pull")
    assert clone.repro() == []
    assert clone.outputs() == checkout.outputs()
    assert "reports/index.html" in clone.outputs()
