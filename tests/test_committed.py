"""What is in git fits together: the results are those of the committed code and parameters, and good enough."""

import hashlib
import json

import pytest
import yaml

from stages.lib.params import Yaml12Loader
from tools.checkout import ROOT

LOCK = yaml.safe_load((ROOT / "dvc.lock").read_text())["stages"]
PARAMS = yaml.load((ROOT / "params.yaml").read_text(), Yaml12Loader)
IN_GIT = ("stages/", "reports/")  # data and models are in DVC's cache


@pytest.mark.parametrize("stage", LOCK)
def test_the_results_are_those_of_this_code_and_these_parameters(stage: str) -> None:
    for file in LOCK[stage]["deps"] + LOCK[stage]["outs"]:
        if file["path"].startswith(IN_GIT):
            found = hashlib.md5((ROOT / file["path"]).read_bytes()).hexdigest()
            assert found == file["md5"], f"{file['path']} has changed; run `dvc repro` and commit what it changes"
    assert LOCK[stage]["params"]["params.yaml"] == {name: PARAMS[name] for name in LOCK[stage]["params"]["params.yaml"]}


def test_every_stage_is_locked() -> None:
    assert set(LOCK) == set(yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"])


def test_the_tutorials_network_reaches_its_accuracy() -> None:
    data = json.loads((ROOT / "reports/data.json").read_text())
    metrics = json.loads((ROOT / "reports/metrics.json").read_text())
    assert {name: split["n"] for name, split in data["splits"].items()} == {
        "train": 55_000,
        "validation": 5_000,
        "test": 10_000,
    }
    assert data["title"] == "MNIST"
    assert metrics["accuracy"] >= 0.975
    assert metrics["accuracy"] == pytest.approx(1 - metrics["errors"] / 10_000)
