"""Faults of the machine: a killed run, a full disk, two runs at once, lacking permission, a damaged cache.

The results stay whole, and the next `dvc repro` gives the bytes of an undisturbed run.
"""

import os
import random
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path

import psutil
import pytest
from conftest import ALL, TIMEOUT, Checkout, copy_of, wait_until

from mnist.dataset.catalogue import FILES
from tools.cache import outputs_of

CACHE = ".dvc/cache/files/md5"


def force(checkout: Checkout, stage: str) -> subprocess.Popen[str]:
    """Start DVC with one stage to be run, whatever it did before."""
    return checkout.start("-m", "dvc", "repro", "--force", "--single-item", stage)


def process_of(stage: str, run: subprocess.Popen[str]) -> psutil.Process | None:
    """The stage's own process, which is the run or was started by it."""
    with suppress(psutil.NoSuchProcess):
        process = psutil.Process(run.pid)
        for each in (process, *process.children(recursive=True)):
            with suppress(psutil.NoSuchProcess):
                if each.cmdline()[-2:] == ["-m", f"stages.{stage}"]:
                    return each
    return None


def ended(run: subprocess.Popen[str]) -> str:
    """What the run has said, once every process of it is gone."""
    return "".join(run.communicate(timeout=TIMEOUT))


def last_changes(checkout: Checkout) -> dict[Path, int]:
    """When a file was last created, replaced or deleted in each folder of outputs."""
    folders = [path for top in ("data", "models", "reports") for path in (checkout.folder / top).glob("**/")]
    return {path: path.stat().st_mtime_ns for path in folders}


def cached(checkout: Checkout, stage: str) -> dict[str, Path]:
    """Where DVC's cache has the content of each output of a stage."""
    outputs = outputs_of(checkout.folder / "dvc.lock")[stage]
    return {path: checkout.folder / CACHE / md5[:2] / md5[2:] for path, md5 in outputs.items()}


def forget(checkout: Checkout, stage: str) -> None:
    """Delete from DVC's cache what would spare it the work of a stage."""
    shutil.rmtree(checkout.folder / ".dvc/cache/runs")
    for path in cached(checkout, stage).values():
        path.unlink(missing_ok=True)


def partial(path: str) -> bool:
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
        wait_until(lambda: process_of(self.stage, self.run), self.run)

    def writes(self) -> None:
        """Something that it writes is there, be it half-written."""
        self.begins()
        before = last_changes(self.checkout)
        wait_until(lambda: last_changes(self.checkout) != before, self.run)

    def works(self) -> None:
        """Some time has passed, too short or too long for it to be finished."""
        self.begins()
        time.sleep(self.random.uniform(0, 3))


def kill_all(stage: str, run: subprocess.Popen[str]) -> None:
    with suppress(ProcessLookupError):
        os.killpg(run.pid, signal.SIGKILL)


def kill_stage(stage: str, run: subprocess.Popen[str]) -> None:
    with suppress(psutil.NoSuchProcess):
        if process := process_of(stage, run):
            process.kill()


def interrupt(stage: str, run: subprocess.Popen[str]) -> None:
    with suppress(ProcessLookupError):
        os.killpg(run.pid, signal.SIGINT)


DISTURBANCES = [
    (kill_all, Moments.works),
    (kill_all, Moments.writes),
    (kill_stage, Moments.begins),
    (kill_stage, Moments.works),
    (interrupt, Moments.begins),
    (interrupt, Moments.writes),
]


@pytest.mark.slow
@pytest.mark.parametrize("stage", ALL)
def test_a_stage_disturbed_again_and_again_gives_the_same_bytes_in_the_end(checkout: Checkout, stage: str) -> None:
    before, lock = checkout.outputs(), (checkout.folder / "dvc.lock").read_bytes()
    for disturb, moment in DISTURBANCES:
        left_by_kills = set(filter(partial, checkout.outputs()))
        run = force(checkout, stage)
        moment(Moments(checkout, stage, run, f"{stage} {disturb.__name__}"))
        disturb(stage, run)
        said = ended(run)
        assert run.returncode or moment is Moments.works, said
        if disturb is interrupt:
            assert left_by_kills.issuperset(filter(partial, checkout.outputs())), said
    forget(checkout, stage)
    finished = whole(checkout) == before  # the last interruption came too late
    ran = checkout.repro()
    assert ran == [stage] or (finished and not ran)
    assert checkout.outputs() == before
    assert (checkout.folder / "dvc.lock").read_bytes() == lock


