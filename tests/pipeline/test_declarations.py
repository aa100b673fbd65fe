"""dvc.yaml tells the truth: what it declares of a stage is exactly what the stage imports, reads and writes."""

import ast
import json
from pathlib import Path

import pytest
import yaml
from conftest import Checkout

from tools.checkout import ROOT

STAGES = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]

# Runs a stage and prints, as its last line, the files of the checkout that it opened and those that it left.
WATCH = """
import json, os, runpy, sys
root, opened, moved = os.getcwd() + os.sep, set(), {}
def watch(event, arguments):
    if event == "open" and isinstance(arguments[0], (str, bytes)):
        opened.add(os.path.abspath(os.fsdecode(arguments[0])))
    elif event == "os.rename":
        source, target = (os.path.abspath(os.fsdecode(path)) for path in arguments[:2])
        moved[target] = source
sys.addaudithook(watch)
runpy.run_module(sys.argv[1], run_name="__main__", alter_sys=True)
def source(path):  # of a compiled module, or the path itself
    folder, name = os.path.split(path)
    parent, cache = os.path.split(folder)
    return os.path.join(parent, name.split(".")[0] + ".py") if cache == "__pycache__" else path
inside = lambda paths: sorted({path.removeprefix(root) for path in paths if path.startswith(root)})
read = {source(path) for path in opened if os.path.isfile(path) and path not in moved}
print(json.dumps({"read": inside(read), "written": inside(filter(os.path.exists, moved))}))
"""


def local_imports(module: Path) -> set[Path]:
    """The files of the project that a module imports, itself included, direct or not, wherever the import stands."""
    found: set[Path] = set()
    waiting = [module]
    while waiting:
        path = waiting.pop()
        if path in found:
            continue
        found.add(path)
        waiting.extend(folder / "__init__.py" for folder in path.parents if (folder / "__init__.py").exists())
        for node in ast.walk(ast.parse(path.read_text())):
            names: list[str] = []
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                assert node.level == 0, f"{path}: relative import"
                names = [f"{node.module}", *(f"{node.module}.{alias.name}" for alias in node.names)]
            files = (ROOT / f"{name.replace('.', '/')}.py" for name in names)
            waiting.extend(file for file in files if file.exists())
    return found


def sections_read(module: Path) -> set[str]:
    """The sections of params.yaml that a stage asks for: by class with read_params, by name with read_sections."""
    sections = {}
    for path in local_imports(module):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ClassDef):
                for statement in node.body:
                    if isinstance(statement, ast.Assign) and getattr(statement.targets[0], "id", "") == "section":
                        sections[node.name] = ast.literal_eval(statement.value)
    calls = [
        (getattr(node.func, "id", ""), argument)
        for path in local_imports(module)
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call)
        for argument in node.args
    ]
    by_class = {sections[argument.id] for name, argument in calls if name == "read_params"}
    return by_class | {argument.value for name, argument in calls if name == "read_sections"}


def outs(stage: str) -> set[str]:
    """The declared outs of a stage: they stand under outs, metrics or plots."""
    declared = [out for kind in ("outs", "metrics", "plots") for out in STAGES[stage].get(kind, [])]
    return {next(iter(out)) if isinstance(out, dict) else out for out in declared}


def watched(checkout: Checkout, stage: str) -> dict[str, set[str]]:
    done = checkout.run("-c", WATCH, f"stages.{stage}")
    assert done.returncode == 0, done.stderr
    return {key: set(paths) for key, paths in json.loads(done.stdout.splitlines()[-1]).items()}


@pytest.mark.parametrize("stage", STAGES)
def test_code_dependencies_are_the_imports(stage: str) -> None:
    declared = {dep for dep in STAGES[stage]["deps"] if dep.endswith(".py")}
    assert declared == {str(path.relative_to(ROOT)) for path in local_imports(ROOT / f"stages/{stage}.py")}


@pytest.mark.parametrize("stage", STAGES)
def test_parameters_are_the_sections_read(stage: str) -> None:
    assert set(STAGES[stage].get("params", [])) == sections_read(ROOT / f"stages/{stage}.py")


@pytest.mark.parametrize("stage", STAGES)
def test_a_run_reads_its_deps_and_writes_its_outs_and_no_other_file(checkout: Checkout, stage: str) -> None:
    if stage == "download":
        for name in outs(stage):
            (checkout.folder / name).unlink()
    files = watched(checkout, stage)
    assert files["read"] == {*STAGES[stage]["deps"], *(["params.yaml"] if "params" in STAGES[stage] else [])}
    assert files["written"] == outs(stage)


def test_an_undeclared_file_that_a_stage_reads_is_noticed(checkout: Checkout) -> None:
    checkout.edit(
        "stages/plot.py",
        "    params = read_params(PlotParams)\n",
        "    params = read_params(PlotParams)\n    open('README.md').close()\n",
    )
    files = watched(checkout, "plot")
    assert files["read"] - {*STAGES["plot"]["deps"], "params.yaml"} == {"README.md"}


@pytest.mark.parametrize("stage", STAGES)
def test_only_train_and_evaluate_import_tensorflow(checkout: Checkout, stage: str) -> None:
    done = checkout.run("-c", f"import sys, stages.{stage}; print('tensorflow' in sys.modules)")
    assert done.stdout.strip() == str(stage in ("train", "evaluate"))


def test_only_one_module_imports_tensorflow() -> None:
    importers = {path.name for path in (ROOT / "stages").rglob("*.py") if "import tensorflow" in path.read_text()}
    assert importers == {"backend.py"}
