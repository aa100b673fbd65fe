"""Faults of the machine: a killed run, a full disk, two runs at once, missing permissions, a corrupt cache.

No result is half-written, and the next `dvc repro` gives the bytes of an undisturbed run.
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

from mnist.core.paths import ROOT
from mnist.dataset.catalogue import FILES
from tools.cache import outputs_of

CACHE = ".dvc/cache/files/md5"


def force(checkout: Checkout, stage: str) -> subprocess.Popen[str]:
    """Start `dvc repro` of one stage, even if nothing has changed."""
    return checkout.start("-m", "dvc", "repro", "--force", "--single-item", stage)


def process_of(stage: str, run: subprocess.Popen[str]) -> psutil.Process | None:
    """The process of a stage: the run itself or a descendant."""
    with suppress(psutil.NoSuchProcess):
        process = psutil.Process(run.pid)
        for each in (process, *process.children(recursive=True)):
            with suppress(psutil.NoSuchProcess):
                if each.cmdline()[-2:] == ["-m", f"stages.{stage}"]:
                    return each
    return None


def finish(run: subprocess.Popen[str]) -> str:
    """Wait for the end of a run and all its processes; return its output."""
    return "".join(run.communicate(timeout=TIMEOUT))


def last_changes(checkout: Checkout) -> dict[Path, int]:
    """When a file was last created, replaced or deleted in each folder of outputs."""
    folders = [path for top in ("data", "models", "reports") for path in (checkout.folder / top).glob("**/")]
    return {path: path.stat().st_mtime_ns for path in folders}


def cached(checkout: Checkout, stage: str) -> dict[str, Path]:
    """The file in DVC's cache of each output of a stage."""
    outputs = outputs_of(checkout.folder / "dvc.lock")[stage]
    return {path: checkout.folder / CACHE / md5[:2] / md5[2:] for path, md5 in outputs.items()}


def forget(checkout: Checkout, stage: str) -> None:
    """Delete a stage's outputs and all runs from DVC's cache, so that the stage must run again."""
    shutil.rmtree(checkout.folder / ".dvc/cache/runs")
    for path in cached(checkout, stage).values():
        path.unlink(missing_ok=True)


def is_partial(path: str) -> bool:
    return Path(path).name.startswith(".partial-")


def complete_outputs(checkout: Checkout) -> dict[str, bytes]:
    """The outputs, without the temporary files of killed processes."""
    return {path: content for path, content in checkout.outputs().items() if not is_partial(path)}


class Moments:
    """The moments at which a run of a stage is disturbed."""

    def __init__(self, checkout: Checkout, stage: str, run: subprocess.Popen[str], seed: str) -> None:
        self.checkout, self.stage, self.run = checkout, stage, run
        self.random = random.Random(seed)

    def after_start(self) -> None:
        """Its process has started."""
        wait_until(lambda: process_of(self.stage, self.run), self.run)

    def after_first_write(self) -> None:
        """It has created, replaced or deleted a file, perhaps a half-written one."""
        self.after_start()
        before = last_changes(self.checkout)
        wait_until(lambda: last_changes(self.checkout) != before, self.run)

    def after_random_time(self) -> None:
        """Up to three seconds have passed; it may have finished."""
        self.after_start()
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
    (kill_all, Moments.after_random_time),
    (kill_all, Moments.after_first_write),
    (kill_stage, Moments.after_start),
    (kill_stage, Moments.after_random_time),
    (interrupt, Moments.after_start),
    (interrupt, Moments.after_first_write),
]


def test_each_documented_fault_names_a_test_that_exists() -> None:
    rows = re.findall(
        r"(?m)^\| (?!fault|input|---).*\| (.*) \|$", (ROOT / "docs/faults.md").read_text().split("fuzzed")[0]
    )
    assert len(rows) > 20
    for tests in rows:
        assert "`tests/" in tests
        assert all((ROOT / path).exists() for path in re.findall(r"`(tests/[^`]+)`", tests)), tests


@pytest.mark.slow
@pytest.mark.parametrize("stage", ALL)
def test_a_repeatedly_disturbed_stage_gives_the_same_bytes(checkout: Checkout, stage: str) -> None:
    before, lock = checkout.outputs(), (checkout.folder / "dvc.lock").read_bytes()
    for disturb, moment in DISTURBANCES:
        left_by_kills = set(filter(is_partial, checkout.outputs()))
        run = force(checkout, stage)
        moment(Moments(checkout, stage, run, f"{stage} {disturb.__name__}"))
        disturb(stage, run)
        output = finish(run)
        assert run.returncode or moment is not Moments.after_start, output  # a busy machine may disturb too late
        if disturb is interrupt:
            assert left_by_kills.issuperset(filter(is_partial, checkout.outputs())), output
    forget(checkout, stage)
    finished = complete_outputs(checkout) == before  # the last interruption came too late
    ran = checkout.repro()
    assert ran == [stage] or (finished and not ran)
    assert checkout.outputs() == before
    assert (checkout.folder / "dvc.lock").read_bytes() == lock


