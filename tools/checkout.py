"""A checkout as seen from outside: clone it, run git and DVC in it, describe its result."""

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from mnist.core.errors import UserError
from mnist.core.params import read_params
from mnist.core.paths import RAW, ROOT
from mnist.dataset.catalogue import DownloadParams, find_dataset


def clone_to(folder: Path) -> Path:
    """Clone the last commit to `folder`, replacing what was there; return the project's root in the clone."""
    require_commit()
    shutil.rmtree(folder, ignore_errors=True)
    top = ROOT / run_git("rev-parse", "--show-cdup")  # the project may be a sub-folder of a repository
    run_git("clone", "--quiet", "--no-local", str(top), str(folder))
    return folder / run_git("rev-parse", "--show-prefix")


def run_git(*arguments: str, env: Mapping[str, str] | None = None) -> str:
    """Run git in the checkout; return its output, stripped, UserError with its message if it fails."""
    options: Any = {"cwd": ROOT, "env": env, "capture_output": True, "encoding": "utf-8", "errors": "replace"}
    try:
        done = subprocess.run(["git", *arguments], **options)
    except FileNotFoundError:
        raise UserError("git is not installed") from None
    if done.returncode:
        raise UserError(f"git {arguments[0]}: {done.stderr.strip()}")
    return done.stdout.strip()


def git(*arguments: str) -> str | None:
    """Run git in the checkout; return its output, stripped, None if it fails or is not installed."""
    with suppress(UserError):
        return run_git(*arguments)
    return None


def require_commit() -> None:
    """Raise a UserError, with git's own remedy, if the project is not part of the last commit of a git repository."""
    try:
        run_git("cat-file", "-e", "HEAD:./dvc.yaml")
    except UserError as error:
        raise UserError(f"this needs git, with the project committed; {error}") from None


def environment(changes: Mapping[str, str] | None = None) -> dict[str, str]:
    """The environment for a pipeline in any folder, in which `python` is this interpreter, with changes."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)])
    mirror = os.environ.get("DATASET_MIRROR", "")
    absolute = {"DATASET_MIRROR": os.path.abspath(mirror)} if os.path.isdir(mirror) else {}
    return {**os.environ, "PATH": path, **absolute, **(changes or {})}


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
    """The variable with the source of the raw files for a clone: the user's, or data/raw if its files are intact."""
    if own := environment().get("DATASET_MIRROR"):
        return {"DATASET_MIRROR": own}
    published = find_dataset(read_params(DownloadParams).dataset).files
    return {"DATASET_MIRROR": str(RAW)} if all(file.matches(RAW / name) for name, file in published.items()) else {}


def set_params(folder: Path, changes: Mapping[str, Mapping[str, Any]]) -> None:
    """Change values in a clone's params.yaml, by section and key."""
    from dvc.utils.hydra import apply_overrides  # here, since `make bench` imports this module and measures memory

    pairs = [(f"{section}.{key}", value) for section, values in changes.items() for key, value in values.items()]
    apply_overrides(folder / "params.yaml", [f"{name}={json.dumps(value)}" for name, value in pairs])


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
