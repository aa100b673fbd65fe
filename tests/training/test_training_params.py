"""Values of the sections train and augmentation that do not go together are refused."""

from pathlib import Path

import pytest
from conftest import BASELINE
from ruamel.yaml import YAML

from mnist.core import params
from mnist.core.errors import UserError
from mnist.core.paths import PARAMS
from mnist.training.params import read_training_params


@pytest.mark.parametrize(
    ("section", "key", "value", "message"),
    [
        ("train", "warmup_epochs", 2.0, "train.warmup_epochs is 2.0, but should be less than train.epochs, 2"),
        ("augmentation", "half_strength_epochs", 3, "half_strength_epochs is 3, but should be at most train.epochs, 2"),
    ],
)
def test_epochs_beyond_the_last_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, section: str, key: str, value: float, message: str
) -> None:
    content = YAML(typ="safe").load(PARAMS) | BASELINE
    path = tmp_path / "params.yaml"
    monkeypatch.setattr(params, "PARAMS", path)
    YAML().dump(content, path)
    assert read_training_params()[0].epochs == 2
    content[section] = content[section] | {key: value}
    YAML().dump(content, path)
    with pytest.raises(UserError, match=message):
        read_training_params()
