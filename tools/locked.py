"""`make locked`: does dvc.lock fit the code, the parameters and the reports that are committed with it?

`dvc status` compares more than a commit holds: in a fresh clone it counts the missing data as changes, and after a pull
it would hold a commit up until the model is trained again. Data and models are not in git. So of these, dvc.lock has
only to agree with itself: what a stage read is what another wrote. No large file is read, and each clone says the same.
"""

import hashlib
import sys
from collections.abc import Mapping
from typing import Any

from mnist.core.errors import UserError
from mnist.core.params import read_yaml
from tools.checkout import ROOT, git
from tools.experiment import current_params, flatten

KINDS_OF_OUTPUT = ("outs", "metrics", "plots")


def names(entries: list[Any]) -> set[str]:
    """The names in a list of dvc.yaml or dvc.lock, whose entries are a name, a name with options, or have a path."""
    return {entry if isinstance(entry, str) else entry.get("path") or next(iter(entry)) for entry in entries}


def changes_of_declaration(stage: Mapping[str, Any], locked: Mapping[str, Any]) -> list[str]:
    """What dvc.yaml says of a stage that dvc.lock does not: any of cmd, params, deps, outs."""
    declared = {
        "cmd": stage["cmd"],
        "params": names(stage.get("params", [])),
        "deps": names(stage.get("deps", [])),
        "outs": names([out for kind in KINDS_OF_OUTPUT for out in stage.get(kind, [])]),
    }
    recorded = {
        "cmd": locked["cmd"],
        "params": set(locked.get("params", {}).get("params.yaml", {})),
        "deps": names(locked.get("deps", [])),
        "outs": names(locked.get("outs", [])),
    }
    return [key for key in declared if declared[key] != recorded[key]]


def changes_of_params(locked: Mapping[str, Any], params: Mapping[str, Any]) -> list[str]:
    """The parameters, by dotted name, that have another value than a stage ran with."""
    sections = locked.get("params", {}).get("params.yaml", {})
    recorded = flatten(sections)
    now = {key: value for key, value in params.items() if {key, key.partition(".")[0]} & set(sections)}
    absent = object()
    return [key for key in {**recorded, **now} if recorded.get(key, absent) != now.get(key, absent)]


def differences() -> list[str]:
    """Each way in which dvc.lock does not fit the working tree, in a sentence.

    Raises:
        UserError: dvc.yaml, dvc.lock or params.yaml cannot be read.
    """
    stages, lock = (read_yaml(ROOT / name).get("stages", {}) for name in ("dvc.yaml", "dvc.lock"))
    params = current_params()
    in_git = set((git("ls-files") or "").splitlines())
    cached = names([out for stage in stages.values() for out in stage.get("outs", [])])
    written = {out["path"]: out["md5"] for locked in lock.values() for out in locked.get("outs", [])}

    def content(path: str) -> str | None:
        if path in cached:
            return written.get(path)
        file = ROOT / path
        return hashlib.md5(file.read_bytes()).hexdigest() if path in in_git and file.is_file() else None  # noqa: S324

    found = [f"stage {name} is not in both dvc.yaml and dvc.lock" for name in sorted(stages.keys() ^ lock.keys())]
    for name in (name for name in stages if name in lock):
        found += [
            f"dvc.yaml: {key} of stage {name} changed" for key in changes_of_declaration(stages[name], lock[name])
        ]
        found += [
            f"params.yaml: {key} is not what stage {name} ran with" for key in changes_of_params(lock[name], params)
        ]
        for kind, did in (("deps", "read"), ("outs", "wrote")):
            for file in lock[name].get(kind, []):
                now = content(file["path"])
                if now is None:
                    found.append(f"{file['path']}, which stage {name} {did}, is missing or not in git")
                elif now != file["md5"]:
                    found.append(f"{file['path']} is not what stage {name} {did}")
    return found


def main() -> int:
    """Check; return the exit status: 0 if dvc.lock fits, 1 if not."""
    try:
        found = differences()
    except UserError as error:
        found = [str(error)]
    if not found:
        return 0
    print("\n".join(f"locked: {difference}" for difference in found), file=sys.stderr)
    print("locked: run `dvc repro`, and commit dvc.lock and reports with the change", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
