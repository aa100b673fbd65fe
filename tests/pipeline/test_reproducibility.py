"""The same bytes for any number of cores, folder, environment and CPU; different bytes for a different seed."""

import gzip
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import ALL, Checkout

from mnist.core.paths import ROOT
from mnist.dataset.catalogue import FILES
from tools.checkout import data_source, environment

# The oldest supported CPU (Intel 2013), one of AMD (2017), and 64-bit ARM.
EMULATED = [
    ("Haswell", {"batch_size": "32"}),
    ("EPYC", {"batch_size": "100"}),
    ("aarch64", {"batch_size": "32"}),
    ("aarch64", {"batch_size": "100"}),
]

EVERYTHING = {
    "batch_normalization": "true",
    "dropout": "0.1",
    "schedule": "cosine",
    "warmup_epochs": "1.0",
    "weight_decay": "0.01",
    "label_smoothing": "0.1",
    "temperature_scaling": "true",
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


def test_the_number_of_threads_changes_no_bit(checkout: Checkout) -> None:
    before = (checkout.folder / "models/model.keras").read_bytes()
    checkout.set_param("threads", "5")
    assert train(checkout) == before


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
        "FREETYPE_PROPERTIES": "truetype:interpreter-version=35",
        "HOME": str(home),
        "KERAS_BACKEND": "jax",
        "LC_ALL": "tr_TR.UTF-8",
        "MATPLOTLIBRC": str(home / "matplotlibrc"),
        "MKL_NUM_THREADS": "1",
        "MPLBACKEND": "svg",
        "MPLCONFIGDIR": str(home),
        "NPY_DISABLE_CPU_FEATURES": "X86_V3 X86_V4",
        "OMP_NUM_THREADS": "1",
        "ONEDNN_MAX_CPU_ISA": "SSE41",
        "OPENBLAS_CORETYPE": "Nehalem",
        "OPENBLAS_NUM_THREADS": "1",
        "PYTHONHASHSEED": "4711",
        "PYTHONOPTIMIZE": "2",
        "TF_DETERMINISTIC_OPS": "1",
        "TF_DISABLE_MKL": "1",
        "TF_ENABLE_ONEDNN_OPTS": "1",
        "TF_NUM_INTEROP_THREADS": "1",
        "TF_NUM_INTRAOP_THREADS": "1",
        "TF_USE_LEGACY_KERAS": "1",
        "TF_XLA_FLAGS": "--tf_xla_auto_jit=2 --tf_xla_cpu_global_jit",
        "TF2_BEHAVIOR": "0",
        "TZ": "Asia/Kathmandu",
        "XLA_FLAGS": "--xla_cpu_enable_fast_math=true --xla_cpu_max_isa=SSE4_2",
    }
    elsewhere.repro("../dvc.yaml", cwd="stages", changes=strange, umask=0o077)
    assert elsewhere.outputs() == reproduced.outputs()
    assert (elsewhere.folder / "dvc.lock").read_text() == (reproduced.folder / "dvc.lock").read_text()


@pytest.fixture
def emulator(cpu: str) -> dict[str, Any]:
    """Options of a checkout's stage that run it on an emulated CPU."""
    if cpu != "aarch64":
        if not shutil.which("qemu-x86_64"):
            pytest.skip("qemu-x86_64 is not installed (Debian: qemu-user)")
        return {"under": ["qemu-x86_64", "-cpu", cpu]}
    made = subprocess.run(["sh", "tools/aarch64.sh"], cwd=ROOT, env=environment(), stderr=subprocess.PIPE, text=True)
    if made.returncode:
        pytest.skip(f"no emulated ARM: {made.stderr.strip().splitlines()[-1]}")
    return {"python": str(ROOT / "build/aarch64/python")}


def assert_same_bytes(checkout: Checkout, stages: list[str], emulator: dict[str, Any]) -> None:
    """Run stages here and on an emulated CPU, in one process each, and compare their outputs."""
    names = ", ".join(stages)
    outputs = []
    for options in ({}, emulator):
        done = checkout.run("-c", f"from stages import {names}\nfor stage in {names}: stage.main()", **options)
        assert done.returncode == 0, done.stderr
        outputs.append(checkout.outputs())
    before, after = outputs
    assert [path for path in before if after[path] != before[path]] == []


@pytest.mark.emulated
@pytest.mark.parametrize(("cpu", "changes"), EMULATED)
def test_a_different_cpu_gives_the_same_bytes(checkout: Checkout, emulator: dict, changes: dict[str, str]) -> None:
    switch_everything_on(checkout)
    for key, value in changes.items():
        checkout.set_param(key, value)
    assert_same_bytes(checkout, ALL[1:], emulator)


@pytest.mark.emulated
@pytest.mark.skipif(not data_source(), reason="there is no MNIST in data/raw or DATASET_MIRROR")
@pytest.mark.parametrize("cpu", ["aarch64"])
@pytest.mark.parametrize("layers", ["default", "strong"])
def test_a_different_cpu_gives_the_same_bytes_on_mnist(
    unreproduced: Checkout, emulator: dict[str, Any], layers: str, tmp_path: Path
) -> None:
    raw = [gzip.decompress(Path(data_source()["DATASET_MIRROR"], name).read_bytes()) for name in FILES]
    images, labels, test_images, test_labels = (np.frombuffer(content, np.uint8) for content in raw)
    train, test = 6600, 1000
    arrays = [
        images[16:][: train * 784].reshape(-1, 28, 28),
        labels[8:][:train],
        test_images[16:][: test * 784].reshape(-1, 28, 28),
        test_labels[8:][:test],
    ]
    unreproduced.add_dataset("part", arrays, list("0123456789"), tmp_path / "mirror")
    changes = {"validation_size": "600", "epochs": "1"}
    if layers == "strong":
        unreproduced.edit("params.yaml", "hidden_units:\n  - 128\n  - 64\n", "hidden_units: [512, 512]\n")
        changes |= {"batch_normalization": "true", "batch_size": "128"}
    for key, value in changes.items():
        unreproduced.set_param(key, value)
    assert unreproduced.stage("download").returncode == 0
    assert_same_bytes(unreproduced, ["preprocess", "train", "evaluate"], emulator)
