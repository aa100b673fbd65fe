"""The pipeline as a whole, under real DVC: which stages run after which change, and what they leave."""

import hashlib
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import yaml
from conftest import ALL, Checkout

from mnist.dataset.digits import digits_files, gzip_stored, idx_bytes


def test_without_a_change_nothing_runs(checkout: Checkout) -> None:
    assert checkout.repro() == []


def test_a_plot_parameter_reruns_plot(checkout: Checkout) -> None:
    checkout.set_param("examples", "7")
    assert checkout.repro() == ["plot"]


def test_an_edit_of_plot_reruns_plot(checkout: Checkout) -> None:
    checkout.edit("stages/plot.py", "plot: figures", "plot: the figures")
    assert checkout.repro() == ["plot"]


def test_a_comment_in_the_parameters_reruns_nothing(checkout: Checkout) -> None:
    checkout.edit("params.yaml", "# passes over", "# Passes over")
    assert checkout.repro() == []


def test_epochs_rerun_from_train_on_and_a_value_set_back_is_restored(checkout: Checkout) -> None:
    before = checkout.outputs()
    checkout.set_param("epochs", "3")
    assert checkout.repro() == ALL[ALL.index("train") :]
    diff = json.loads(checkout.run("-m", "dvc", "metrics", "diff", "--json").stdout)
    accuracy = diff["reports/metrics.json"]["accuracy"]
    now = json.loads((checkout.folder / "reports/metrics.json").read_text())["accuracy"]
    assert accuracy["new"] == now
    assert accuracy["old"] == json.loads(before["reports/metrics.json"])["accuracy"] != now
    checkout.set_param("epochs", "2")
    assert checkout.repro() == []
    assert checkout.outputs() == before


def test_the_validation_split_reruns_from_preprocess_on(checkout: Checkout) -> None:
    checkout.set_param("validation_size", "0")
    assert checkout.repro() == ALL[1:]
    assert json.loads((checkout.folder / "reports/data.json").read_text())["validated_on"] == "test images"
    for kind in ("images", "labels"):
        arrays = [np.load(checkout.folder / f"data/processed/{split}_{kind}.npy") for split in ("validation", "test")]
        np.testing.assert_array_equal(*arrays)


@pytest.mark.slow
def test_another_data_set_of_ones_own_reruns_all(checkout: Checkout, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    contents = {
        "train-images-idx3-ubyte.gz": rng.integers(0, 256, (300, 6, 4), dtype=np.uint8),
        "train-labels-idx1-ubyte.gz": rng.integers(0, 3, 300, dtype=np.uint8),
        "t10k-images-idx3-ubyte.gz": rng.integers(0, 256, (50, 6, 4), dtype=np.uint8),
        "t10k-labels-idx1-ubyte.gz": rng.integers(0, 3, 50, dtype=np.uint8),
    }
    mirror = tmp_path / "mirror"
    mirror.mkdir()
    files = {}
    for name, array in contents.items():
        content = gzip_stored(idx_bytes(array))
        (mirror / name).write_bytes(content)
        files[name] = {"size": len(content), "sha256": hashlib.sha256(content).hexdigest()}
    entry = {"title": "Noise", "mirrors": [str(mirror)], "files": files, "classes": ["a cat", "a dog", "neither"]}
    with (checkout.folder / "mnist/dataset/datasets.yaml").open("a") as catalogue:
        yaml.safe_dump({"noise": entry}, catalogue)
    assert checkout.repro() == ["download", "preprocess"]  # they read the catalogue, with the same result
    checkout.set_param("dataset", "noise")
    assert checkout.repro() == ALL
    metrics = json.loads((checkout.folder / "reports/metrics.json").read_text())
    assert list(metrics["per_class"]) == ["a cat", "a dog", "neither"]
    assert np.load(checkout.folder / "data/processed/train_images.npy").shape == (100, 24)


def test_every_artefact_is_as_the_design_says(reproduced: Checkout) -> None:
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


def test_results_deleted_from_the_working_tree_come_back_without_a_run(checkout: Checkout) -> None:
    before = checkout.outputs()
    for folder in ("data", "models", "reports"):
        shutil.rmtree(checkout.folder / folder)
    assert checkout.repro() == []
    assert checkout.outputs() == before


@pytest.mark.parametrize("address", ["{folder}", "file://{folder}"])
def test_the_data_comes_from_an_own_mirror(unreproduced: Checkout, digits_mirror: Path, address: str) -> None:
    changes = {"DATASET_MIRROR": address.format(folder=digits_mirror)}
    assert unreproduced.repro("preprocess", changes=changes) == ["download", "preprocess"]
    assert (unreproduced.folder / "reports/data.json").exists()


def dvc(folder: Path, *arguments: str) -> str:
    done = Checkout(folder).run("-m", "dvc", *arguments)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_what_one_machine_has_computed_another_does_not_compute(unreproduced: Checkout, tmp_path: Path) -> None:
    other = Checkout(tmp_path / "other machine")
    unreproduced.git("clone", ".", str(other.folder))
    for machine in (unreproduced, other):
        dvc(machine.folder, "config", "--local", "cache.dir", str(tmp_path / "shared"))
    assert unreproduced.repro() == ALL
    assert other.repro() == []
    assert other.outputs() == unreproduced.outputs()


def test_what_one_machine_pushed_another_does_not_compute(unreproduced: Checkout, tmp_path: Path) -> None:
    without = unreproduced.run("-m", "tools.push")
    assert (without.returncode, without.stdout) == (1, "")
    assert without.stderr.startswith("push: DVC has no remote yet; name one: dvc remote add --default ")

    dvc(unreproduced.folder, "remote", "add", "--default", "storage", str(tmp_path / "remote"))
    unreproduced.git("commit", "--all", "--message", "a remote")
    other = Checkout(tmp_path / "other machine")
    unreproduced.git("clone", ".", str(other.folder))
    assert unreproduced.repro() == ALL
    first = unreproduced.outputs()
    unreproduced.set_param("epochs", "3")
    assert unreproduced.repro() == ["train", "evaluate", "plot", "report"]
    pushed = unreproduced.run("-m", "tools.push")
    assert pushed.returncode == 0, pushed.stderr
    assert pushed.stdout.splitlines()[-1].startswith("push: 10 runs of stages are in the remote storage")

    assert other.repro("--pull") == []  # nothing of this is committed: it is the same commit as before
    assert other.outputs() == first
    ran = dvc(other.folder, "exp", "run", "--pull", "--set-param", "train.epochs=3")
    assert "Running stage" not in ran
    assert other.outputs() == unreproduced.outputs() != first


def test_a_clone_pulls_from_a_remote_and_runs_nothing(checkout: Checkout, tmp_path: Path) -> None:
    dvc(checkout.folder, "remote", "add", "--default", "storage", str(tmp_path / "remote"))
    checkout.git("commit", "--all", "--message", "a remote")
    checkout.git("tag", "--annotate", "digits@v1.0.0", "--message", "the first")
    dvc(checkout.folder, "push")
    clone = Checkout(tmp_path / "elsewhere")
    checkout.git("clone", ".", str(clone.folder))
    dvc(clone.folder, "pull")
    assert clone.repro() == []
    assert clone.outputs() == checkout.outputs()
    assert "reports/index.html" in clone.outputs()
    (tmp_path / "consumer").mkdir()
    dvc(tmp_path / "consumer", "artifacts", "get", str(clone.folder), "digits")
    model = (tmp_path / "consumer/model.keras").read_bytes()
    assert model == (checkout.folder / "models/model.keras").read_bytes()
