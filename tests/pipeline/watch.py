"""Run a module, and print as the last line which files of the current folder it opened and which it wrote.

    python tests/pipeline/watch.py stages.plot

A written file is one that was renamed from a temporary file. A compiled module counts as its source.
"""

import json
import os
import runpy
import sys
from collections.abc import Iterable
from importlib.util import source_from_cache
from pathlib import Path
from typing import Any

opened: set[Path] = set()
written: set[Path] = set()


def watch(event: str, arguments: tuple[Any, ...]) -> None:
    """Record opened and renamed files (an audit hook)."""
    if event == "open" and isinstance(arguments[0], (str, bytes)):
        opened.add(Path(os.fsdecode(arguments[0])).absolute())
    elif event == "os.rename":
        written.add(Path(os.fsdecode(arguments[1])).absolute())


def inside(paths: Iterable[Path]) -> list[str]:
    """The existing files in the current folder, relative to it."""
    sources = {Path(source_from_cache(path)) if path.suffix == ".pyc" else path for path in paths if path.is_file()}
    return sorted(str(path.relative_to(Path.cwd())) for path in sources if path.is_relative_to(Path.cwd()))


sys.path[0] = str(Path.cwd())
sys.addaudithook(watch)
runpy.run_module(sys.argv[1], run_name="__main__", alter_sys=True)
print(json.dumps({"read": inside(opened - written), "written": inside(written)}))
