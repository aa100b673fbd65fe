"""What surrounds the code: the workflow and the other files for GitHub, the check of dvc.lock, the hooks of git."""

import json
import os
import re
import shutil
import subprocess
import sys
from itertools import chain
from pathlib import Path

import pytest
import yaml
from conftest import ALL, GIT, Checkout

from tools.checkout import ROOT, environment

WORKFLOW = ROOT / ".github/workflows/ci.yml"
JOBS = yaml.safe_load(WORKFLOW.read_text())["jobs"]
STEPS = list(chain.from_iterable(job["steps"] for job in JOBS.values()))
RUNS = [step["run"] for step in STEPS if "run" in step]
DEVCONTAINER = json.loads((ROOT / ".devcontainer/devcontainer.json").read_text())
HOOKS = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"]
SCRIPTS = [path for path in sorted((ROOT / ".ci").iterdir()) if path.suffix != ".sh"]
SHELL = [*RUNS, DEVCONTAINER["postCreateCommand"], *(path.read_text() for path in SCRIPTS)]
SHELL += [hook["entry"] for repo in HOOKS for hook in repo["hooks"]]
MAKEFILE = (ROOT / "Makefile").read_text()


@pytest.mark.parametrize(
    ("schema", "path"), [("vendor.github-workflows", WORKFLOW), ("vendor.dependabot", ROOT / ".github/dependabot.yml")]
)
def test_github_understands_the_files(schema: str, path: Path) -> None:
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", schema, str(path)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("shell", SHELL)
def test_scripts_and_make_targets_that_are_named_exist(shell: str) -> None:
    for script in re.findall(r"(?<![\w/])\.ci/[\w.]+", shell):
        assert os.access(ROOT / script, os.X_OK), script
    for targets in re.findall(r"(?m)^ *(?:time )?make((?: [a-z./-]+(?!\S))*)", shell):
        for target in targets.split():
            assert re.search(rf"(?m)^{re.escape(target)}:", MAKEFILE), target
    assert not re.search(r"\bpip install\b", shell)  # only tools/setup.sh installs, with hashes


def test_the_workflow_can_do_no_harm() -> None:
    assert yaml.safe_load(WORKFLOW.read_text())["permissions"] == {"contents": "read"}
    assert not any("permissions" in job for job in JOBS.values())
    assert "pull_request_target" not in WORKFLOW.read_text()
    assert "secrets." not in WORKFLOW.read_text()
    assert not any("${{" in run for run in RUNS)  # what a pull request says reaches the shell as variables only
    for step in STEPS:
        if "uses" in step:
            assert re.fullmatch(r"actions/[a-z-]+@v\d+", step["uses"])
        if step.get("uses", "").startswith("actions/checkout"):
            assert step["with"]["persist-credentials"] is False


def test_each_python_that_the_setup_accepts_is_tested() -> None:
    low, high = re.findall(r"\(3, (\d+)\)", (ROOT / "tools/setup.sh").read_text())
    versions = [f"3.{minor}" for minor in range(int(low), int(high) + 1)]
    assert JOBS["test"]["strategy"]["matrix"]["python"] == versions
    assert DEVCONTAINER["image"].partition(":")[2].partition("-")[0] in versions


def test_what_is_cached_spares_downloads_and_no_run_of_a_stage() -> None:
    kept = [step["with"]["path"] for step in STEPS if step.get("uses", "").startswith("actions/cache")]
    assert kept == [".dvc/cache/files"]  # without .dvc/cache/runs
    assert "dvc repro --force --no-run-cache\n" in (ROOT / ".ci/reproduce").read_text()


