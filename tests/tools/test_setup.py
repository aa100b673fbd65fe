"""The set-up by `make`: settings of the shell that hinder it, a .venv that is not whole, file names with blanks."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import Checkout, use_this_python

from mnist.core.paths import ROOT


@pytest.fixture
def project(tmp_path: Path) -> Checkout:
    """The files of the set-up, and a lock file of no packages."""
    (tmp_path / "tools").mkdir()
    for name in ("Makefile", "tools/setup.sh"):
        shutil.copy(ROOT / name, tmp_path / name)
    for name in ("requirements.txt", "requirements-dev.txt"):
        (tmp_path / name).touch()
    return Checkout(tmp_path)


def make(project: Checkout, *arguments: str, **changes: str) -> subprocess.CompletedProcess[str]:
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")}  # under `make test`
    command, env = ["make", *arguments], {**inherited, "PYTHON": sys.executable, "PIP_USER": "1", **changes}
    return subprocess.run(command, cwd=project.folder, env=env, capture_output=True, text=True)


@pytest.mark.parametrize("setting", ["PIP_TARGET", "PIP_PREFIX", "PYTHONSAFEPATH", "PYTHONHOME", "PYTHONPATH"])
def test_a_setting_of_the_shell_does_not_reach_the_commands(project: Checkout, setting: str) -> None:
    shown = make(project, "--eval", f"show:\n\t@echo [$${setting}]", "show", **{setting: "1"})
    assert shown.stdout == "[]\n"


@pytest.mark.slow
@pytest.mark.parametrize("fault", ["no pip", "no Python", "half of pip"])
def test_a_venv_that_is_not_whole_is_set_up_again(project: Checkout, fault: str) -> None:
    assert make(project, ".venv/ready").returncode == 0
    venv = project.folder / ".venv"
    (pip,) = venv.glob("lib/python*/site-packages/pip")
    if fault == "no pip":
        shutil.rmtree(pip)
    elif fault == "no Python":
        for link in venv.glob("bin/python*"):
            link.unlink()
            link.symlink_to(project.folder / "removed/python")
    else:  # Ctrl-C during the first set-up
        shutil.rmtree(pip / "_internal")
        (venv / "ready").unlink()
    done = make(project, ".venv/ready")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("Setting up .venv with Python 3.")
    assert subprocess.run([venv / "bin/python", "-m", "pip", "--version"], capture_output=True).returncode == 0
    assert make(project, ".venv/ready").stdout.startswith("make: '.venv/ready' is up to date.")


def test_the_path_of_python_may_have_blanks(project: Checkout) -> None:
    python = project.folder / "a folder/python"
    python.parent.mkdir()
    python.write_text("#!/bin/sh\ncase $1 in --version) echo Python of a folder;; -m) exit 1;; esac\n")
    python.chmod(0o755)
    done = make(project, ".venv/ready", PYTHON=str(python))
    assert done.stdout == "Setting up .venv with Python of a folder (a few minutes, once)\n"
    assert "Python's venv module is missing" in done.stderr


def test_the_name_of_a_grid_may_have_blanks(unreproduced: Checkout) -> None:
    use_this_python(unreproduced)
    done = make(unreproduced, "sweep", "GRID=my grid.yaml")
    remedy = "if it is in git, restore it with `git checkout 'my grid.yaml'`"
    assert f"sweep: my grid.yaml is missing; {remedy}\n" in done.stderr


@pytest.mark.parametrize("stage", ["download", "train"])
def test_a_stage_run_as_a_file_names_the_right_command(unreproduced: Checkout, stage: str) -> None:
    done = unreproduced.run(f"stages/{stage}.py")
    message = f"run the stage as a module, from the project's folder: python -m stages.{stage}\n"
    assert (done.returncode, done.stdout, done.stderr) == (1, "", message)
