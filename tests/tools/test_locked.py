"""`make locked` in real checkouts: which differences between git and dvc.lock it refuses, and which it accepts."""

import json
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml
from conftest import ALL, BASELINE, Checkout

from mnist.core.params import read_yaml
from mnist.core.paths import ROOT

REMEDY = "locked: run `dvc repro`, and commit dvc.lock and reports with the change"
STAGES = """
  each:
    foreach: [a, b]
    do:
      cmd: echo ${item} > each-${item}
      outs: ["each-${item}"]
  grid:
    matrix: {size: "${sizes}", kind: [x]}
    cmd: echo ${item.size} ${item.kind} > grid-${item.size}
    deps: [each-a, each-b]
    outs: ["grid-${item.size}"]
  split:
    cmd: mkdir shards && cp ../source/one shards/1 && cp ../source/two shards/2
    wdir: parts
    deps: [../source]
    params: [../more.yaml: [sizes]]
    outs: [shards]
  join:
    cmd: cat parts/README parts/shards/* > joined
    deps: [parts, parts/shards, parts/shards/1]
    metrics: [joined: {cache: false}]
"""


def locked(checkout: Checkout) -> list[str]:
    """The lines of `make locked`, without the remedy."""
    done = checkout.run("-m", "tools.locked")
    lines = done.stderr.splitlines()
    assert done.returncode == (1 if lines else 0)
    assert not lines or lines.pop() == REMEDY, done.stderr
    return [line.removeprefix("locked: ") for line in lines]


def clone_of(checkout: Checkout, folder: Path) -> Checkout:
    """A clone of the last commit, without data."""
    checkout.git("clone", "--quiet", ".", str(folder))
    return Checkout(folder)


def commit(checkout: Checkout) -> None:
    checkout.git("add", "--all")
    checkout.git("commit", "--message", "change")


@pytest.fixture
def varied(checkout: Checkout) -> Checkout:
    """A checkout with further stages that use most of what dvc.yaml allows."""
    checkout.edit("dvc.yaml", "\nplots:\n", f"{STAGES}\nvars: [more.yaml]\n\nplots:\n")
    for path, text in {
        "more.yaml": "sizes: [1, 2]\n",
        "source/one": "1\n",
        "source/two": "2\n",
        "parts/README": "",
    }.items():
        (checkout.folder / path).parent.mkdir(exist_ok=True)
        (checkout.folder / path).write_text(text)
    with (checkout.folder / ".gitignore").open("a") as file:
        file.write("/each-*\n/grid-*\n/parts/shards\n")
    checkout.repro()
    commit(checkout)
    return checkout


def test_the_committed_dvc_lock_is_up_to_date() -> None:
    assert locked(Checkout(ROOT)) == []


def test_the_committed_results_belong_together() -> None:
    data, metrics = (json.loads((ROOT / f"reports/{name}.json").read_text()) for name in ("data", "metrics"))
    count = data["splits"]["test"]["n"]
    assert metrics["accuracy"] == pytest.approx(1 - metrics["errors"] / count, abs=1e-6)
    assert len((ROOT / "reports/predictions.csv").read_text().splitlines()) == 1 + count


def test_the_committed_accuracy_is_not_significantly_below_the_tutorials() -> None:
    shipped = {"download": {"dataset": "mnist"}, "train": {**BASELINE["train"], "epochs": 10}}
    if not shipped.items() <= read_yaml(ROOT / "params.yaml").items():
        pytest.skip("params.yaml differs from the tutorial's")
    assert json.loads((ROOT / "reports/metrics.json").read_text())["accuracy_interval"]["high"] >= 0.975


def test_after_a_run_and_in_a_clone_without_data_dvc_lock_is_up_to_date(checkout: Checkout, tmp_path: Path) -> None:
    assert locked(checkout) == []
    clone = clone_of(checkout, tmp_path / "fresh")
    assert not (clone.folder / "data/raw").exists()
    assert locked(clone) == []


def test_data_older_than_dvc_lock_does_not_matter(checkout: Checkout) -> None:
    (checkout.folder / "models/model.keras").unlink()
    (checkout.folder / "models/model.keras").write_bytes(b"of an earlier commit")
    assert locked(checkout) == []


def test_each_difference_is_named(checkout: Checkout) -> None:
    checkout.set_param("epochs", "3")
    checkout.edit("stages/train.py", "\nfrom ", "\n\nfrom ")
    checkout.edit("dvc.yaml", "cmd: python -m stages.plot", "cmd: python -B -m stages.plot")
    checkout.git("rm", "--cached", "stages/evaluate.py")
    (checkout.folder / "reports/figures/recall.png").unlink()
    (checkout.folder / "models/model.keras").unlink()  # it is in DVC's cache, not in git
    lock = yaml.safe_load((checkout.folder / "dvc.lock").read_text())
    for stage in ("evaluate", "report"):
        model = next(file for file in lock["stages"][stage]["deps"] if file["path"] == "models/model.keras")
        model["md5"] = "0" * 32
    (checkout.folder / "dvc.lock").write_text(yaml.safe_dump(lock))
    assert locked(checkout) == [
        "stage train: stages/train.py is modified",
        "stage train: params.yaml: train is modified",
        "stage evaluate: stages/evaluate.py is missing or not in git",
        "stage evaluate: models/model.keras is modified",
        "stage plot: cmd is modified",
        "stage plot: reports/figures/recall.png is missing or not in git",
        "stage report: models/model.keras is modified",
        "stage report: params.yaml: train is modified",
    ]


