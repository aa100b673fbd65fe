"""The imports of a program, read from its syntax tree."""

import ast
from pathlib import Path

from mnist.core.paths import ROOT


def imported_names(source: str) -> set[str]:
    """The dotted names that a program imports, in any form, at any level of indentation.

    Raises:
        ValueError: an import is relative or by a computed name, which cannot be followed.
    """
    names: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.Import():
                names.update(alias.name for alias in node.names)
            case ast.ImportFrom(module=str(module), level=0):
                names.update([module, *(f"{module}.{alias.name}" for alias in node.names)])
            case ast.ImportFrom():
                raise ValueError(f"line {node.lineno}: relative import")
            case ast.Call(
                func=ast.Name(id="__import__" | "import_module") | ast.Attribute(attr="__import__" | "import_module")
            ):
                argument = [*node.args, *(keyword.value for keyword in node.keywords)][0]
                if not isinstance(argument, ast.Constant):
                    raise ValueError(f"line {node.lineno}: import by a computed name")
                names.add(argument.value)
    return names


def local_imports(script: Path) -> set[Path]:
    """The project's files that run when a script is imported, itself included, direct imports or not.

    Files without code are left out: an `__init__.py` that is only a docstring.
    """
    found: set[Path] = set()
    waiting = [script]
    while waiting:
        path = waiting.pop()
        if path in found or not path.exists():
            continue
        found.add(path)
        waiting.extend(folder / "__init__.py" for folder in path.parents)
        for name in imported_names(path.read_text()):
            base = ROOT / name.replace(".", "/")
            waiting.extend([base.with_suffix(".py"), base / "__init__.py"])
    return set(filter(has_code, found))


def has_code(path: Path) -> bool:
    """Whether a module is more than a docstring."""
    return not all(isinstance(node, ast.Expr) for node in ast.parse(path.read_text()).body)
