"""What is in git fits together: the results are those of the committed code and parameters, and good enough."""

import json

import pytest

from tools.checkout import ROOT
from tools.locked import differences


def test_dvc_lock_is_that_of_this_code_these_parameters_and_these_reports() -> None:
    assert differences() == [], "run `dvc repro` and commit what it changes"


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
