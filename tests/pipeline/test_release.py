"""A release: its version, and the model that others download without a clone."""

import re
import tomllib
from pathlib import Path

import pytest
import yaml
from conftest import Checkout, dvc

from mnist.core.paths import ROOT

MODEL = "models/model.keras"


def test_the_version_is_that_of_the_newest_release_in_the_changelog() -> None:
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    releases = re.findall(r"(?m)^## \[(\d+\.\d+\.\d+)\] - \d{4}-\d\d-\d\d$", (ROOT / "CHANGELOG.md").read_text())
    assert releases[0] == version
    assert "version" not in yaml.safe_load((ROOT / "CITATION.cff").read_text())


@pytest.mark.slow
def test_released_models_are_downloaded_from_a_bare_repository(checkout: Checkout, tmp_path: Path) -> None:
    hub, consumer = tmp_path / "mnist.git", tmp_path / "elsewhere"
    consumer.mkdir()
    dvc(checkout.folder, "remote", "add", "--default", "storage", str(tmp_path / "storage"))
    checkout.git("clone", "--quiet", "--bare", ".", str(hub))
    checkout.git("remote", "add", "hub", str(hub))

    def release(version: str) -> bytes:
        checkout.git("commit", "--all", "--message", f"Release {version}")
        checkout.git("tag", "--annotate", f"mnist-classifier@v{version}", "--message", f"Release {version}")
        dvc(checkout.folder, "push")
        checkout.git("push", "--quiet", "--follow-tags", "hub", "HEAD")
        return (checkout.folder / MODEL).read_bytes()

    def get(*options: str) -> bytes:
        dvc(consumer, "artifacts", "get", str(hub), "mnist-classifier", "--force", *options)
        return (consumer / "model.keras").read_bytes()

    first = release("1.0.0")
    assert get() == get("--rev", "v1.0.0") == first
    checkout.set_param("epochs", "3")
    checkout.repro()
    second = release("1.10.0")
    assert first != second
    assert get() == second  # without a version, the highest one
    assert get("--rev", "v1.0.0") == first
    (consumer / "model.keras").unlink()
    dvc(consumer, "artifacts", "get", str(checkout.folder), "mnist-classifier")  # the folder of a clone serves as well
    assert (consumer / "model.keras").read_bytes() == second
