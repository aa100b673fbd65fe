"""DVC experiments for `make recipe` and `make sweep`: the pipeline with changed parameters, under a name.

DVC runs them in a temporary folder (--temp), so that the working tree does not change, even after Ctrl-C.
"""

import json
import os
import shutil
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
from ruamel.yaml import YAML

from mnist.core.errors import UserError
from mnist.core.params import read_yaml
from mnist.core.paths import CHECKPOINTS, PARAMS, ROOT
from tools.checkout import data_source, git, require_commit, run_dvc

RUNNING = ROOT / ".dvc/tmp/exps/standalone"  # a temporary folder per experiment
CODE = ("dvc.yaml", "stages", "mnist", "datasets")


@dataclass(frozen=True)
class Experiment:
    """A finished experiment, a git commit; `seconds` is None if it was finished before this call."""

    revision: str
    seconds: float | None = None

    def read(self, path: str) -> str:
        """The text of a file in the experiment."""
        return git("show", f"{self.revision}:./{path}") or ""


def flatten(content: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """The values of nested sections, by dotted name."""
    flat: dict[str, Any] = {}
    for key, value in content.items():
        flat |= flatten(value, f"{prefix}{key}.") if isinstance(value, dict) else {f"{prefix}{key}": value}
    return flat


def set_param(key: str, value: Any) -> str:
    """The argument of DVC's --set-param, in Hydra's syntax, which includes JSON; DVC refuses an unknown key."""
    return f"{key}={json.dumps(value, separators=(',', ':'))}"


def find(name: str, changes: Mapping[str, Any]) -> Experiment | None:
    """Find the finished experiment of this name, if it has the current code and parameters with these changes."""
    revision = git("rev-parse", "--quiet", "--verify", _ref(name))
    if not revision or git("diff", "--name-only", revision, "--", *CODE) != "":
        return None
    experiment = Experiment(revision)
    params = flatten(YAML(typ="safe").load(experiment.read("params.yaml")))
    return experiment if params == {**flatten(read_yaml(PARAMS)), **changes} else None


def run(name: str, changes: Mapping[str, Any], *, fresh: bool = False) -> Experiment:
    """Run the pipeline with changed parameters; `fresh` runs all stages, even those with results in DVC's cache.

    If DVC or a stage fails (UserError), or after Ctrl-C, an earlier experiment of this name is kept.
    """
    earlier = not fresh and git("rev-parse", "--quiet", "--verify", _ref(name))
    target = f"{name}.new" if earlier else name  # DVC replaces one only with --force, which would run all stages
    if earlier:
        git("update-ref", "-d", _ref(target))  # of a run that was killed as it ended
    params = [word for key, value in changes.items() for word in ("--set-param", set_param(key, value))]
    start = time.monotonic()
    command = ("exp", "run", "--temp", "--name", target, *params, *(["--force"] if fresh else []))
    status = run_dvc(*command, changes=_environment(fresh))
    if status == 130:
        raise KeyboardInterrupt
    revision = git("rev-parse", "--quiet", "--verify", _ref(target))
    if status or not revision:
        raise UserError(f"experiment {name} failed; DVC prints above why")
    if earlier:
        git("update-ref", _ref(name), revision)
        git("update-ref", "-d", _ref(target))
    return Experiment(revision, time.monotonic() - start)


def prepare(tool: str) -> None:
    """Check that DVC can store experiments, clear killed ones, and name changes that are not in the last commit.

    UserError if git cannot read the last commit, or the repository is a shallow clone.
    """
    require_commit()
    if git("rev-parse", "--is-shallow-repository") == "true":
        raise UserError("DVC cannot store an experiment in a shallow clone; complete it: git fetch --unshallow")
    clear_killed()
    if changed := git("diff", "--relative", "--name-only", "HEAD", "--", "params.yaml", *CODE):
        print(f"{tool}: uncommitted changes are part of the experiment: {', '.join(changed.splitlines())}", flush=True)
    if new := git("ls-files", "--others", "--exclude-standard", "--", *CODE):
        print(f"{tool}: not part of the experiment until `git add`: {', '.join(new.splitlines())}", flush=True)


def clear_killed() -> None:
    """Delete the folders of experiments whose processes were killed: DVC would list these as running for ever."""
    folders = list(RUNNING.glob("tmp*"))
    processes = [process.info for process in psutil.process_iter(["cwd", "cmdline"])]
    # The process of an experiment enters its folder once that is complete.
    starting = any({"exp", "run"} <= set(p["cmdline"] or ()) and p["cwd"] == str(ROOT) for p in processes)
    for folder in [] if starting else folders:
        if not any(Path(p["cwd"] or "/").is_relative_to(folder) for p in processes):
            shutil.rmtree(folder, ignore_errors=True)


def _ref(name: str) -> str:
    """The git reference of an experiment on the last commit."""
    commit = git("rev-parse", "HEAD") or ""
    return f"refs/exps/{commit[:2]}/{commit[2:]}/{name}"


def _environment(fresh: bool) -> dict[str, str]:
    """Environment variables for DVC's temporary folder, which is deleted after a failure or Ctrl-C."""
    changes = {"PYTHONUNBUFFERED": "1", **data_source()}  # unbuffered: each epoch's line at once, also through a pipe
    if not fresh:
        changes["CHECKPOINTS"] = str(CHECKPOINTS)  # outside of the folder: an interrupted training can be resumed
    if not (git("config", "user.email") or os.environ.get("GIT_AUTHOR_EMAIL")):  # without an author, DVC cannot commit
        for role in ("AUTHOR", "COMMITTER"):
            changes |= {f"GIT_{role}_NAME": "experiment", f"GIT_{role}_EMAIL": "experiment@localhost"}
    return changes