def test_a_renamed_stage_is_named_under_both_names(checkout: Checkout) -> None:
    checkout.edit("dvc.yaml", "  plot:\n    desc", "  draw:\n    desc")
    assert locked(checkout) == ["stage draw: not in dvc.lock", "stage plot: not in dvc.yaml; delete it from dvc.lock"]


def test_additions_to_a_stage_are_named(checkout: Checkout) -> None:
    checkout.edit("dvc.yaml", "params: [plot]", "params: [plot, gate]")
    checkout.edit("dvc.yaml", "deps:\n      [stages/plot.py,", "deps:\n      [stages/plot.py, README.md,")
    checkout.edit(
        "dvc.yaml", "      - data/augmented/examples.npy\n", "      - data/augmented/examples.npy\n      - more\n"
    )
    assert locked(checkout) == [
        "stage train: more is not in dvc.lock",
        "stage plot: README.md is not in dvc.lock",
        "stage plot: params.yaml: gate is not in dvc.lock",
    ]


def test_a_file_that_git_stores_with_other_line_ends_is_named(checkout: Checkout) -> None:
    path = checkout.folder / "stages/plot.py"
    path.write_bytes(path.read_bytes().replace(b"\n", b"\r\n"))
    assert checkout.repro() == ["plot"]
    commit(checkout)
    assert locked(checkout) == ["stage plot: stages/plot.py is modified"]


def test_a_file_that_is_added_to_git_and_not_committed_counts(checkout: Checkout) -> None:
    (checkout.folder / "mnist/core/more.py").write_text("")
    assert locked(checkout) == []  # it would not be part of a commit
    checkout.git("add", "mnist/core/more.py")
    assert locked(checkout) == [f"stage {name}: mnist/core is modified" for name in ALL]


def test_an_unreadable_pipeline_is_named(checkout: Checkout) -> None:
    checkout.edit("dvc.yaml", "stages:\n", "stages: [\n")
    done = checkout.run("-m", "tools.locked")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "locked: unable to read: 'dvc.yaml', YAML file structure is corrupted\n"


def test_loops_folders_and_further_files_are_accepted(varied: Checkout, tmp_path: Path) -> None:
    assert locked(varied) == []
    clone = clone_of(varied, tmp_path / "fresh")
    assert locked(clone) == []


def test_changes_in_loops_folders_and_further_files_are_named(varied: Checkout) -> None:
    (varied.folder / "parts/README").write_text("changed\n")
    (varied.folder / "source/one").write_text("changed\n")
    varied.edit("dvc.yaml", "foreach: [a, b]", "foreach: [a]")
    varied.edit("more.yaml", "sizes: [1, 2]", "sizes: [1, 3]")
    assert locked(varied) == [
        "stage grid@1-x: each-b is missing or not in git",
        "stage grid@3-x: not in dvc.lock",
        "stage split: source is modified",
        "stage split: more.yaml: sizes is modified",
        "stage join: parts is modified",
        "stage each@b: not in dvc.yaml; delete it from dvc.lock",
        "stage grid@2-x: not in dvc.yaml; delete it from dvc.lock",
    ]


def test_a_folder_output_that_changed_after_it_was_read_is_named(varied: Checkout, tmp_path: Path) -> None:
    (varied.folder / "source/one").write_text("changed\n")
    assert varied.repro("split") == ["split"]
    commit(varied)
    clone = clone_of(varied, tmp_path / "fresh")
    paths = ["parts", "parts/shards", "parts/shards/1"]
    assert sorted(locked(varied)) == [f"stage join: {path} is modified" for path in paths]
    assert locked(clone) == ["stage join: parts/shards is modified"]  # only the cache has the files of the folder


def test_a_project_in_a_folder_of_a_larger_repository_is_checked(checkout: Checkout, tmp_path: Path) -> None:
    shutil.rmtree(checkout.folder / ".git")
    larger = Checkout(tmp_path / "larger")
    project = Checkout(Path(shutil.copytree(checkout.folder, larger.folder / "some/project")))
    subprocess.run(["git", "init", "--quiet", str(larger.folder)], check=True)
    commit(larger)
    assert locked(project) == []
    project.edit("stages/plot.py", "\nimport ", "\nimport  ")
    assert locked(project) == ["stage plot: stages/plot.py is modified"]
