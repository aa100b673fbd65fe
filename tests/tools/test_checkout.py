"""The commands in unusual checkouts: in a sub-folder, without git, of a different owner, for an unknown user."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest
from conftest import ALL, Checkout, copy_of, use_this_python

NEED_GIT = ["verify", "recipe strong", "sweep", "gate", "locked", "cluster", "bench --quick --only noop"]
UNKNOWN_USER = ["unshare", "--user", "--map-user=12345", "--map-group=12345"]


@pytest.fixture
def subfolder(checkout: Checkout) -> Checkout:
    """The reproduced checkout as a committed sub-folder of a bigger git repository."""
    shutil.rmtree(checkout.folder / ".git")
    inner = Checkout(checkout.folder.parent / "bigger/sub folder")
    inner.folder.parent.mkdir()
    checkout.folder.rename(inner.folder)
    bigger = Checkout(inner.folder.parent)
    for arguments in (["init"], ["add", "--all"], ["commit", "--message", "all"]):
        bigger.git(*arguments)
    return inner


@pytest.fixture
def unzipped(fresh: Checkout, tmp_path: Path) -> Checkout:
    """The checkout before the first run as a download without git's folder."""
    checkout = copy_of(fresh, tmp_path)
    shutil.rmtree(checkout.folder / ".git")
    return checkout


def test_in_a_subfolder_verify_gate_and_locked_work(subfolder: Checkout) -> None:
    verified = subfolder.run("-m", "tools.verify", "--stage", "preprocess")
    assert verified.returncode == 0, verified.stderr
    assert "all 11 outputs are the same, bit for bit" in verified.stdout
    assert subfolder.run("-m", "tools.locked").returncode == 0
    assert "commit " in subfolder.run("-m", "tools.gate").stdout


def test_in_a_subfolder_a_recipe_is_found_again(subfolder: Checkout) -> None:
    (subfolder.folder / "recipes/more.yaml").write_text("# More pictures.\nplot:\n  examples: 7\n")
    subfolder.set_param("mistakes", "3")
    shutil.copy(subfolder.folder / "datasets/digits.yaml", subfolder.folder / "datasets/new.yaml")
    first = subfolder.run("-m", "tools.recipe", "more")
    assert first.returncode == 0, first.stderr
    assert first.stdout.startswith(
        "recipe: uncommitted changes are part of the experiment: params.yaml\n"
        "recipe: not part of the experiment until `git add`: datasets/new.yaml\n"
    )
    assert "Recipe more: Test accuracy" in first.stdout
    assert "more has run before" in subfolder.run("-m", "tools.recipe", "more").stdout


@pytest.mark.slow
def test_in_a_subfolder_several_workers_train(subfolder: Checkout) -> None:
    done = subfolder.run("-m", "tools.cluster")
    assert done.returncode == 0, done.stderr
    assert "their output is in build/cluster/sub folder/worker-*.log" in done.stdout


@pytest.mark.slow
@pytest.mark.parametrize("command", ["tools.run", "tools.demo"])
def test_without_git_make_and_the_demo_run_every_stage(unzipped: Checkout, command: str) -> None:
    done = unzipped.run("-m", command)
    assert done.returncode == 0, done.stderr
    assert re.findall(r"Running stage '(\w+)'", done.stdout) == ALL
    assert "test images of scikit-learn digits." in done.stdout


@pytest.mark.parametrize("command", NEED_GIT)
def test_without_git_the_other_commands_need_git(unzipped: Checkout, command: str) -> None:
    done = unzipped.run("-m", *f"tools.{command}".split())
    assert done.returncode in (1, 2)
    name = command.partition(" ")[0]
    assert done.stderr.startswith(
        f"{name}: this needs git, with the project committed; git cat-file: fatal: not a git "
    )
    assert len(done.stderr.splitlines()) == 1
    assert done.stdout == ""


@pytest.mark.parametrize("command", NEED_GIT)
def test_commands_that_need_git_say_that_it_is_not_installed(checkout: Checkout, tmp_path: Path, command: str) -> None:
    done = checkout.run("-m", *f"tools.{command}".split(), changes={"PATH": str(tmp_path)})
    name = command.partition(" ")[0]
    message = f"{name}: this needs git, with the project committed; git is not installed\n"
    assert (done.stdout, done.stderr) == ("", message)


def test_before_the_first_commit_a_recipe_needs_a_commit(unzipped: Checkout) -> None:
    unzipped.git("init")
    done = unzipped.run("-m", "tools.recipe", "strong")
    assert done.stderr.startswith("recipe: this needs git, with the project committed; git cat-file: fatal: ")
    assert done.stdout == ""


@pytest.mark.parametrize("command", NEED_GIT)
def test_the_remedy_of_git_for_somebody_elses_repository_is_shown(checkout: Checkout, command: str) -> None:
    done = checkout.run("-m", *f"tools.{command}".split(), changes={"GIT_TEST_ASSUME_DIFFERENT_OWNER": "1"})
    assert done.returncode in (1, 2)
    assert "detected dubious ownership in repository" in done.stderr
    assert "git config --global --add safe.directory" in done.stderr
    assert "Traceback" not in done.stderr


def test_in_a_shallow_clone_a_recipe_is_refused_before_it_runs(checkout: Checkout, tmp_path: Path) -> None:
    shallow = Checkout(tmp_path / "shallow")
    checkout.git("clone", "--depth", "1", f"file://{checkout.folder}", str(shallow.folder))
    done = shallow.run("-m", "tools.recipe", "strong")
    message = "recipe: DVC cannot store an experiment in a shallow clone; complete it: git fetch --unshallow\n"
    assert (done.returncode, done.stdout, done.stderr) == (1, "", message)


@pytest.mark.parametrize("lost", ["LOGNAME", "HOME"])
def test_make_works_for_a_user_without_a_name_and_a_home(checkout: Checkout, lost: str) -> None:
    if not shutil.which("unshare") or subprocess.run([*UNKNOWN_USER, "true"], capture_output=True).returncode:
        pytest.skip("needs user namespaces")
    use_this_python(checkout)
    without = ["env", "-u", "USER", "-u", "LOGNAME", "-u", lost]
    done = subprocess.run([*UNKNOWN_USER, *without, "make"], cwd=checkout.folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "Data and pipelines are up to date." in done.stdout
