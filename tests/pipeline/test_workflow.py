"""The files for GitHub and git around the code: the workflow, its scripts in .ci, and the hooks."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from conftest import ALL, GIT, Checkout, use_this_python

from mnist.core.paths import ROOT
from tools.checkout import environment

WORKFLOW = (ROOT / ".github/workflows/ci.yml").read_text()
JOBS = yaml.safe_load(WORKFLOW)["jobs"]
STEPS = [step for job in JOBS.values() for step in job["steps"]]
RUNS = [step["run"] for step in STEPS if "run" in step]
DEVCONTAINER = json.loads((ROOT / ".devcontainer/devcontainer.json").read_text())
HOOKS = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"][0]["hooks"]
SCRIPTS = [path for path in sorted((ROOT / ".ci").iterdir()) if path.suffix != ".sh"]
SHELL = [*RUNS, DEVCONTAINER["postCreateCommand"], *(hook["entry"] for hook in HOOKS)]
SHELL += [path.read_text() for path in SCRIPTS]


@pytest.mark.parametrize(
    ("schema", "path"),
    [("vendor.github-workflows", ".github/workflows/ci.yml"), ("vendor.dependabot", ".github/dependabot.yml")],
)
def test_the_files_for_github_are_valid(schema: str, path: str) -> None:
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", schema, str(ROOT / path)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_each_make_target_that_a_script_names_exists() -> None:
    commands = [line.partition("|")[0].split() for shell in SHELL for line in shell.splitlines()]
    words = {word for command in commands if command[:1] == ["make"] for word in command[1:]}
    targets = sorted(word for word in words if re.fullmatch("[a-z./-]+", word))
    assert {"check", "gate", "locked", "test-slow", ".venv/ready-dev"} < set(targets)
    done = subprocess.run(["make", "--dry-run", *targets], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_each_script_is_executable_and_leaves_installing_to_the_setup() -> None:
    names = set(re.findall(r"\.ci/[a-z]+", "\n".join(RUNS)))
    assert names
    assert names <= {f".ci/{path.name}" for path in SCRIPTS}
    assert all(os.access(path, os.X_OK) for path in SCRIPTS)
    assert not any("pip install" in shell for shell in SHELL)  # tools/setup.sh does, and checks the hashes


def test_the_workflow_can_do_no_harm() -> None:
    assert yaml.safe_load(WORKFLOW)["permissions"] == {"contents": "read"}
    assert not any("permissions" in job for job in JOBS.values())
    assert "pull_request_target" not in WORKFLOW
    assert "secrets." not in WORKFLOW
    assert not any("${{" in run for run in RUNS)  # text of a pull request reaches the shell only in variables
    for step in STEPS:
        if step.get("uses", "").startswith("actions/checkout"):
            assert step["with"]["persist-credentials"] is False


def test_each_action_is_pinned_by_a_commit_with_its_tag_beside_it() -> None:
    used = re.findall(r"uses: (.*)", WORKFLOW)
    pins = [re.fullmatch(r"(actions/[a-z-]+)@([0-9a-f]{40}) # (v\d+\.\d+\.\d+)", use) for use in used]
    assert all(pins), used  # zizmor checks the commits; Dependabot updates them together with the tags
    assert len({pin.groups() for pin in pins}) == len({pin[1] for pin in pins})  # one version of each action


def test_each_python_that_the_setup_accepts_is_tested() -> None:
    low, high = re.findall(r"\(3, (\d+)\)", (ROOT / "tools/setup.sh").read_text())
    versions = [f"3.{minor}" for minor in range(int(low), int(high) + 1)]
    assert JOBS["test"]["strategy"]["matrix"]["python"] == versions
    assert DEVCONTAINER["image"].partition(":")[2].partition("-")[0] in versions


def test_the_cache_saves_downloads_and_not_runs_of_stages() -> None:
    paths = [step["with"]["path"] for step in STEPS if step.get("uses", "").startswith("actions/cache")]
    assert paths == [".dvc/cache/files"]  # without .dvc/cache/runs
    assert "dvc repro --force --no-run-cache\n" in (ROOT / ".ci/reproduce").read_text()


@pytest.mark.slow
def test_with_a_cache_every_stage_runs_and_nothing_is_downloaded(
    checkout: Checkout, digits_mirror: Path, tmp_path: Path
) -> None:
    clone = Checkout(tmp_path / "job")
    checkout.edit("datasets/digits.yaml", "scikit-learn://digits/", "http://127.0.0.1:9/")
    checkout.edit("params.yaml", "floor: 0.97", "floor: 0.1")
    checkout.repro(changes={"DATASET_MIRROR": str(digits_mirror)})
    checkout.git("commit", "--all", "--message", "a source that is gone")
    checkout.git("clone", ".", str(clone.folder))
    shutil.copytree(checkout.folder / ".dvc/cache/files", clone.folder / ".dvc/cache/files")
    use_this_python(clone)
    environ = environment({"DATASET_MIRROR": ""})
    done = subprocess.run([".ci/reproduce"], cwd=clone.folder, env=environ, capture_output=True, text=True)
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


def test_git_refuses_a_commit_that_a_hook_refuses(checkout: Checkout, tmp_path: Path) -> None:
    use_this_python(checkout)
    settings = environment({"PRE_COMMIT_HOME": str(tmp_path / "pre-commit")})
    install = [sys.executable, "-m", "pre_commit", "install"]
    subprocess.run(install, cwd=checkout.folder, env=settings, check=True, capture_output=True)

    def commit() -> subprocess.CompletedProcess[str]:
        command = [*GIT, "commit", "--all", "--message", "try"]
        return subprocess.run(command, cwd=checkout.folder, env=settings, capture_output=True, text=True)

    checkout.edit("stages/plot.py", "\nimport ", "\nimport  ")
    refused = commit()
    assert refused.returncode == 1
    assert "- hook id: check" in refused.stderr  # printed below a hook that failed
    assert "locked: stage plot: stages/plot.py is modified" in refused.stderr

    checkout.edit("stages/plot.py", "\nimport  ", "\nimport ")
    (checkout.folder / "README.md").write_text("No stage reads it.\n")
    settings["SKIP"] = "check"  # slow without a cache of its own
    accepted = commit()
    assert accepted.returncode == 0, accepted.stderr
