"""Faults of the machine: a killed run, a full disk, two runs at once, lacking permission, a damaged cache.

The results stay whole, and the next `dvc repro` gives the bytes of an undisturbed run.
"""

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import psutil
import pytest
from conftest import ALL, Checkout

from tools.checkout import environment

TIMEOUT = 300  # seconds; a machine that does other things, too, may be slow
CACHE = ".dvc/cache/files/md5"


def start(checkout: Checkout, *arguments: str) -> subprocess.Popen[str]:
    """Start Python as a shell in a terminal does: in a process group of its own, which Ctrl-C reaches."""
    return subprocess.Popen(
        [sys.executable, *arguments],
        cwd=checkout.folder,
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )


def force(checkout: Checkout, stage: str) -> subprocess.Popen[str]:
    """Start DVC with one stage to be run, whatever it did before."""
    return start(checkout, "-m", "dvc", "repro", "--force", "--single-item", stage)


def process_of(stage: str, run: subprocess.Popen[str]) -> psutil.Process | None:
    """The stage's own process, which is the run or was started by it."""
    with suppress(psutil.NoSuchProcess):
        process = psutil.Process(run.pid)
        for each in (process, *process.children(recursive=True)):
            with suppress(psutil.NoSuchProcess):
                if each.cmdline()[-2:] == ["-m", f"stages.{stage}"]:
                    return each
    return None


def wait(run: subprocess.Popen[str], condition: Callable[[], object]) -> None:
    """Wait until a condition holds, or the run is over."""
    end = time.monotonic() + TIMEOUT
    while run.poll() is None and not condition() and time.monotonic() < end:
        time.sleep(0.002)


def ended(run: subprocess.Popen[str]) -> str:
    """What the run has said, once every process of it is gone."""
    return run.communicate(timeout=TIMEOUT)[0]


def files(checkout: Checkout) -> list[Path]:
    return [path for top in ("data", "models", "reports") for path in (checkout.folder / top).rglob("*")]


def partial(path: str | Path) -> bool:
    return Path(path).name.startswith(".partial-")


def whole(checkout: Checkout) -> dict[str, bytes]:
    """The outputs, without what a killed process left behind."""
    return {path: content for path, content in checkout.outputs().items() if not partial(path)}


class Moments:
    """When to disturb a run of a stage."""

    def __init__(self, checkout: Checkout, stage: str, run: subprocess.Popen[str], seed: str) -> None:
        self.checkout, self.stage, self.run = checkout, stage, run
        self.random = random.Random(seed)

    def begins(self) -> None:
        """Its process is there."""
        wait(self.run, lambda: process_of(self.stage, self.run))

    def writes(self) -> None:
        """Something that it writes is there, be it half-written."""
        self.begins()
        there = set(files(self.checkout))
        wait(self.run, lambda: set(files(self.checkout)) - there)

    def works(self) -> None:
        """Some time has passed, too short or too long for it to be finished."""
        self.begins()
        time.sleep(self.random.uniform(0, 3))


def kill_all(stage: str, run: subprocess.Popen[str]) -> None:
    os.killpg(run.pid, signal.SIGKILL)


def kill_stage(stage: str, run: subprocess.Popen[str]) -> None:
    if process := process_of(stage, run):
        process.kill()


def interrupt(stage: str, run: subprocess.Popen[str]) -> None:
    os.killpg(run.pid, signal.SIGINT)


@pytest.mark.slow
@pytest.mark.parametrize("disturb", [kill_all, kill_stage, interrupt])
@pytest.mark.parametrize("stage", ALL)
def test_a_disturbed_stage_gives_the_same_bytes_in_the_next_run(
    checkout: Checkout, stage: str, disturb: Callable[[str, subprocess.Popen[str]], None]
) -> None:
    before, lock = checkout.outputs(), (checkout.folder / "dvc.lock").read_bytes()
    shutil.rmtree(checkout.folder / ".dvc/cache")  # so that the next run has to do the work
    for moment in (Moments.works, Moments.begins, Moments.writes):
        run = force(checkout, stage)
        moment(Moments(checkout, stage, run, f"{stage} {disturb.__name__}"))
        with suppress(ProcessLookupError):
            disturb(stage, run)
        said = ended(run)
        assert run.returncode or moment is Moments.works, said
        if disturb is interrupt:
            assert not any(map(partial, files(checkout))), said
    checkout.repro()
    assert checkout.outputs() == before
    assert (checkout.folder / "dvc.lock").read_bytes() == lock
