"""Shared by the tests: temporary checkouts in which the real pipeline runs on scikit-learn's digits."""

import hashlib
import json
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import yaml
from filelock import FileLock

from mnist.core.paths import ROOT
from mnist.dataset.catalogue import FILES
from mnist.dataset.digits import digits_files, gzip_stored, idx_bytes
from tools.checkout import clone_to, environment, git

ALL = list(yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"])  # the stages, in the order of a run
GIT = ["git", "-c", "user.name=test", "-c", "user.email=test@example.org"]
BASELINE = yaml.safe_load((ROOT / "tests/params.yaml").read_text())
TIMEOUT = 300  # seconds; the machine may be busy


@dataclass
class Checkout:
    """A checkout in a temporary folder."""

    folder: Path

    def set_param(self, key: str, value: str) -> None:
        """Change a value in params.yaml; comments and everything else stay."""
        path = self.folder / "params.yaml"
        text, count = re.subn(rf"(?m)^(  {key}: )\S+", rf"\g<1>{value}", path.read_text())
        assert count == 1, key
        path.write_text(text)

    def set_baseline(self) -> None:
        """Set all parameters to those of tests/params.yaml, in the notation of params.yaml; comments stay."""
        path = self.folder / "params.yaml"
        text = path.read_text()
        for section, values in BASELINE.items():
            for key, value in values.items():
                lines = (
                    "".join(f"\n  - {item}" for item in value) if isinstance(value, list) else f" {json.dumps(value)}"
                )
                lines = f" {value}" if isinstance(value, str) else lines
                pattern = rf"(?m)(^{section}:.*\n(?:(?:[ #].*)?\n)*?  {key}:)(?: [^#\n]*?)?( *#.*)?(?:\n  - .*)*$"
                text, count = re.subn(pattern, lambda found, lines=lines: f"{found[1]}{lines}{found[2] or ''}", text)
                assert count == 1, f"{section}.{key}"
        path.write_text(text)

    def edit(self, path: str, old: str, new: str) -> None:
        """Replace a text that occurs in a file."""
        text = (self.folder / path).read_text()
        assert old in text
        (self.folder / path).write_text(text.replace(old, new))

    def add_dataset(self, name: str, arrays: Iterable[np.ndarray], classes: list[str], mirror: Path) -> None:
        """Write a data set's images and labels, for training and test, to a mirror, and its file in datasets/."""
        mirror.mkdir()
        files = {}
        for file, array in zip(FILES, arrays, strict=True):
            content = gzip_stored(idx_bytes(array))
            (mirror / file).write_bytes(content)
            files[file] = {"size": len(content), "sha256": hashlib.sha256(content).hexdigest()}
        entry = {"title": name.title(), "mirrors": [str(mirror)], "files": files, "classes": classes}
        (self.folder / f"datasets/{name}.yaml").write_text(yaml.safe_dump(entry))
        self.set_param("dataset", name)

    def git(self, *arguments: str) -> None:
        subprocess.run([*GIT, *arguments], cwd=self.folder, check=True, capture_output=True)

    def run(
        self,
        *arguments: str,
        changes: dict[str, str] | None = None,
        cwd: str = ".",
        under: Sequence[str] = (),
        python: str = sys.executable,
        **options,
    ) -> subprocess.CompletedProcess[str]:
        """Run Python in the checkout, as `python` in a stage's command; `under` an emulator if one is named."""
        return subprocess.run(
            [*under, python, *arguments],
            cwd=self.folder / cwd,
            env=environment({"DATASET_MIRROR": "", **(changes or {})}),
            capture_output=True,
            text=True,
            **options,
        )

    def start(self, *arguments: str, changes: dict[str, str] | None = None) -> subprocess.Popen[str]:
        """Start Python in a process group of its own, which Ctrl-C reaches, as a shell in a terminal does."""
        return subprocess.Popen(
            [sys.executable, *arguments],
            cwd=self.folder,
            env=environment({"DATASET_MIRROR": "", **(changes or {})}),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # a shell's background jobs ignore it
        )

    def stage(self, name: str, **options) -> subprocess.CompletedProcess[str]:
        """Run one stage by hand."""
        return self.run("-m", f"stages.{name}", **options)

    def repro(self, *arguments: str, **options) -> list[str]:
        """Run `dvc repro`; return the names of the stages that ran."""
        done = self.run("-m", "dvc", "repro", *arguments, **options)
        assert done.returncode == 0, done.stdout + done.stderr
        return re.findall(r"^Running stage '(\w+)'", done.stdout, re.MULTILINE)

    def outputs(self) -> dict[str, bytes]:
        """The bytes of every output, by path."""
        folders = ("data/raw", "data/processed", "data/augmented", "models", "reports")
        files = [path for folder in folders for path in (self.folder / folder).rglob("*")]
        return {str(path.relative_to(self.folder)): path.read_bytes() for path in sorted(files) if path.is_file()}


def dvc(folder: Path, *arguments: str) -> str:
    """Run DVC in a folder; return its output."""
    done = Checkout(folder).run("-m", "dvc", *arguments)
    assert done.returncode == 0, done.stderr
    return done.stdout


def wait_until(condition: Callable[[], object], *runs: subprocess.Popen[str]) -> None:
    """Wait until a condition holds or one of the runs ends."""
    end = time.monotonic() + TIMEOUT
    while all(run.poll() is None for run in runs) and not condition():
        assert time.monotonic() < end, f"not within {TIMEOUT} s"
        time.sleep(0.01)


def changed_files() -> list[str]:
    """The files that differ from the last commit, and the new ones that git does not ignore."""
    changed = git("diff", "--name-only", "HEAD") or ""
    new = git("ls-files", "--others", "--exclude-standard") or ""
    return [*changed.splitlines(), *new.splitlines()]


@pytest.fixture(scope="session")
def make_once(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Callable:
    """A function that makes a checkout unless another process of pytest-xdist has; all share it."""
    own = tmp_path_factory.getbasetemp()
    top = own if worker_id == "master" else own.parent

    def once(name: str, make: Callable[[Checkout], None]) -> Checkout:
        checkout = Checkout(top / name)
        with FileLock(top / f"{name}.lock"):
            if not checkout.folder.exists():
                unfinished = Checkout(tmp_path_factory.mktemp(name) / "clone")
                make(unfinished)
                unfinished.folder.rename(checkout.folder)
        return checkout

    return once


@pytest.fixture(scope="session")
def fresh(make_once: Callable) -> Checkout:
    """A clone with the working tree's changes, set to the digits and two epochs, before the first run."""

    def make(checkout: Checkout) -> None:
        clone_to(checkout.folder)
        for name in changed_files():
            target = checkout.folder / name
            target.unlink(missing_ok=True)
            if (ROOT / name).exists():
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(ROOT / name, target)
        checkout.set_baseline()
        shutil.rmtree(checkout.folder / "reports")
        (checkout.folder / "dvc.lock").unlink()
        checkout.git("add", "--all")
        checkout.git("commit", "--quiet", "--message", "on the digits")

    return make_once("fresh", make)


@pytest.fixture(scope="session")
def reproduced(fresh: Checkout, make_once: Callable) -> Checkout:
    """The same after `dvc repro`, with its results committed; tests must not change it."""

    def make(checkout: Checkout) -> None:
        shutil.copytree(fresh.folder, checkout.folder)
        assert checkout.repro() == ALL
        checkout.git("add", "--all")
        checkout.git("commit", "--quiet", "--message", "results")

    return make_once("reproduced", make)


@pytest.fixture
def checkout(reproduced: Checkout, tmp_path: Path) -> Checkout:
    """A copy of the reproduced checkout, with its cache, which a test may change."""
    return copy_of(reproduced, tmp_path)


@pytest.fixture
def unreproduced(fresh: Checkout, tmp_path: Path) -> Checkout:
    """A copy of the checkout before the first run."""
    return copy_of(fresh, tmp_path)


@pytest.fixture(scope="session")
def digits_mirror(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the four files of the digits."""
    folder = tmp_path_factory.mktemp("mirror")
    for name, content in digits_files().items():
        (folder / name).write_bytes(content)
    return folder


def checkpoints(checkout: Checkout) -> dict[Path, int]:
    """The complete checkpoints of an unfinished training, with the time in ns at which each was written."""
    paths = (checkout.folder / ".checkpoints").glob("*")
    return {path: path.stat().st_mtime_ns for path in paths if not path.name.startswith(".partial-")}


def use_this_python(checkout: Checkout) -> None:
    """Let make use the Python that runs the tests, instead of setting up .venv."""
    python = checkout.folder / ".venv/bin/python"
    python.parent.mkdir(parents=True)
    python.write_text(f'#!/bin/sh\nexec "{sys.executable}" "$@"\n')
    python.chmod(0o755)
    for name in ("ready", "ready-dev"):
        (checkout.folder / ".venv" / name).touch()


def copy_of(checkout: Checkout, folder: Path) -> Checkout:
    """A copy, without the temporary files of a Python that another test runs in it at the same time."""
    ignored = shutil.ignore_patterns("*.pyc.*")
    return Checkout(Path(shutil.copytree(checkout.folder, folder / "clone", ignore=ignored)))
