"""Parameters of DVC experiments, and experiments whose processes were killed."""

import os
import shutil
import signal
from pathlib import Path

import pytest
from conftest import TIMEOUT, Checkout
from dvc.utils.hydra import apply_overrides

from mnist.core.params import read_yaml
from mnist.core.paths import PARAMS
from tools.experiment import set_param


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("train.hidden_units", []),
        ("train.hidden_units", [1024, 1024]),
        ("train.learning_rate", 1e-05),
        ("train.learning_rate", 1),
        ("train.activation", "gelu"),
        ("train.activation", "no, 'a' = \"b\""),
        ("train.activation", "10"),
        ("train.epochs", True),
    ],
)
def test_dvc_sets_a_parameter_to_the_exact_value(tmp_path: Path, key: str, value: object) -> None:
    path = Path(shutil.copy(PARAMS, tmp_path))
    expected = read_yaml(path)
    section, name = key.split(".")
    expected[section][name] = value
    apply_overrides(path, [set_param(key, value)])
    found = read_yaml(path)
    assert found == expected
    assert type(found[section][name]) is type(value)


@pytest.mark.slow
def test_a_killed_recipe_keeps_the_earlier_result_and_is_cleared_by_the_next(checkout: Checkout) -> None:
    path = checkout.folder / "recipes/mine.yaml"
    path.write_text("plot: {examples: 7}\n")
    assert checkout.run("-m", "tools.recipe", "mine").returncode == 0
    shown = experiments(checkout)
    assert "Running" not in shown

    path.write_text("train: {epochs: 10000, hidden_units: [1024]}\n")
    with checkout.start("-u", "-m", "tools.recipe", "mine") as run:
        assert run.stdout is not None
        while not (line := run.stdout.readline()).startswith("epoch 2/"):
            assert line, "the recipe ended without training"
        (checkout.folder / "recipes/other.yaml").write_text("train: {epoch: 1}\n")  # DVC refuses it
        checkout.run("-m", "tools.recipe", "other")
        assert "Running" in experiments(checkout)  # an experiment that does run is not cleared
        os.killpg(run.pid, signal.SIGTERM)
        run.wait(TIMEOUT)
    assert "Running" in experiments(checkout)
    checkout.run("-m", "tools.recipe", "other")
    assert experiments(checkout) == shown


def experiments(checkout: Checkout) -> str:
    """The table of experiments, as CSV."""
    done = checkout.run(
        "-m", "dvc", "exp", "show", "--hide-workspace", "--csv", "--drop", ".*", "--keep", "Experiment|State"
    )
    assert done.returncode == 0, done.stderr
    return done.stdout