@pytest.mark.slow
@pytest.mark.parametrize("stage", ALL)
def test_what_a_killed_stage_had_written_before_comes_back_from_cache_and_git(checkout: Checkout, stage: str) -> None:
    before = checkout.outputs()
    run = force(checkout, stage)
    Moments(checkout, stage, run, stage).begins()
    kill_all(stage, run)
    ended(run)
    assert whole(checkout) != before  # DVC takes the old results away before it runs a stage
    done = checkout.run("-m", "dvc", "checkout")
    assert done.returncode == 0, done.stderr
    checkout.git("restore", "reports")
    assert whole(checkout) == before
    assert checkout.repro() == []


CHANGED = {"preprocess": ("validation_size", "201"), "train": ("epochs", "3"), "plot": ("examples", "7")}


@pytest.mark.slow
@pytest.mark.parametrize("stage", ALL)
def test_by_hand_each_earlier_result_stands_until_the_new_one_is_whole(checkout: Checkout, stage: str) -> None:
    if stage in CHANGED:
        checkout.set_param(*CHANGED[stage])
    if stage == "download":
        damage(checkout.folder / "data/raw" / FILES[0])
    before = checkout.outputs()
    run = checkout.start("-m", f"stages.{stage}")
    Moments(checkout, stage, run, stage).writes()
    kill_all(stage, run)
    ended(run)
    after = whole(checkout)
    assert checkout.stage(stage).returncode == 0
    new = checkout.outputs()
    assert set(after) == set(before) == set(new)
    assert all(content in (before[path], new[path]) for path, content in after.items())


def damage(path: Path) -> None:
    """Replace a file, keeping that it may not be written, as DVC leaves what it looks after."""
    mode = path.stat().st_mode
    path.unlink()
    path.write_bytes(b"damaged")
    path.chmod(mode)


@pytest.fixture
def small_disk(reproduced: Checkout, tmp_path: Path) -> Iterator[Checkout]:
    """A copy of the reproduced checkout on a disk of its own of 64 MB."""
    command = ["mount", "-t", "tmpfs", "-o", "size=64m", "tmpfs", str(tmp_path)]
    if subprocess.run(command, capture_output=True).returncode:
        pytest.skip("this user may not mount a disk; test_mistakes.py tries it with a limit on the size of files")
    yield copy_of(reproduced, tmp_path)
    subprocess.run(["umount", str(tmp_path)], check=True)


def write_splits(checkout: Checkout, room: int = 0) -> Path:
    """Fill the disk with a file, but for some room."""
    ballast = checkout.folder / "ballast"
    with suppress(OSError), ballast.open("wb", buffering=0) as file:
        while True:
            file.write(bytes(4096))
    os.truncate(ballast, ballast.stat().st_size - room)
    return ballast


@pytest.mark.slow
@pytest.mark.parametrize("stage", ALL)
def test_a_full_disk_is_said_and_the_earlier_results_stand(small_disk: Checkout, stage: str) -> None:
    before = small_disk.outputs()
    if stage == "download":
        damage(small_disk.folder / "data/raw" / FILES[0])
    ballast = write_splits(small_disk)
    full = small_disk.outputs()
    done = small_disk.stage(stage)
    assert done.returncode == 1
    assert re.fullmatch(rf"{stage}: No space left on device: .*\n", done.stderr), done.stderr
    assert small_disk.outputs() == full
    ballast.unlink()
    assert small_disk.stage(stage).returncode == 0
    assert small_disk.outputs() == before


