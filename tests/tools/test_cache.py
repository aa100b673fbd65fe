"""What `make` adds to DVC: it finds corrupt files in the cache, and restores earlier results after a failed run."""

import hashlib
import os
import re
import shutil
import signal
from pathlib import Path

import pytest
from conftest import ALL, Checkout, wait_until

MODEL = "models/model.keras"


def corrupt(checkout: Checkout, path: str) -> None:
    """Change a byte of a file in DVC's cache, as a bad disk does: its size, time and mode stay."""
    md5 = hashlib.md5((checkout.folder / path).read_bytes()).hexdigest()
    cached = checkout.folder / ".dvc/cache/files/md5" / md5[:2] / md5[2:]
    before = cached.stat()
    content = bytearray(cached.read_bytes())
    content[len(content) // 2] ^= 1
    cached.chmod(0o644)
    cached.write_bytes(content)
    cached.chmod(before.st_mode)
    os.utime(cached, ns=(before.st_atime_ns, before.st_mtime_ns))


def stages_run(output: str) -> list[str]:
    return re.findall(r"Running stage '(\w+)'", output)


@pytest.mark.parametrize(
    ("path", "stage"),
    [(MODEL, "train"), ("data/processed/train_images.npy", "preprocess"), ("reports/metrics.json", "evaluate")],
)
@pytest.mark.slow
def test_what_is_corrupt_in_the_cache_is_named_and_produced_again(checkout: Checkout, path: str, stage: str) -> None:
    before = checkout.outputs()
    corrupt(checkout, path)
    (checkout.folder / path).unlink()
    assert checkout.repro() == []  # DVC takes the file from its cache, and does not look at it
    assert checkout.outputs() != before
    done = checkout.run("-m", "tools.run")
    assert done.stderr.startswith(f"run: corrupt in DVC's cache, to be produced again: {path}\n")
    assert stages_run(done.stdout) == [stage]
    assert checkout.outputs() == before
    assert checkout.run("-m", "tools.run").stderr == ""


@pytest.mark.slow
def test_what_was_computed_from_a_corrupt_file_is_produced_again(checkout: Checkout) -> None:
    before, params = checkout.outputs(), (checkout.folder / "params.yaml").read_text()
    corrupt(checkout, "data/processed/train_images.npy")
    checkout.set_param("validation_size", "201")
    checkout.repro()
    (checkout.folder / "params.yaml").write_text(params.replace("learning_rate: 0.001", "learning_rate: 0.002"))
    done = checkout.run("-m", "tools.run")
    assert "run: corrupt in DVC's cache, to be produced again: data/processed/train_images.npy\n" in done.stderr
    assert stages_run(done.stdout)[-len(ALL) :] == ALL
    made = checkout.outputs()
    shutil.rmtree(checkout.folder / ".dvc/cache")
    checkout.repro("--force")
    assert checkout.outputs() == made != before


@pytest.mark.slow
def test_equal_outputs_that_share_a_corrupt_file_are_both_produced_again(checkout: Checkout) -> None:
    checkout.set_param("validation_size", "0")
    checkout.repro("preprocess")
    path = checkout.folder / "data/processed/validation_images.npy"
    before = path.read_bytes()
    corrupt(checkout, "data/processed/test_images.npy")
    done = checkout.run("-m", "tools.run")
    names = "data/processed/validation_images.npy, data/processed/test_images.npy"
    assert done.stderr.startswith(f"run: corrupt in DVC's cache, to be produced again: {names}\n")
    assert path.read_bytes() == before


@pytest.mark.slow
def test_a_folder_output_is_not_corrupt_unless_a_file_in_it_is(checkout: Checkout) -> None:
    stage = "  split:\n    cmd: mkdir parts; echo 1 > parts/1; echo 2 > parts/2\n    outs: [parts]\n"
    checkout.edit("dvc.yaml", "\nstages:\n", f"\nstages:\n{stage}")
    checkout.repro()
    assert checkout.run("-m", "tools.run").stderr == ""
    corrupt(checkout, "parts/2")
    done = checkout.run("-m", "tools.run")
    assert done.stderr == "run: corrupt in DVC's cache, to be produced again: parts/2\n"
    assert stages_run(done.stdout) == ["split"]
    assert (checkout.folder / "parts/2").read_text() == "2\n"


@pytest.mark.parametrize("level", ["--local", "--global"])
@pytest.mark.slow
def test_a_shared_cache_is_checked(checkout: Checkout, tmp_path: Path, level: str) -> None:
    before = checkout.outputs()
    corrupt(checkout, MODEL)
    (checkout.folder / ".dvc/cache").rename(tmp_path / "shared")
    changes = {"DVC_GLOBAL_CONFIG_DIR": str(tmp_path)}
    checkout.run("-m", "dvc", "config", level, "cache.dir", str(tmp_path / "shared"), changes=changes)
    (checkout.folder / MODEL).unlink()
    done = checkout.run("-m", "tools.run", changes=changes)
    assert f"produced again: {MODEL}\n" in done.stderr
    assert checkout.outputs() == before


@pytest.mark.parametrize("how", ["user error", "Ctrl-C"])
@pytest.mark.parametrize("results", ["committed", "cached"])
@pytest.mark.slow
def test_a_failed_make_restores_the_earlier_results(checkout: Checkout, how: str, results: str) -> None:
    if results == "cached":
        checkout.set_param("epochs", "3")
        checkout.repro()
    else:
        shutil.rmtree(checkout.folder / ".dvc/cache/files")
    before, lock = checkout.outputs(), (checkout.folder / "dvc.lock").read_bytes()
    checkout.set_param("epochs", "0" if how == "user error" else "10000")
    run = checkout.start("-m", "tools.run")
    if how == "Ctrl-C":
        wait_until(lambda: not (checkout.folder / "reports/history.csv").exists(), run)
        os.killpg(run.pid, signal.SIGINT)
    output = run.communicate()
    assert run.returncode, output
    after = checkout.outputs()
    if results == "committed":  # the deleted cache had the only copy of models and data
        before, after = ({p: c for p, c in each.items() if p.startswith("reports")} for each in (before, after))
    assert after == before
    assert (checkout.folder / "dvc.lock").read_bytes() == lock


@pytest.mark.slow
def test_a_failure_after_a_stage_that_succeeded_restores_the_results_in_git(checkout: Checkout) -> None:
    shutil.rmtree(checkout.folder / ".dvc/cache/files")
    before = {path: content for path, content in checkout.outputs().items() if path.startswith("reports/")}
    for path in ("index.html", "model-card.md"):  # not in git, and the deleted cache had the only copy
        del before[f"reports/{path}"]
    with (checkout.folder / "datasets/digits.yaml").open("a") as file:
        file.write("# download runs again, and changes dvc.lock\n")
    checkout.set_param("validation_size", "1437")
    failed = checkout.run("-m", "tools.run")
    assert "should leave some of the 1437 training images to train on" in failed.stderr
    after = checkout.outputs()
    assert {path: after.get(path) for path in before} == before


@pytest.mark.parametrize(
    ("level", "link"),
    [("--global", "hardlink"), ("--global", "symlink"), ("--local", "copy"), ("--project", "symlink")],
)
@pytest.mark.slow
def test_a_failure_restores_results_from_a_shared_cache(
    checkout: Checkout, tmp_path: Path, level: str, link: str
) -> None:
    changes = {"DVC_GLOBAL_CONFIG_DIR": str(tmp_path)}
    (checkout.folder / ".dvc/cache").rename(tmp_path / "shared")
    checkout.run("-m", "dvc", "cache", "dir", level, str(tmp_path / "shared"), changes=changes)
    # Not at `level`: the type in .dvc/config has priority over a global one.
    checkout.run("-m", "dvc", "config", "--local", "cache.type", link)
    checkout.set_param("epochs", "3")
    checkout.repro(changes=changes)
    before = checkout.outputs()
    checkout.set_param("epochs", "0")
    assert checkout.run("-m", "tools.run", changes=changes).returncode
    assert checkout.outputs() == before
    assert not (checkout.folder / ".dvc/cache/files").exists()
    assert (checkout.folder / MODEL).is_symlink() == (link == "symlink")


def test_a_clone_with_results_in_a_shared_cache_runs_nothing(checkout: Checkout, tmp_path: Path) -> None:
    before = checkout.outputs()
    (checkout.folder / ".dvc/cache").rename(tmp_path / "shared")
    for folder in ("data/raw", "data/processed", "data/augmented", "models"):
        shutil.rmtree(checkout.folder / folder)
    changes = {"DVC_GLOBAL_CONFIG_DIR": str(tmp_path)}
    checkout.run("-m", "dvc", "cache", "dir", "--global", str(tmp_path / "shared"), changes=changes)
    done = checkout.run("-m", "tools.run", changes=changes)
    assert done.returncode == 0, done.stderr
    assert stages_run(done.stdout) == []
    assert checkout.outputs() == before


@pytest.mark.parametrize("path", ["dvc.yaml", "dvc.lock"])
def test_an_unreadable_file_of_dvc_is_named(checkout: Checkout, path: str) -> None:
    with (checkout.folder / path).open("a") as file:
        file.write("<<<<<<< HEAD\n")
    done = checkout.run("-m", "tools.run")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == f"run: unable to read: '{path}', YAML file structure is corrupted\n"
