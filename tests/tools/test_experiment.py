"""Parameters of DVC experiments."""

import shutil
from pathlib import Path

import pytest
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
