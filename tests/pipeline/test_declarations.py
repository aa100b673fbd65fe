"""dvc.yaml is correct: a stage imports, reads and writes only what it declares, and declares nothing unused.

Code is declared by package, which costs little: an edit of a module that a stage declares with its package but does not
import reruns that stage, and no later one, since its outputs have the same bytes.
"""

import ast
import json
from pathlib import Path

import pytest
import yaml
from conftest import ALL, Checkout
from imports import has_code, local_imports

from mnist.core.params import read_yaml
from mnist.core.paths import ROOT


def declared(stage: str, folder: Path = ROOT) -> dict[str, list]:
    """A stage of dvc.yaml, with `${download.dataset}` replaced by its value in params.yaml."""
    dataset = read_yaml(folder / "params.yaml")["download"]["dataset"]
    text = (folder / "dvc.yaml").read_text().replace("${download.dataset}", dataset)
    return yaml.safe_load(text)["stages"][stage]


def code_of(deps: list[str]) -> set[str]:
    """The packages and modules among a stage's deps."""
    return {dep for dep in deps if dep.startswith(("stages/", "mnist/"))}


def outs_of(stage: str) -> set[str]:
    """The outs of a stage: they are listed under outs, metrics or plots."""
    entries = [out for kind in ("outs", "metrics", "plots") for out in declared(stage).get(kind, [])]
    return {next(iter(out)) if isinstance(out, dict) else out for out in entries}


def covering(path: str, deps: set[str]) -> set[str]:
    """The deps that are a file, or a folder that contains it."""
    return {dep for dep in deps if Path(path).is_relative_to(dep)}


def sections_read(stage: str) -> set[str]:
    """The sections of params.yaml that a stage reads: by class with read_params, by name with read_sections."""
    nodes = [
        node for path in local_imports(ROOT / f"stages/{stage}.py") for node in ast.walk(ast.parse(path.read_text()))
    ]
    sections = {
        node.name: ast.literal_eval(statement.value)
        for node in nodes
        if isinstance(node, ast.ClassDef)
        for statement in node.body
        if isinstance(statement, ast.Assign) and getattr(statement.targets[0], "id", "") == "section"
    }
    found = set()
    for node in nodes:
        match node:
            case ast.Call(func=ast.Name(id="read_params"), args=[ast.Name(id=name)]):
                found.add(sections[name])
            case ast.Call(func=ast.Name(id="read_sections"), args=[ast.Constant(), *_] as names):
                found.update(map(ast.literal_eval, names))
    return found


def watched(checkout: Checkout, stage: str) -> dict[str, set[str]]:
    """Run a stage; the files of the checkout that it read and wrote, without modules that are only a docstring."""
    done = checkout.run("tests/pipeline/watch.py", f"stages.{stage}")
    assert done.returncode == 0, done.stderr
    files = {key: set(paths) for key, paths in json.loads(done.stdout.splitlines()[-1]).items()}
    files["read"] = {path for path in files["read"] if not path.endswith(".py") or has_code(checkout.folder / path)}
    return files


@pytest.mark.parametrize("stage", ALL)
def test_imports_lie_within_the_declared_code_and_use_all_of_it(stage: str) -> None:
    code = code_of(declared(stage)["deps"])
    imports = {str(path.relative_to(ROOT)): path for path in local_imports(ROOT / f"stages/{stage}.py")}
    assert [path for path in imports if not covering(path, code)] == []
    assert set().union(*(covering(path, code) for path in imports)) == code


@pytest.mark.parametrize("stage", ALL)
def test_params_are_the_sections_that_a_stage_reads(stage: str) -> None:
    assert set(declared(stage).get("params", [])) == sections_read(stage)


@pytest.mark.parametrize("stage", ALL)
def test_a_run_reads_only_its_deps_and_all_of_them_and_writes_its_outs(checkout: Checkout, stage: str) -> None:
    if stage == "download":
        for name in outs_of(stage):
            (checkout.folder / name).unlink()
    files = watched(checkout, stage)
    deps = {*declared(stage, checkout.folder)["deps"], *(["params.yaml"] if "params" in declared(stage) else [])}
    assert [path for path in files["read"] if not covering(path, deps)] == []
    assert set().union(*(covering(path, deps) for path in files["read"])) == deps
    assert files["written"] == outs_of(stage)


def test_an_undeclared_file_that_a_stage_reads_is_noticed(checkout: Checkout) -> None:
    line = "    params, data = read_params(PlotParams), read_data_summary()\n"
    checkout.edit("stages/plot.py", line, f"{line}    open('README.md').close()\n")
    deps = {*declared("plot", checkout.folder)["deps"], "params.yaml"}
    assert [path for path in watched(checkout, "plot")["read"] if not covering(path, deps)] == ["README.md"]
