"""A checkout as seen from outside: clone it, run git and DVC in it, describe its result."""

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import yaml

from mnist.core.params import read_yaml

ROOT = Path(__file__).resolve().parents[1]


def clone_to(folder: Path) -> None:
    """Clone the checkout's last commit to `folder`, replacing what was there."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.parent.mkdir(parents=True, exist_ok=True)
    subprocess.run(["git", "clone", "--quiet", "--no-local", str(ROOT), str(folder)], check=True)


def git(*arguments: str, env: Mapping[str, str] | None = None) -> str | None:
    """Run git in the checkout; return its output without the final newline, None if it fails."""
    options: Any = {"cwd": ROOT, "env": env, "capture_output": True, "encoding": "utf-8", "errors": "replace"}
    done = subprocess.run(["git", *arguments], **options)
    return None if done.returncode else done.stdout.strip()


def environment(changes: Mapping[str, str] | None = None) -> dict[str, str]:
    """The environment for a pipeline, in which `python` is this interpreter, with changes."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)])
    return {**os.environ, "PATH": path, **(changes or {})}


def run_dvc(*arguments: str, folder: Path = ROOT, changes: Mapping[str, str] | None = None) -> int:
    """Run DVC in a checkout, with changes to the environment; return its exit status, 130 after Ctrl-C."""
    interrupts: list[int] = []
    # Ctrl-C reaches DVC and its stage directly, and they clean up; this process should wait for them, not kill them.
    before = signal.signal(signal.SIGINT, lambda number, _: interrupts.append(number))
    try:
        command = [sys.executable, "-m", "dvc", *arguments]
        status = subprocess.run(command, cwd=folder, env=environment(changes)).returncode
    finally:
        signal.signal(signal.SIGINT, before)
    return 130 if interrupts else status


def data_source() -> dict[str, str]:
    """The variable with a local folder of raw files, which the download stage of a clone tries first and checks."""
    for folder in (os.environ.get("DATASET_MIRROR", ""), str(ROOT / "data/raw")):
        if os.path.isdir(folder):
            return {"DATASET_MIRROR": os.path.abspath(folder)}
    return {}


def set_params(folder: Path, changes: Mapping[str, Mapping[str, Any]]) -> None:
    """Change values in a clone's params.yaml, by section and key."""
    path = folder / "params.yaml"
    content = read_yaml(path)
    for section, values in changes.items():
        content[section].update(values)
    path.write_text(yaml.safe_dump(content), encoding="utf-8")


def describe_result(read: Callable[[str], str]) -> str:
    """Describe a run in one sentence; `read` returns the text of one of its files."""
    metrics, data = (json.loads(read(f"reports/{name}.json")) for name in ("metrics", "data"))
    interval = metrics["accuracy_interval"]
    return (
        f"Test accuracy {metrics['accuracy']:.4f} (95 % interval {interval['low']:.4f} to {interval['high']:.4f}): "
        f"{metrics['errors']:,} errors in the {data['splits']['test']['n']:,} test images of {data['title']}."
    )


def summary(folder: Path) -> str:
    """Describe the result of the pipeline in `folder`, and how to explore it."""
    result = describe_result(lambda path: (folder / path).read_text())
    page = f"Open {os.path.relpath(folder / 'reports/index.html')}: draw a digit, look at each mistake."
    return f"\n{result}\n{page} Change params.yaml and run it again to see what changes."
