"""The commands around the pipeline: `make`, with and without a source, and `make verify`."""

import json
import platform
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from conftest import ALL, Checkout

from tools.cluster import workers


@pytest.mark.slow
def test_make_without_a_source_runs_the_demo(unreproduced: Checkout) -> None:
    unreproduced.set_param("dataset", "mnist")
    unreproduced.edit("datasets/mnist.yaml", "https://", "http://127.0.0.1:9/")
    unreproduced.git("commit", "--all", "--message", "no source")
    done = unreproduced.run("-m", "tools.run", changes={"DATASET_MIRROR": ""})
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("No source of MNIST can be reached: running the demo on scikit-learn's digits\n")
    assert "test images of scikit-learn digits." in done.stdout
    demo = unreproduced.folder / "build/demo"
    assert json.loads((demo / "reports/data.json").read_text())["dataset"] == "digits"
    status = subprocess.run(["git", "status", "--porcelain"], cwd=unreproduced.folder, capture_output=True, text=True)
    assert status.stdout == ""
    assert not (unreproduced.folder / "data/raw").exists()


@pytest.mark.parametrize("fault", ["typo", "unzipped"])
def test_make_with_a_source_that_lacks_a_file_fails(
    unreproduced: Checkout, digits_mirror: Path, tmp_path: Path, fault: str
) -> None:
    mirror = tmp_path / "mirror"
    if fault == "unzipped":
        shutil.copytree(digits_mirror, mirror)
        (mirror / "train-images-idx3-ubyte.gz").rename(mirror / "train-images-idx3-ubyte")
    done = unreproduced.run("-m", "tools.run", changes={"DATASET_MIRROR": str(mirror)})
    assert done.returncode
    message = f"download: no source has train-images-idx3-ubyte.gz as published:\n  {mirror}: not found\n"
    assert message in done.stderr
    assert "Correct DATASET_MIRROR" in done.stderr
    assert not (unreproduced.folder / "build").exists()


def test_make_names_the_folder_that_a_data_set_of_ones_own_lacks(unreproduced: Checkout) -> None:
    shutil.copy(unreproduced.folder / "datasets/digits.yaml", unreproduced.folder / "datasets/own.yaml")
    unreproduced.edit("datasets/own.yaml", "scikit-learn://digits/", "data/custom/own/")
    unreproduced.set_param("dataset", "own")
    done = unreproduced.run("-m", "tools.run")
    assert done.returncode
    folder = unreproduced.folder / "data/custom/own"
    message = (
        f"download: no source has train-images-idx3-ubyte.gz as published:\n  {folder}: not found\nGet the files by "
    )
    assert message in done.stderr
    assert not (unreproduced.folder / "build").exists()


@pytest.mark.slow
def test_a_first_make_runs_every_stage_even_with_results_in_git(checkout: Checkout) -> None:
    before = checkout.outputs()
    for folder in ("data", "models", ".dvc/cache"):
        shutil.rmtree(checkout.folder / folder)
    done = checkout.run("-m", "tools.run", changes={"DATASET_MIRROR": ""})
    assert re.findall(r"Running stage '(\w+)'", done.stdout) == ALL
    assert checkout.outputs() == before


def test_make_with_nothing_to_do_prints_the_result(checkout: Checkout) -> None:
    done = checkout.run("-m", "tools.run")
    assert "Running stage" not in done.stdout
    metrics = json.loads((checkout.folder / "reports/metrics.json").read_text())
    assert f"Test accuracy {metrics['accuracy']:.4f} (95 % interval {metrics['accuracy_interval']['low']:.4f} to " in (
        done.stdout
    )
    assert f"): {metrics['errors']} errors in the 360 test images of scikit-learn digits.\n" in done.stdout


def test_make_names_an_unknown_data_set_before_it_runs_dvc(checkout: Checkout) -> None:
    checkout.set_param("dataset", "digit")
    before = checkout.outputs()
    done = checkout.run("-m", "tools.run")
    known = ", ".join(sorted(path.stem for path in (checkout.folder / "datasets").iterdir()))
    message = f"run: params.yaml: download.dataset is 'digit', but datasets/ has only {known}\n"
    assert (done.returncode, done.stdout, done.stderr) == (1, "", message)
    assert checkout.outputs() == before


def test_verify_finds_every_output_the_same(checkout: Checkout) -> None:
    done = checkout.run("-m", "tools.verify", "--stage", "preprocess")
    assert done.returncode == 0, done.stderr
    assert "all 11 outputs are the same, bit for bit" in done.stdout
    assert f"architecture {platform.machine()}" in done.stdout
    assert "compute.threads 2" in done.stdout


@pytest.mark.slow
def test_verify_reproduces_several_workers_on_one_machine(checkout: Checkout) -> None:
    checkout.set_param("workers", "2")
    with workers(2, checkout.folder) as chief:
        assert checkout.repro(changes=chief) == ["train", "evaluate", "plot", "report"]
    checkout.git("commit", "--all", "--message", "by two workers")
    done = checkout.run("-m", "tools.verify")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "train.workers 2" in done.stdout
    assert "all 27 outputs are the same, bit for bit" in done.stdout


def test_verify_names_the_output_that_differs(checkout: Checkout) -> None:
    right = (checkout.folder / "dvc.lock").read_text()
    at = right.index("md5: ", right.index("path: reports/data.json")) + len("md5: ")
    (checkout.folder / "dvc.lock").write_text(right[:at] + "0" * 32 + right[at + 32 :])
    checkout.git("commit", "--all", "--message", "a false hash")
    done = checkout.run("-m", "tools.verify", "--stage", "preprocess")
    assert done.returncode == 1
    assert "1 of 11 outputs differ from dvc.lock: reports/data.json" in done.stdout
    assert f"{right[at : at + 32]}  DIFFERENT" in done.stdout


def test_verify_downloads_what_is_corrupt_in_the_checkout(checkout: Checkout) -> None:
    labels = checkout.folder / "data/raw/t10k-labels-idx1-ubyte.gz"
    labels.unlink()
    labels.write_bytes(b"noise")
    done = checkout.run("-m", "tools.verify", "--stage", "download")
    assert done.returncode == 0, done.stderr
    assert "scikit-learn://digits/" in done.stdout