@pytest.mark.slow
@pytest.mark.parametrize("stage", ALL)
def test_earlier_results_of_a_killed_stage_are_in_cache_and_git(checkout: Checkout, stage: str) -> None:
    before = checkout.outputs()
    run = force(checkout, stage)
    Moments(checkout, stage, run, stage).after_start()
    kill_all(stage, run)
    finish(run)
    assert complete_outputs(checkout) != before  # DVC deletes the old results before it runs a stage
    done = checkout.run("-m", "dvc", "checkout")
    assert done.returncode == 0, done.stderr
    checkout.git("restore", "reports")
    assert complete_outputs(checkout) == before
    assert checkout.repro() == []


CHANGED = {"preprocess": ("validation_size", "201"), "train": ("epochs", "3"), "plot": ("examples", "7")}


@pytest.mark.slow
@pytest.mark.parametrize("stage", ALL)
def test_without_dvc_a_result_is_replaced_only_when_complete(checkout: Checkout, stage: str) -> None:
    if stage in CHANGED:
        checkout.set_param(*CHANGED[stage])
    if stage == "download":
        corrupt(checkout.folder / "data/raw" / FILES[0])
    before = checkout.outputs()
    run = checkout.start("-m", f"stages.{stage}")
    Moments(checkout, stage, run, stage).after_first_write()
    kill_all(stage, run)
    finish(run)
    after = complete_outputs(checkout)
    assert checkout.stage(stage).returncode == 0
    new = checkout.outputs()
    assert set(after) == set(before) == set(new)
    assert all(content in (before[path], new[path]) for path, content in after.items())


def corrupt(path: Path) -> None:
    """Replace a file's content and keep its mode: DVC makes files of its cache read-only."""
    mode = path.stat().st_mode
    path.unlink()
    path.write_bytes(b"corrupt")
    path.chmod(mode)


@pytest.fixture
def small_disk(reproduced: Checkout, tmp_path: Path) -> Iterator[Checkout]:
    """A copy of the reproduced checkout on its own disk of 64 MB."""
    command = ["mount", "-t", "tmpfs", "-o", "size=64m", "tmpfs", str(tmp_path)]
    if subprocess.run(command, capture_output=True).returncode:
        pytest.skip("this user may not mount a disk; test_user_errors.py limits the size of files instead")
    yield copy_of(reproduced, tmp_path)
    subprocess.run(["umount", str(tmp_path)], check=True)


def fill_disk(checkout: Checkout, room: int = 0) -> Path:
    """Fill the disk with a file, except for `room` bytes."""
    ballast = checkout.folder / "ballast"
    with suppress(OSError), ballast.open("wb", buffering=0) as file:
        while True:
            file.write(bytes(4096))
    os.truncate(ballast, ballast.stat().st_size - room)
    return ballast


@pytest.mark.slow
@pytest.mark.parametrize("stage", ALL)
def test_a_full_disk_is_reported_and_the_earlier_results_stay(small_disk: Checkout, stage: str) -> None:
    before = small_disk.outputs()
    if stage == "download":
        corrupt(small_disk.folder / "data/raw" / FILES[0])
    ballast = fill_disk(small_disk)
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
def test_under_dvc_a_run_on_a_full_disk_completes_when_there_is_space(small_disk: Checkout, room: int) -> None:
    before = small_disk.outputs()
    forget(small_disk, "preprocess")
    ballast = fill_disk(small_disk, room)
    run = force(small_disk, "preprocess")
    output = finish(run)
    assert run.returncode
    assert re.search(r"No space left on device|Unable to read RWLock-file '\.dvc/tmp/rwlock'", output), output
    ballast.unlink()
    if room == 0:
        (small_disk.folder / ".dvc/tmp/rwlock").unlink()  # half-written by DVC, which cannot read it again
    assert small_disk.repro() == ["preprocess"]
    assert small_disk.outputs() == before


@pytest.mark.slow
@pytest.mark.parametrize("stage", ["download", "train"])
def test_of_two_concurrent_runs_one_is_blocked(checkout: Checkout, stage: str) -> None:
    before = checkout.outputs()
    runs = [checkout.start("-m", "dvc", "repro", "--force", "train")]
    Moments(checkout, stage, runs[0], stage).after_start()
    runs.append(checkout.start("-m", "dvc", "repro", "--force", "train"))
    first, second = map(finish, runs)
    assert runs[0].returncode == 0 or "is busy, it is being blocked by" in first, first
    assert runs[1].returncode == 0 or "is busy, it is being blocked by" in second, second
    assert "Traceback" not in first + second
    checkout.repro()
    assert checkout.outputs() == before


UNPRIVILEGED = [
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
def test_missing_permission_is_reported(checkout: Checkout, stage: str, path: str, mode: int, named: str) -> None:
    under: Sequence[str] = UNPRIVILEGED if os.geteuid() == 0 else ()
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
def test_under_dvc_a_run_completes_when_permission_is_granted(checkout: Checkout, path: str) -> None:
    under: Sequence[str] = UNPRIVILEGED if os.geteuid() == 0 else ()
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
@pytest.mark.parametrize("fault", ["deleted", "corrupt"])
def test_a_file_missing_from_the_cache_is_generated_again(checkout: Checkout, fault: str) -> None:
    before = checkout.outputs()
    model = "models/model.keras"
    copy = cached(checkout, "train")[model]
    copy.chmod(0o644)  # as after most ways of writing; DVC trusts read-only files without a check
    copy.write_bytes(b"corrupt")
    if fault == "deleted":
        copy.unlink()
    (checkout.folder / model).unlink()
    assert checkout.repro() == ["train"]
    assert checkout.outputs() == before
