"""A training that was ended goes on after its last epoch, to the bytes of one that was not; no other takes it up."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from conftest import Checkout, checkpoints, copy_of

from stages.lib import checkpoint as module
from stages.lib.backend import keras
from stages.lib.checkpoint import Checkpoint, fingerprint, identity_of
from stages.lib.cluster import Cluster
from tools.checkout import environment

EVERYTHING = {"batch_normalization": "true", "dropout": "0.1", "rotation": "15.0", "schedule": "cosine"}


@pytest.fixture(scope="module")
def long_training(reproduced: Checkout, tmp_path_factory: pytest.TempPathFactory) -> Checkout:
    """A checkout that is to train 40 epochs with all that has a state, not trained yet."""
    checkout = copy_of(reproduced, tmp_path_factory.mktemp("long"))
    for key, value in {**EVERYTHING, "epochs": "40"}.items():
        checkout.set_param(key, value)
    return checkout


@pytest.fixture(scope="module")
def undisturbed(long_training: Checkout, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """The outputs of that training."""
    checkout = copy_of(long_training, tmp_path_factory.mktemp("undisturbed"))
    assert checkout.stage("train").returncode == 0
    return checkout.outputs()


def ended(checkout: Checkout, how: signal.Signals) -> None:
    """Train, and end it as soon as it has a checkpoint."""
    before = checkout.outputs()
    process = subprocess.Popen(
        [sys.executable, "-m", "stages.train"], cwd=checkout.folder, env=environment(), stdout=subprocess.DEVNULL
    )
    while not checkpoints(checkout):
        assert process.poll() is None
        time.sleep(0.01)
    process.send_signal(how)
    assert process.wait() == (130 if how == signal.SIGINT else -how)
    assert checkout.outputs() == before


@pytest.mark.slow
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
def test_a_training_that_was_ended_goes_on_to_the_same_bytes(
    long_training: Checkout, undisturbed: dict[str, bytes], tmp_path: Path, how: signal.Signals
) -> None:
    checkout = copy_of(long_training, tmp_path)
    ended(checkout, how)
    done = checkout.stage("train")
    assert "going on after epoch" in done.stdout
    assert "epoch 1/40:" not in done.stdout
    assert checkout.outputs() == undisturbed
    assert not checkpoints(checkout)


@pytest.mark.slow
@pytest.mark.parametrize("change", ["parameter", "code", "damage"])
def test_another_training_begins_anew(
    long_training: Checkout, undisturbed: dict[str, bytes], tmp_path: Path, change: str
) -> None:
    checkout = copy_of(long_training, tmp_path)
    ended(checkout, signal.SIGKILL)
    if change == "parameter":
        checkout.set_param("learning_rate", "0.002")
    elif change == "code":
        checkout.edit("stages/lib/training.py", "CALL_IMAGES = 16384", "CALL_IMAGES = 100")
    else:
        [path] = checkpoints(checkout)
        content = bytearray(path.read_bytes())
        content[len(content) // 2] ^= 1
        path.write_bytes(content)
    done = checkout.stage("train")
    assert done.returncode == 0, done.stderr
    assert "epoch 1/40:" in done.stdout
    if change == "damage":
        assert "is damaged" in done.stderr
        assert checkout.outputs() == undisturbed


@pytest.mark.slow
def test_a_recipe_that_was_ended_goes_on(long_training: Checkout, tmp_path: Path) -> None:
    """Its folder of DVC's is gone with it; the checkpoint is not."""
    checkout = copy_of(long_training, tmp_path)
    checkout.git("commit", "--all", "--quiet", "--message", "long")
    (checkout.folder / "recipes/long.yaml").write_text("# Longer.\ntrain:\n  epochs: 300\n")
    process = subprocess.Popen(
        [sys.executable, "-m", "tools.recipe", "long"],
        cwd=checkout.folder,
        env=environment(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    while not checkpoints(checkout):
        assert process.poll() is None
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGINT)
    process.wait()
    assert checkpoints(checkout)
    done = checkout.run("-m", "tools.recipe", "long")
    assert "going on after epoch" in done.stdout
    assert not checkpoints(checkout)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(module, "CHECKPOINTS", tmp_path)
    return tmp_path


def variables(value: float) -> list[keras.Variable]:
    state = keras.random.SeedGenerator(5)
    state.next()
    return [keras.Variable(np.full((3, 2), value, np.float32)), keras.Variable(7, dtype="int64"), state.state]


def test_it_gives_back_each_bit(folder: Path) -> None:
    saved, loaded = variables(0.1), variables(0.2)
    history = [[1 / 3, 0.1], [2e-9, 1e9]]
    Checkpoint(b"identity", saved, Cluster()).save(history)
    loaded[1].assign(0)
    assert Checkpoint(b"identity", loaded, Cluster()).load() == history
    for mine, theirs in zip(loaded, saved, strict=True):
        np.testing.assert_array_equal(mine.numpy(), theirs.numpy())
        assert mine.dtype == theirs.dtype
    assert Checkpoint(b"another", loaded, Cluster()).load() == []


def test_any_damage_is_said_and_begins_anew(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    checkpoint = Checkpoint(b"identity", variables(0.1), Cluster())
    checkpoint.save([[1.0]])
    content = checkpoint.path.read_bytes()
    rng = np.random.default_rng(0)
    refused = 0
    for _ in range(300):
        damaged = bytearray(content[: rng.integers(len(content))] if rng.random() < 0.3 else content)
        for place in rng.integers(max(1, len(damaged)), size=3 if damaged else 0):
            damaged[place] ^= rng.integers(1, 256)
        checkpoint.path.write_bytes(damaged)
        history = checkpoint.load()
        refused += "is damaged" in capsys.readouterr().err
        assert history in ([], [[1.0]])
    assert refused > 250
    checkpoint.delete()
    assert checkpoint.load() == []
    assert not list(folder.iterdir())


def test_a_training_is_known_by_all_that_decides_it() -> None:
    data = [np.arange(6, dtype=np.float32).reshape(3, 2), np.arange(3, dtype=np.uint8)]
    identities = {
        identity_of(decided_by, arrays, Cluster())
        for decided_by in (("a", 1), ("a", 2), ("b", 1))
        for arrays in (data, [data[0] + 1, data[1]], [data[0], data[1] + 1], data[:1])
    }
    assert len(identities) == 12
    assert fingerprint("ab", "c") != fingerprint("a", "bc")
    assert fingerprint(data[0]) == fingerprint(np.asfortranarray(data[0]))
