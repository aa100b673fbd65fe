"""What `make` does beyond DVC: find what is damaged in its cache, and bring back what it took away for a failed run."""

import os
import re
import shutil
import signal
from pathlib import Path

import pytest
from conftest import ALL, Checkout, wait_until

from tools.cache import outputs_of

MODEL = "models/model.keras"


def damage(checkout: Checkout, path: str) -> None:
    """Change a byte of an output in DVC's cache, as a bad disk does: size, time and mode of the file stay."""
    outputs = outputs_of(checkout.folder / "dvc.lock")
    md5 = {name: md5 for stage in outputs.values() for name, md5 in stage.items()}[path]
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
def test_what_is_damaged_in_the_cache_is_named_and_made_again(checkout: Checkout, path: str, stage: str) -> None:
    before = checkout.outputs()
    damage(checkout, path)
    (checkout.folder / path).unlink()
    assert checkout.repro() == []  # DVC takes the file from its cache, and does not look at it
    assert checkout.outputs() != before
    done = checkout.run("-m", "tools.run")
    assert done.stderr.startswith(f"run: damaged in DVC's cache, and to be made again: {path}\n")
    assert stages_run(done.stdout) == [stage]
    assert checkout.outputs() == before
    assert checkout.run("-m", "tools.run").stderr == ""


@pytest.mark.slow
def test_what_was_damaged_since_an_earlier_run_and_read_is_made_again_with_all_that_follows(checkout: Checkout) -> None:
    before, params = checkout.outputs(), (checkout.folder / "params.yaml").read_text()
    damage(checkout, "data/processed/train_images.npy")
    checkout.set_param("validation_size", "201")
    checkout.repro()
    (checkout.folder / "params.yaml").write_text(params.replace("learning_rate: 0.001", "learning_rate: 0.002"))
    done = checkout.run("-m", "tools.run")
    assert "run: damaged in DVC's cache, and to be made again: data/processed/train_images.npy\n" in done.stderr
    assert stages_run(done.stdout)[-len(ALL) :] == ALL
    made = checkout.outputs()
    shutil.rmtree(checkout.folder / ".dvc/cache")
    checkout.repro("--force")
    assert checkout.outputs() == made != before


@pytest.mark.slow
def test_a_shared_cache_is_looked_through_as_well(checkout: Checkout, tmp_path: Path) -> None:
    before = checkout.outputs()
    damage(checkout, MODEL)
    (checkout.folder / ".dvc/cache").rename(tmp_path / "shared")
    checkout.run("-m", "dvc", "config", "--local", "cache.dir", str(tmp_path / "shared"))
    (checkout.folder / MODEL).unlink()
    done = checkout.run("-m", "tools.run")
    assert f"made again: {MODEL}\n" in done.stderr
    assert checkout.outputs() == before


@pytest.mark.parametrize("how", ["mistake", "Ctrl-C"])
@pytest.mark.parametrize("results", ["committed", "cached"])
@pytest.mark.slow
def test_after_a_make_that_failed_the_earlier_results_are_there(checkout: Checkout, how: str, results: str) -> None:
    if results == "cached":
        checkout.set_param("epochs", "3")
        checkout.repro()
    else:
        shutil.rmtree(checkout.folder / ".dvc/cache/files")
    before, lock = checkout.outputs(), (checkout.folder / "dvc.lock").read_bytes()
    checkout.set_param("epochs", "0" if how == "mistake" else "10000")
    run = checkout.start("-m", "tools.run")
    if how == "Ctrl-C":
        wait_until(lambda: not (checkout.folder / "reports/history.csv").exists(), run)
        os.killpg(run.pid, signal.SIGINT)
    said = run.communicate()
    assert run.returncode, said
    after = checkout.outputs()
    if results == "committed":  # of models and data the cache that was deleted was the only copy
        before, after = ({p: c for p, c in each.items() if p.startswith("reports")} for each in (before, after))
    assert after == before
    assert (checkout.folder / "dvc.lock").read_bytes() == lock