@pytest.mark.slow
def test_with_a_cache_every_stage_is_executed_and_the_published_files_are_not_fetched(
    checkout: Checkout, digits_mirror: Path, tmp_path: Path
) -> None:
    clone = Checkout(tmp_path / "job")
    checkout.edit("mnist/dataset/datasets.yaml", "scikit-learn://digits/", "http://127.0.0.1:9/")
    checkout.edit("params.yaml", "floor: 0.97", "floor: 0.1")
    checkout.repro(changes={"DATASET_MIRROR": str(digits_mirror)})
    checkout.git("commit", "--all", "--message", "a source that is gone")
    checkout.git("clone", ".", str(clone.folder))
    shutil.copytree(checkout.folder / ".dvc/cache/files", clone.folder / ".dvc/cache/files")
    (clone.folder / ".venv").mkdir()
    (clone.folder / ".venv/ready").touch()  # so that make takes the programs of the Python that runs the tests
    command = [".ci/reproduce"]
    environ = environment({"DATASET_MIRROR": ""})
    done = subprocess.run(command, cwd=clone.folder, env=environ, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.findall(r"Running stage '(\w+)'", done.stdout) == ALL
    assert "gate: passed" in done.stdout


def test_the_summary_has_the_changes_as_tables(checkout: Checkout) -> None:
    checkout.set_param("epochs", "3")
    checkout.edit("requirements-dev.txt", "\npytest==", "\npytest==0.")
    before = json.loads((checkout.folder / "reports/metrics.json").read_text())["errors"]
    checkout.edit("reports/metrics.json", f'"errors": {before}', f'"errors": {before + 5}')
    command = [".ci/summary", "HEAD"]
    done = subprocess.run(command, cwd=checkout.folder, env=environment(), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in done.stdout.splitlines()]
    assert ["params.yaml", "train.epochs", "2", "3"] in rows
    assert ["reports/metrics.json", "errors", str(before), str(before + 5), "5"] in rows
    assert any(row[:1] == ["pytest"] and row[2] == f"0.{row[1]}" for row in rows)


def locked(checkout: Checkout) -> list[str]:
    """What the check says, without its advice."""
    done = checkout.run("-m", "tools.locked")
    lines = done.stderr.splitlines()
    assert done.returncode == (1 if lines else 0)
    assert not lines or lines.pop() == "locked: run `dvc repro`, and commit dvc.lock and reports with the change"
    return [line.removeprefix("locked: ") for line in lines]


def test_dvc_lock_fits_after_a_run_and_in_a_fresh_clone_without_data(checkout: Checkout, tmp_path: Path) -> None:
    assert locked(checkout) == []
    clone = Checkout(tmp_path / "fresh")
    checkout.git("clone", "--quiet", ".", str(clone.folder))
    assert not (clone.folder / "data").exists()
    assert locked(clone) == []


def test_what_dvc_lock_does_not_fit_is_named(checkout: Checkout) -> None:
    checkout.set_param("epochs", "3")
    checkout.edit("stages/train.py", "\nimport ", "\n\nimport ")
    checkout.edit("dvc.yaml", "cmd: python -m stages.plot", "cmd: python -B -m stages.plot")
    checkout.git("rm", "--cached", "mnist/metrics/interval.py")
    (checkout.folder / "reports/figures/recall.png").unlink()
    (checkout.folder / "models/model.keras").unlink()  # it is in DVC's cache, not in git
    lock = yaml.safe_load((checkout.folder / "dvc.lock").read_text())
    for stage in ("evaluate", "report"):
        model = next(file for file in lock["stages"][stage]["deps"] if file["path"] == "models/model.keras")
        model["md5"] = "0" * 32
    (checkout.folder / "dvc.lock").write_text(yaml.safe_dump(lock))
    assert locked(checkout) == [
        "params.yaml: train.epochs is not what stage train ran with",
        "stages/train.py is not what stage train read",
        "models/model.keras is not what stage evaluate read",
        "mnist/metrics/interval.py, which stage evaluate read, is missing or not in git",
        "dvc.yaml: cmd of stage plot changed",
        "mnist/metrics/interval.py, which stage plot read, is missing or not in git",
        "reports/figures/recall.png, which stage plot wrote, is missing or not in git",
        "params.yaml: train.epochs is not what stage report ran with",
        "models/model.keras is not what stage report read",
        "mnist/metrics/interval.py, which stage report read, is missing or not in git",
    ]


def test_a_stage_that_never_ran_is_named(checkout: Checkout) -> None:
    checkout.edit("dvc.yaml", "  plot:\n    desc", "  draw:\n    desc")
    assert locked(checkout) == [f"stage {name} is not in both dvc.yaml and dvc.lock" for name in ("draw", "plot")]


def test_git_refuses_a_commit_that_a_hook_refuses(checkout: Checkout, tmp_path: Path) -> None:
    (checkout.folder / ".venv").mkdir()
    for name in ("ready", "ready-dev"):  # so that make takes the programs of the Python that runs the tests
        (checkout.folder / ".venv" / name).touch()
    settings = environment({"PRE_COMMIT_HOME": str(tmp_path / "pre-commit")})
    install = [sys.executable, "-m", "pre_commit", "install"]
    subprocess.run(install, cwd=checkout.folder, env=settings, check=True, capture_output=True)

    def commit() -> subprocess.CompletedProcess[str]:
        command = [*GIT, "commit", "--all", "--message", "try"]
        return subprocess.run(command, cwd=checkout.folder, env=settings, capture_output=True, text=True)

    checkout.edit("stages/plot.py", "\nimport ", "\nimport  ")
    refused = commit()
    assert refused.returncode == 1
    assert "- hook id: check" in refused.stderr  # which stands under a hook that failed
    assert "locked: stages/plot.py is not what stage plot read" in refused.stderr

    checkout.edit("stages/plot.py", "\nimport  ", "\nimport ")
    checkout.edit("README.md", "reproducibly", "again")
    settings["SKIP"] = "check"  # it would take long here, where it finds no cache of its own
    accepted = commit()
    assert accepted.returncode == 0, accepted.stderr
