"""A checkout seen from outside: clone it, run DVC in it, tell its result. It imports little, to start fast."""

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from mnist.core.params import read_yaml

ROOT = Path(__file__).resolve().parents[1]


def clone_to(folder: Path) -> None:
    """Clone the checkout's last commit to `folder`, in the place of what was there."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.parent.mkdir(parents=True, exist_ok=True)
    subprocess.run(["git", "clone", "--quiet", "--no-local", str(ROOT), str(folder)], check=True)


def git(*arguments: str) -> str | None:
    """What a git command prints, without the line's end; None if it fails."""
    done = subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, encoding="utf-8", errors="replace")
    return None if done.returncode else done.stdout.strip()


def environment(changes: Mapping[str, str] | None = None) -> dict[str, str]:
    """The environment for a pipeline: `python` is the one that runs this."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)])
    return {**os.environ, "PATH": path, **(changes or {})}


def run_dvc(*arguments: str, folder: Path = ROOT, changes: Mapping[str, str] | None = None) -> int:
    """Run DVC in a checkout, with changes to the environment; return its exit status, 130 after Ctrl-C."""
    interrupts: list[int] = []
    # Ctrl-C reaches DVC and its stage by itself, and they clean up: this process is to wait for them, not to kill them.
    before = signal.signal(signal.SIGINT, lambda number, _: interrupts.append(number))
    try:
        command = [sys.executable, "-m", "dvc", *arguments]
        status = subprocess.run(command, cwd=folder, env=environment(changes)).returncode
    finally:
        signal.signal(signal.SIGINT, before)
    return 130 if interrupts else status


def data_source() -> dict[str, str]:
    """Where a clone takes its raw files from: the checkout's, if it has them; their SHA-256 is checked either way."""
    raw = ROOT / "data/raw"
    if raw.is_dir():
        return {"DATASET_MIRROR": str(raw)}
    given = os.environ.get("DATASET_MIRROR")
    return {"DATASET_MIRROR": str(Path(given).resolve())} if given and Path(given).is_dir() else {}


def set_params(folder: Path, changes: Mapping[str, Mapping[str, Any]]) -> None:
    """Change values in a clone's params.yaml."""
    path = folder / "params.yaml"
    content = read_yaml(path)
    for section, values in changes.items():
        content[section].update(values)
    path.write_text(yaml.safe_dump(content), encoding="utf-8")


def result(metrics: Mapping[str, Any], data: Mapping[str, Any]) -> str:
    """Say in a sentence what metrics.json and data.json say of a run."""
    interval = metrics["accuracy_interval"]
    return (
        f"Test accuracy {metrics['accuracy']:.4f} (95 % interval {interval['low']:.4f} to {interval['high']:.4f}): "
        f"{metrics['errors']:,} errors in the {data['splits']['test']['n']:,} test images of {data['title']}."
    )


def summary(folder: Path) -> str:
    """Say in two lines how the pipeline in `folder` went, and where to look."""
    reports = Path(os.path.relpath(folder / "reports"))
    metrics, data = (json.loads((reports / f"{name}.json").read_text()) for name in ("metrics", "data"))
    return (
        f"\n{result(metrics, data)}\nOpen {reports}/index.html: draw a digit, look at each mistake. "
        "Change params.yaml and run it again to see what changes."
    )
