"""The same bytes for any number of cores, folder, environment and CPU; different bytes for a different seed."""

import os
import shutil
from pathlib import Path

import pytest
from conftest import ALL, Checkout

# The oldest supported CPU (Intel 2013), and one of AMD (2017).
EMULATED = [
    ("Haswell", {"batch_size": "32"}),
    ("EPYC", {"batch_size": "32"}),
    ("EPYC", {"batch_size": "100"}),
    ("Haswell", {"batch_size": "100", "precision": "float64"}),
]

EVERYTHING = {
    "batch_normalization": "true",
    "dropout": "0.1",
    "schedule": "cosine",
    "warmup_epochs": "1.0",
    "weight_decay": "0.01",
    "label_smoothing": "0.1",
    "rotation": "15.0",
    "scaling": "0.15",
    "shear": "10.0",
    "shift": "0.5",
    "elastic_alpha": "8.0",
    "elastic_sigma": "2.0",
    "half_strength_epochs": "1",
}


def switch_everything_on(checkout: Checkout) -> None:
    for key, value in EVERYTHING.items():
        checkout.set_param(key, value)


def train(checkout: Checkout, **options) -> bytes:
    """Run the train stage; return the model's bytes."""
    done = checkout.stage("train", **options)
    assert done.returncode == 0, done.stderr
    return (checkout.folder / "models/model.keras").read_bytes()


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="this system cannot bind a process to a core")
@pytest.mark.parametrize("everything", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_one_core_and_two_train_the_same_model(checkout: Checkout, everything: bool) -> None:
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) < 2:
        pytest.skip("this machine has one core")
    before = (checkout.folder / "models/model.keras").read_bytes()
    if everything:
        switch_everything_on(checkout)
        default, before = before, train(checkout, preexec_fn=lambda: os.sched_setaffinity(0, cores[:2]))
        assert before != default
    assert train(checkout, preexec_fn=lambda: os.sched_setaffinity(0, cores[:1])) == before


def test_a_different_seed_trains_a_different_model(checkout: Checkout) -> None:
    before = (checkout.folder / "models/model.keras").read_bytes()
    checkout.edit("params.yaml", "seed: 42", "seed: 43")
    assert train(checkout) != before


def test_a_different_seed_holds_out_different_images(checkout: Checkout) -> None:
    images = checkout.folder / "data/processed/validation_images.npy"
    before = images.read_bytes()
    checkout.edit("params.yaml", "seed: 1 ", "seed: 2 ")
    assert checkout.stage("preprocess").returncode == 0
    assert images.read_bytes() != before
    assert len(images.read_bytes()) == len(before)


@pytest.mark.slow
def test_folder_and_environment_change_no_byte(reproduced: Checkout, fresh: Checkout, tmp_path: Path) -> None:
    elsewhere = Checkout(Path(shutil.copytree(fresh.folder, tmp_path / "another folder, é")))
    elsewhere.edit("params.yaml", "# passes over", "# another comment: passes over")
    home = tmp_path / "home"
    home.mkdir()
    (home / "matplotlibrc").write_text("figure.facecolor: red\nsavefig.dpi: 30\n")
    (home / ".keras").mkdir()
    (home / ".keras/keras.json").write_text('{"floatx": "float16", "epsilon": 0.01, "backend": "jax"}')
    strange = {
        "HOME": str(home),
        "MATPLOTLIBRC": str(home / "matplotlibrc"),
        "KERAS_BACKEND": "jax",
        "LC_ALL": "tr_TR.UTF-8",
        "OMP_NUM_THREADS": "1",
        "PYTHONHASHSEED": "4711",
        "TF_ENABLE_ONEDNN_OPTS": "1",
        "TZ": "Asia/Kathmandu",
        "XLA_FLAGS": "--xla_cpu_enable_fast_math=true",
    }
    elsewhere.repro("../dvc.yaml", cwd="stages", changes=strange, umask=0o077)
    assert elsewhere.outputs() == reproduced.outputs()
    assert (elsewhere.folder / "dvc.lock").read_text() == (reproduced.folder / "dvc.lock").read_text()


@pytest.mark.emulated
@pytest.mark.skipif(not shutil.which("qemu-x86_64"), reason="qemu-x86_64 is not installed (Debian: qemu-user)")
@pytest.mark.parametrize(("cpu", "changes"), EMULATED)
def test_a_different_cpu_gives_the_same_bytes(checkout: Checkout, cpu: str, changes: dict[str, str]) -> None:
    switch_everything_on(checkout)
    for key, value in changes.items():
        checkout.set_param(key, value)
    checkout.repro()
    before = checkout.outputs()
    for path in before:
        if not path.startswith("data/raw/"):
            (checkout.folder / path).unlink()
    for stage in ALL[1:]:
        done = checkout.stage(stage, under=["qemu-x86_64", "-cpu", cpu])
        assert done.returncode == 0, done.stderr
    after = checkout.outputs()
    assert [path for path in before if after.get(path) != before[path]] == []
