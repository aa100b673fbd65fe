"""The commands around the pipeline: `make` without a source, and `make verify`."""

import json
import re
import shutil
import subprocess

import pytest
from conftest import ALL, Checkout

from tools.cluster import workers


@pytest.mark.slow
def test_make_without_a_source_runs_the_demo_and_says_so(unreproduced: Checkout) -> None:
    unreproduced.set_param("dataset", "mnist")
    catalogue = unreproduced.folder / "mnist/dataset/datasets.yaml"
    catalogue.write_text(catalogue.read_text().replace("https://", "http://127.0.0.1:9/"))
    unreproduced.git("commit", "--all", "--message", "no source")
    done = unreproduced.run("-m", "tools.run", changes={"DATASET_MIRROR": ""})
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("No source of MNIST can be reached: running the demo instead")
    assert "test images of scikit-learn digits." in done.stdout
    demo = unreproduced.folder / "build/demo"
    assert json.loads((demo / "reports/data.json").read_text())["dataset"] == "digits"
    status = subprocess.run(["git", "status", "--porcelain"], cwd=unreproduced.folder, capture_output=True, text=True)
    assert status.stdout == ""
    assert not (unreproduced.folder / "data").exists()


@pytest.mark.slow
def test_a_first_make_runs_every_stage_even_those_whose_results_are_in_git(checkout: Checkout) -> None:
    before = checkout.outputs()
    for folder in ("data", "models", ".dvc/cache"):
        shutil.rmtree(checkout.folder / folder)
    done = checkout.run("-m", "tools.run", changes={"DATASET_MIRROR": ""})
    assert re.findall(r"Running stage '(\w+)'", done.stdout) == ALL
    assert checkout.outputs() == before


def test_make_with_nothing_to_do_says_how_it_stands(checkout: Checkout) -> None:
    done = checkout.run("-m", "tools.run")
    assert "Running stage" not in done.stdout
    metrics = json.loads((checkout.folder / "reports/metrics.json").read_text())
    assert f"Test accuracy {metrics['accuracy']:.4f} (95 % interval {metrics['accuracy_interval']['low']:.4f} to " in (
        done.stdout
    )
    assert f"): {metrics['errors']} errors in the 360 test images of scikit-learn digits.\n" in done.stdout


def test_verify_finds_every_output_the_same(checkout: Checkout) -> None:
    done = checkout.run("-m", "tools.verify", "--stage", "preprocess")
    assert done.returncode == 0, done.stderr
    assert "all 11 outputs are the same, bit for bit" in done.stdout
    assert "compute.threads 2" in done.stdout


@pytest.mark.slow
def test_verify_proves_on_one_machine_what_several_workers_computed(checkout: Checkout) -> None:
    checkout.set_param("workers", "2")
    with workers(2, checkout.folder) as chief:
        assert checkout.repro(changes=chief) == ["train", "evaluate", "plot", "report"]
    checkout.git("commit", "--all", "--message", "by two workers")
    done = checkout.run("-m", "tools.verify")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "train.workers 2" in done.stdout
    assert "all 26 outputs are the same, bit for bit" in done.stdout


def test_verify_names_the_output_that_differs(checkout: Checkout) -> None:
    right = (checkout.folder / "dvc.lock").read_text()
    at = right.index("md5: ", right.index("path: reports/data.json")) + len("md5: ")
    (checkout.folder / "dvc.lock").write_text(right[:at] + "0" * 32 + right[at + 32 :])
    checkout.git("commit", "--all", "--message", "a false hash")
    done = checkout.run("-m", "tools.verify", "--stage", "preprocess")
    assert done.returncode == 1
    assert "1 of 11 outputs differ from dvc.lock: reports/data.json" in done.stdout
    assert f"{right[at : at + 32]}  DIFFERENT" in done.stdout


def test_verify_does_not_take_the_word_of_damaged_raw_files(checkout: Checkout) -> None:
    labels = checkout.folder / "data/raw/t10k-labels-idx1-ubyte.gz"
    labels.unlink()
    labels.write_bytes(b"noise")
    done = checkout.run("-m", "tools.verify", "--stage", "download")
    assert done.returncode == 0, done.stderr
    assert "scikit-learn://digits/" in done.stdout
