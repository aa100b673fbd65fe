"""A training that was ended goes on after its last epoch, to the bytes of one that was not; no other takes it up."""

import os
import signal
from pathlib import Path

import numpy as np
import pytest
from conftest import Checkout, checkpoints, copy_of, wait_until
from mnist.training.cluster import Cluster

from mnist.model.backend import keras
from mnist.training import checkpoint as module
from mnist.training.checkpoint import Checkpoint, fingerprint, identity_of

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


def ended(checkout: Checkout, how: signal.Signals) -> str:
    """Train, and end it as soon as it has a new checkpoint; return what it printed."""
    before, saved = checkout.outputs(), checkpoints(checkout)
    training = checkout.start("-m", "stages.train")
    wait_until(lambda: checkpoints(checkout) != saved, training)
    training.send_signal(how)
    printed, _ = training.communicate()
    assert training.returncode == -how
    assert checkout.outputs() == before
    return printed


@pytest.fixture(scope="module")
def killed(long_training: Checkout, tmp_path_factory: pytest.TempPathFactory) -> Checkout:
    """A checkout in which that training was killed; not to be changed."""
    checkout = copy_of(long_training, tmp_path_factory.mktemp("killed"))
    ended(checkout, signal.SIGKILL)
    return checkout


@pytest.mark.slow
def test_a_training_that_was_killed_and_then_interrupted_goes_on_to_the_same_bytes(
    killed: Checkout, undisturbed: dict[str, bytes], tmp_path: Path
) -> None:
    checkout = copy_of(killed, tmp_path)
    for printed in (ended(checkout, signal.SIGINT), checkout.stage("train").stdout):
        assert "going on after epoch" in printed
        assert "epoch 1/40:" not in printed
    assert checkout.outputs() == undisturbed
    assert not checkpoints(checkout)


@pytest.mark.slow
def test_a_training_that_failed_after_its_last_epoch_has_only_to_write_its_results(
    long_training: Checkout, undisturbed: dict[str, bytes], tmp_path: Path
) -> None:
    checkout = copy_of(long_training, tmp_path)
    last_written = checkout.folder / "reports/validation.json"
    last_written.unlink()
    last_written.mkdir()
    failed = checkout.stage("train")
    assert failed.returncode == 1
    assert failed.stderr.startswith("train: Is a directory: ")
    last_written.rmdir()
    done = checkout.stage("train")
    assert done.stdout.startswith("going on after epoch 40/40, which an earlier run had reached\ntrain: ")
    assert checkout.outputs() == undisturbed
    assert not checkpoints(checkout)


@pytest.mark.slow
@pytest.mark.parametrize("change", ["parameter", "code", "damage"])
def test_another_training_begins_anew(
    killed: Checkout, undisturbed: dict[str, bytes], tmp_path: Path, change: str
) -> None:
    checkout = copy_of(killed, tmp_path)
    if change == "parameter":
        checkout.set_param("learning_rate", "0.002")
    elif change == "code":
        checkout.edit("mnist/training/loop.py", "CALL_IMAGES = 16384", "CALL_IMAGES = 100")
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
    run = checkout.start("-m", "tools.recipe", "long")
    wait_until(lambda: checkpoints(checkout), run)
    os.killpg(run.pid, signal.SIGINT)
    run.communicate()
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
