"""An interrupted training resumes after its last epoch, to the bytes of an undisturbed one; no other training does."""

import os
import signal
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from conftest import Checkout, checkpoints, copy_of, wait_until
from small import DATA, IMAGES, LABELS, small_training

from mnist.model.backend import keras
from mnist.training import checkpoint as module
from mnist.training.checkpoint import Checkpoint, fingerprint

EVERYTHING = {"batch_normalization": "true", "dropout": "0.1", "rotation": "15.0", "schedule": "cosine"}


@pytest.fixture(scope="module")
def long_training(reproduced: Checkout, tmp_path_factory: pytest.TempPathFactory) -> Checkout:
    """A checkout set to train 40 epochs with everything that has a state, not trained yet."""
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


def stop_training(checkout: Checkout, how: signal.Signals) -> str:
    """Train until there is a new checkpoint, and stop; return the output."""
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
    """A checkout in which that training was killed; read-only."""
    checkout = copy_of(long_training, tmp_path_factory.mktemp("killed"))
    stop_training(checkout, signal.SIGKILL)
    return checkout


@pytest.mark.slow
def test_a_killed_and_then_interrupted_training_resumes_to_the_same_bytes(
    killed: Checkout, undisturbed: dict[str, bytes], tmp_path: Path
) -> None:
    checkout = copy_of(killed, tmp_path)
    for printed in (stop_training(checkout, signal.SIGINT), checkout.stage("train").stdout):
        assert "resuming after epoch" in printed
        assert "epoch 1/40:" not in printed
    assert checkout.outputs() == undisturbed
    assert not checkpoints(checkout)


@pytest.mark.slow
def test_after_a_failure_to_write_results_no_epoch_is_trained_again(
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
    assert done.stdout.startswith("resuming after epoch 40/40\ntrain: ")
    assert checkout.outputs() == undisturbed
    assert not checkpoints(checkout)


@pytest.mark.slow
@pytest.mark.parametrize("change", ["parameter", "code", "corruption"])
def test_another_training_starts_from_the_beginning(
    killed: Checkout, undisturbed: dict[str, bytes], tmp_path: Path, change: str
) -> None:
    checkout = copy_of(killed, tmp_path)
    if change == "parameter":
        checkout.set_param("learning_rate", "0.002")
    elif change == "code":
        checkout.edit("mnist/training/fit.py", "CALL_IMAGES = 16384", "CALL_IMAGES = 100")
    else:
        [path] = checkpoints(checkout)
        content = bytearray(path.read_bytes())
        content[len(content) // 2] ^= 1
        path.write_bytes(content)
    done = checkout.stage("train")
    assert done.returncode == 0, done.stderr
    assert "epoch 1/40:" in done.stdout
    if change == "corruption":
        assert "is corrupt" in done.stderr
        assert checkout.outputs() == undisturbed


@pytest.mark.slow
def test_an_interrupted_recipe_resumes(long_training: Checkout, tmp_path: Path) -> None:
    """DVC deletes its temporary folder; the checkpoint is elsewhere."""
    checkout = copy_of(long_training, tmp_path)
    checkout.git("commit", "--all", "--quiet", "--message", "long")
    (checkout.folder / "recipes/long.yaml").write_text("# Longer.\ntrain:\n  epochs: 300\n")
    run = checkout.start("-m", "tools.recipe", "long")
    wait_until(lambda: checkpoints(checkout), run)
    os.killpg(run.pid, signal.SIGINT)
    run.communicate()
    assert checkpoints(checkout)
    done = checkout.run("-m", "tools.recipe", "long")
    assert "resuming after epoch" in done.stdout
    assert not checkpoints(checkout)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(module, "CHECKPOINTS", tmp_path)
    return tmp_path


def variables(value: float) -> list[keras.Variable]:
    state = keras.random.SeedGenerator(5)
    state.next()
    return [keras.Variable(np.full((3, 2), value, np.float32)), keras.Variable(7, dtype="int64"), state.state]


def test_every_bit_is_restored(folder: Path) -> None:
    saved, loaded = variables(0.1), variables(0.2)
    history = [[1 / 3, 0.1], [2e-9, 1e9]]
    Checkpoint(b"identity", saved).save(history)
    loaded[1].assign(0)
    assert Checkpoint(b"identity", loaded).load() == history
    for mine, theirs in zip(loaded, saved, strict=True):
        np.testing.assert_array_equal(mine.numpy(), theirs.numpy())
        assert mine.dtype == theirs.dtype
    assert Checkpoint(b"another", loaded).load() == []


def test_a_corrupt_file_is_reported_and_ignored(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    checkpoint = Checkpoint(b"identity", variables(0.1))
    checkpoint.save([[1.0]])
    content = checkpoint.path.read_bytes()
    rng = np.random.default_rng(0)
    refused = 0
    for _ in range(300):
        corrupt = bytearray(content[: rng.integers(len(content))] if rng.random() < 0.3 else content)
        for place in rng.integers(max(1, len(corrupt)), size=3 if corrupt else 0):
            corrupt[place] ^= rng.integers(1, 256)
        checkpoint.path.write_bytes(corrupt)
        history = checkpoint.load()
        refused += "is corrupt" in capsys.readouterr().err
        assert history in ([], [[1.0]])
    assert refused > 250
    checkpoint.delete()
    assert checkpoint.load() == []
    assert not list(folder.iterdir())


def test_the_checkpoint_depends_on_everything_that_decides_the_training(folder: Path) -> None:
    trainings = [
        small_training(),
        small_training(seed=8),
        small_training(IMAGES + 1),
        small_training(labels=LABELS[::-1]),
        small_training(data=replace(DATA, image_shape=(5, 4))),
        small_training(data=replace(DATA, classes=["a", "b", "c", "d"])),
    ]
    assert len({training.make_checkpoint().path for training in trainings}) == 6
    assert small_training().make_checkpoint().path == trainings[0].make_checkpoint().path


def test_a_fingerprint_depends_on_values_not_on_memory_layout() -> None:
    array = np.arange(6, dtype=np.float32).reshape(3, 2)
    assert fingerprint("ab", "c") != fingerprint("a", "bc")
    assert fingerprint(array) == fingerprint(np.asfortranarray(array))
    assert fingerprint(array) != fingerprint(array + 1)