@pytest.mark.slow
@pytest.mark.parametrize("room", [0, 30_000, 300_000])
def test_under_dvc_a_full_disk_is_said_and_the_run_completes_when_there_is_room(
    small_disk: Checkout, room: int
) -> None:
    before = small_disk.outputs()
    forget(small_disk, "preprocess")
    ballast = write_splits(small_disk, room)
    run = force(small_disk, "preprocess")
    said = ended(run)
    assert run.returncode
    assert re.search(r"No space left on device|Unable to read RWLock-file '\.dvc/tmp/rwlock'", said), said
    ballast.unlink()
    if room == 0:
        (small_disk.folder / ".dvc/tmp/rwlock").unlink()  # which DVC has half-written, and cannot read again
    assert small_disk.repro() == ["preprocess"]
    assert small_disk.outputs() == before


@pytest.mark.slow
@pytest.mark.parametrize("stage", ["download", "train"])
def test_of_two_runs_at_once_one_says_that_it_is_blocked(checkout: Checkout, stage: str) -> None:
    before = checkout.outputs()
    runs = [checkout.start("-m", "dvc", "repro", "--force", "train")]
    Moments(checkout, stage, runs[0], stage).begins()
    runs.append(checkout.start("-m", "dvc", "repro", "--force", "train"))
    first, second = map(ended, runs)
    assert runs[0].returncode == 0 or "is busy, it is being blocked by" in first, first
    assert runs[1].returncode == 0 or "is busy, it is being blocked by" in second, second
    assert "Traceback" not in first + second
    checkout.repro()
    assert checkout.outputs() == before


WITHOUT_ROOTS_RIGHTS = [
    "setpriv",
    "--bounding-set=-dac_override,-dac_read_search",
    "--inh-caps=-dac_override,-dac_read_search",
    "--",
]


@pytest.mark.skipif(not shutil.which("setpriv"), reason="needs setpriv")
@pytest.mark.parametrize(
    ("stage", "path", "mode", "named"),
    [
        ("preprocess", "reports", 0o555, "reports/.partial-data.json"),
        ("report", "reports", 0o555, "reports/.partial-index.html"),
        ("plot", "data/processed/test_images.npy", 0o000, "data/processed/test_images.npy"),
        ("plot", "params.yaml", 0o000, "params.yaml"),
    ],
)
def test_missing_permission_is_said(checkout: Checkout, stage: str, path: str, mode: int, named: str) -> None:
    under: Sequence[str] = WITHOUT_ROOTS_RIGHTS if os.geteuid() == 0 else ()
    before = checkout.outputs()
    (checkout.folder / path).chmod(mode)
    done = checkout.stage(stage, under=under)
    (checkout.folder / path).chmod(0o755)
    assert done.returncode == 1
    assert done.stderr == f"{stage}: Permission denied: {checkout.folder / named}\n"
    assert checkout.outputs() == before


@pytest.mark.slow
@pytest.mark.skipif(not shutil.which("setpriv"), reason="needs setpriv")
@pytest.mark.parametrize("path", ["data/processed", CACHE])
def test_under_dvc_missing_permission_is_said_and_the_run_completes_when_it_is_there(
    checkout: Checkout, path: str
) -> None:
    under: Sequence[str] = WITHOUT_ROOTS_RIGHTS if os.geteuid() == 0 else ()
    before = checkout.outputs()
    folder = checkout.folder / path
    forget(checkout, "preprocess")
    folders = list(folder.glob("**/"))
    for each in folders:
        each.chmod(0o555)
    done = checkout.run("-m", "dvc", "repro", "--force", "--single-item", "preprocess", under=under)
    for each in folders:
        each.chmod(0o755)
    assert done.returncode
    assert f"Permission denied: '{folder}" in done.stderr
    assert checkout.repro() == ["preprocess"]
    assert checkout.outputs() == before


@pytest.mark.slow
@pytest.mark.parametrize("fault", ["deleted", "damaged"])
def test_a_file_that_the_cache_lost_is_made_again(checkout: Checkout, fault: str) -> None:
    before = checkout.outputs()
    model = "models/model.keras"
    copy = cached(checkout, "train")[model]
    copy.chmod(0o644)  # as after any way of writing that does not take pains; DVC trusts what may not be written
    copy.write_bytes(b"damaged")
    if fault == "deleted":
        copy.unlink()
    (checkout.folder / model).unlink()
    assert checkout.repro() == ["train"]
    assert checkout.outputs() == before
