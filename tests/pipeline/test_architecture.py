"""The architecture: imports point one way, one module imports TensorFlow, functions and modules stay small."""

import ast

import pytest
from conftest import ALL, Checkout
from imports import imported_names

from mnist.core.paths import ROOT

# A module imports from its own package and from packages of higher numbers; those of one number are independent.
LEVELS = {
    **dict.fromkeys(["tests", "tools"], 0),
    **dict.fromkeys(["predict", *(f"stages.{stage}" for stage in ALL)], 1),
    **dict.fromkeys(["mnist.report", "mnist.figures", "mnist.handwriting", "mnist.training"], 2),
    **dict.fromkeys(["mnist.model", "mnist.dataset", "mnist.metrics", "mnist.paper", "mnist.style"], 3),
    "mnist.core": 4,
}
TENSORFLOW = {"keras", "tensorflow"}
BACKEND = "mnist.model.backend"
MAX_FUNCTION, MAX_PARAMETERS, MAX_MODULE = 60, 8, 220  # lines, parameters besides self and cls, lines

PATHS = [ROOT / "predict.py", *(path for top in ("mnist", "stages", "tools") for path in (ROOT / top).rglob("*.py"))]
MODULES = {".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path for path in PATHS}


def package_of(name: str) -> str | None:
    """The entry of LEVELS that a dotted name belongs to; None for a name that is not the project's."""
    return next((package for package in LEVELS if f"{name}.".startswith(f"{package}.")), None)


def wrong_imports(module: str, source: str) -> set[str]:
    """The packages of the project that a module may not import, but does."""
    own = package_of(module)
    others = set(map(package_of, imported_names(source))) - {own, None}
    return {other for other in others if own is None or LEVELS[other] <= LEVELS[own]}


def imports_tensorflow(source: str) -> bool:
    return bool(TENSORFLOW & {name.partition(".")[0] for name in imported_names(source)})


def oversized(source: str) -> list[str]:
    """What exceeds a limit: "module", or the name of a function."""
    found = ["module"] if len(source.splitlines()) > MAX_MODULE else []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            arguments = [
                *node.args.posonlyargs,
                *node.args.args,
                *node.args.kwonlyargs,
                node.args.vararg,
                node.args.kwarg,
            ]
            count = sum(argument is not None and argument.arg not in ("self", "cls") for argument in arguments)
            if node.end_lineno - node.lineno + 1 > MAX_FUNCTION or count > MAX_PARAMETERS:
                found.append(node.name)
    return found


def test_imports_point_one_way() -> None:
    wrong = {module: wrong_imports(module, path.read_text()) for module, path in MODULES.items()}
    assert {module: imports for module, imports in wrong.items() if imports} == {}


def test_each_package_has_a_level() -> None:
    assert {module for module in MODULES if package_of(module) is None} == {"mnist", "stages.mnist"}


@pytest.mark.parametrize(
    ("module", "source", "expected"),
    [
        ("mnist.core.files", "from mnist.core.errors import UserError", set()),
        ("mnist.core.files", "from mnist.dataset import idx", {"mnist.dataset"}),
        ("mnist.core.files", "from tools import cache", {"tools"}),
        ("mnist.model.layers", "import tests.conftest", {"tests"}),
        ("mnist.model.layers", "def f():\n    import stages.train", {"stages.train"}),
        ("mnist.model.layers", "from mnist.metrics.interval import wilson_interval", {"mnist.metrics"}),
        ("mnist.model.layers", "import mnist.training.loop, mnist.core.paths", {"mnist.training"}),
        ("mnist.figures", "from mnist import handwriting", {"mnist.handwriting"}),
        ("mnist.figures", "from mnist.metrics import calibration", set()),
        ("mnist", "from mnist.core import errors", {"mnist.core"}),
        ("stages.plot", "from stages.report import main", {"stages.report"}),
        ("tools.gate", "from mnist.core import errors\nfrom tools import checkout\nimport numpy", set()),
    ],
)
def test_a_wrong_import_is_noticed(module: str, source: str, expected: set[str]) -> None:
    assert wrong_imports(module, source) == expected


def test_only_the_backend_imports_tensorflow() -> None:
    # The benchmark includes the tutorial's own program, which does as well.
    importers = {module for module, path in MODULES.items() if imports_tensorflow(path.read_text())}
    assert {module for module in importers if not module.startswith("tools.bench.")} == {BACKEND}


@pytest.mark.parametrize(
    "source",
    [
        "import tensorflow",
        "import os, tensorflow as tf",
        "import keras.layers",
        "from tensorflow import keras",
        "from keras.layers import Dense",
        "from tensorflow.keras import layers as l",
        "def f():\n    if True:\n        import keras",
        'import importlib\nimportlib.import_module("tensorflow")',
        'from importlib import import_module\nimport_module(name="tensorflow.keras")',
        '__import__("keras")',
        'import builtins\nbuiltins.__import__("tensorflow")',
    ],
)
def test_each_form_of_importing_tensorflow_is_noticed(source: str) -> None:
    assert imports_tensorflow(source)


@pytest.mark.parametrize(
    "source",
    ["# import tensorflow", 'print("import keras")', "import keras_like", "from mnist.model.backend import keras, tf"],
)
def test_other_code_is_not_an_import_of_tensorflow(source: str) -> None:
    assert not imports_tensorflow(source)


@pytest.mark.parametrize("source", ["from . import files", "from .files import x", "__import__(name)"])
def test_an_import_that_cannot_be_followed_is_refused(source: str) -> None:
    with pytest.raises(ValueError, match="line 1: "):
        imported_names(source)


@pytest.mark.parametrize("stage", ALL)
def test_a_stage_loads_only_the_large_packages_that_it_uses(stage: str) -> None:
    tensorflow, tables = ["tensorflow"], ["matplotlib", "pandas"]
    used = {"train": ["keras", *tensorflow], "evaluate": tensorflow, "plot": tables, "report": tables}
    large = {"keras", "matplotlib", "pandas", "sklearn", "tensorflow"}
    done = Checkout(ROOT).run("-c", f"import sys, stages.{stage}; print(*{large} & sys.modules.keys())")
    assert sorted(done.stdout.split()) == used.get(stage, [])


def test_functions_and_modules_are_small() -> None:
    exceeding = {module: oversized(path.read_text()) for module, path in MODULES.items()}
    assert {module: names for module, names in exceeding.items() if names} == {}


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("def f():\n" + "    x = 1\n" * 59, []),
        ("def f():\n" + "    x = 1\n" * 60, ["f"]),
        ("class A:\n    async def g(self):\n" + "        x = 1\n" * 60, ["g"]),
        ("def f(a, b, c, d, /, e, f, *, g, h): pass", []),
        ("def f(a, b, c, d, /, e, f, *g, h, **i): pass", ["f"]),
        ("class A:\n    def f(self, a, b, c, d, e, f, g, h): pass", []),
        ("x = 1\n" * 220, []),
        ("x = 1\n" * 221, ["module"]),
    ],
)
def test_exceeded_limits_are_noticed(source: str, expected: list[str]) -> None:
    assert oversized(source) == expected
