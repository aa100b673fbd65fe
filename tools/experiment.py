"""Named sets of parameters run as DVC experiments: what `make recipe` and `make sweep` share.

They run in a temporary folder of DVC (--temp), so that the working tree stays as it is, also after Ctrl-C.
"""

import difflib
import json
import os
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from mnist.core.errors import UserError
from mnist.core.params import SHORT_REPR, Yaml12Loader, read_yaml
from mnist.core.paths import CHECKPOINTS, PARAMS, RAW, relative
from tools.checkout import ROOT, git, run_dvc

RECIPES = ROOT / "recipes"
CODE = ("dvc.yaml", "stages")
RUNS = ROOT / ".dvc/cache/runs"  # DVC's run cache: a file for each stage that was executed


@dataclass(frozen=True)
class Experiment:
    """A finished experiment: a commit that git and DVC know by its name."""

    name: str
    revision: str
    seconds: float | None = None  # it took in this call; None if it did not train, because the result was known

    def read(self, path: str) -> str:
        """The text of a file as the experiment left it."""
        return git("show", f"{self.revision}:{path}") or ""


def recipes() -> dict[str, str]:
    """The name of each recipe, with what the first line of its file says of it."""
    files = sorted(RECIPES.glob("*.yaml"))
    return {
        file.stem: file.read_text(encoding="utf-8", errors="replace").partition("\n")[0].lstrip("# ") for file in files
    }


def list_of_recipes() -> str:
    """All recipes, each on a line that shows how to run it."""
    known = recipes()
    width = max(map(len, known), default=0)
    return "\n".join(f"  make recipe NAME={name:<{width}}  {text}" for name, text in known.items())


def read_recipe(name: str) -> dict[str, Any]:
    """The parameters that a recipe changes, by their dotted names.

    Raises:
        UserError: there is no such recipe, or it is not as it should be.
    """
    if name not in recipes():
        raise UserError(f"there is no recipe '{name}'; there are\n{list_of_recipes()}")
    path = RECIPES / f"{name}.yaml"
    changes = flatten(read_yaml(path))
    for key, value in changes.items():
        check_value(path, key, value)
    return changes


def flatten(content: Mapping[str, Any]) -> dict[str, Any]:
    """The values of nested sections, each under its dotted name."""
    flat: dict[str, Any] = {}
    for key, value in content.items():
        inner = {f"{key}.{name}": part for name, part in flatten(value).items()} if isinstance(value, dict) else None
        flat.update({str(key): value} if inner is None else inner)
    return flat


def current_params() -> dict[str, Any]:
    """What params.yaml in the working tree says, by dotted name."""
    return flatten(read_yaml(PARAMS))


def check_value(path: Path, key: str, value: Any) -> None:
    """Check what can be checked before a run: that params.yaml has the key, with the same kind of value.

    The ranges are the stages' own, which check them when they run.

    Args:
        path: the file that gives the value, for the error.
        key: dotted name of the parameter.
        value: the value it is to have.

    Raises:
        UserError: DVC would add an unknown key without a word.
    """
    known = current_params()
    if key not in known:
        near = difflib.get_close_matches(key, known, n=1)
        hint = f"did you mean '{near[0]}'?" if near else f"params.yaml has {', '.join(known)}"
        raise UserError(f"{relative(path)}: unknown key '{key}'; {hint}")
    if known[key] is not None and _kind(value) != _kind(known[key]):
        raise UserError(f"{relative(path)}: {key} is {SHORT_REPR.repr(value)}, but should be {_kind(known[key])}")


def _kind(value: Any) -> str:
    """A value's type in words; whole numbers and others are one."""
    kinds = {bool: "true or false", int: "a number", float: "a number", str: "a word", list: "a list"}
    return kinds.get(type(value), "empty")


def set_param(key: str, value: Any) -> str:
    """The argument of DVC's --set-param, in Hydra's syntax, which reads JSON."""
    return f"{key}={json.dumps(value)}"


def find(name: str, changes: Mapping[str, Any]) -> Experiment | None:
    """The finished experiment of this name, if it is of the code and the parameters as they are now."""
    revision = _revision(name)
    if not revision or git("diff", "--name-only", revision, "--", *CODE) != "":
        return None
    experiment = Experiment(name, revision)
    params = flatten(yaml.load(experiment.read("params.yaml"), Yaml12Loader))  # noqa: S506, it is a SafeLoader
    return experiment if params == {**current_params(), **changes} else None


def run(name: str, changes: Mapping[str, Any], *, fresh: bool = False) -> Experiment:
    """Run the pipeline with changed parameters as the experiment of this name, in the place of an earlier one.

    Args:
        name: of the experiment.
        changes: values of parameters by their dotted names.
        fresh: run all stages, also those whose results are known.

    Raises:
        UserError: a stage failed; DVC has said which and why.
        KeyboardInterrupt: Ctrl-C, after DVC has cleaned up.
    """
    earlier = _revision(name)
    if earlier and not fresh:
        git("update-ref", "-d", _ref(name))  # DVC replaces it only with --force, which would run all stages
    before = _runs()
    arguments = [word for key, value in changes.items() for word in ("--set-param", set_param(key, value))]
    start = time.monotonic()
    status = run_dvc(
        *("exp", "run", "--temp", "--name", name, *arguments, *(["--force"] if fresh else [])),
        # Unbuffered: each epoch's line at once, also through a pipe.
        changes={"PYTHONUNBUFFERED": "1", **_checkpoints(fresh), **_source(fresh), **_identity()},
    )
    seconds = time.monotonic() - start
    if status and earlier and not fresh:
        git("update-ref", _ref(name), earlier)
    if status == 130:
        raise KeyboardInterrupt
    revision = _revision(name)
    if status or not revision:
        raise UserError(f"experiment {name} failed; DVC says above why")
    trained = fresh or any("stages.train" in path.read_text() for path in _runs() - before)
    return Experiment(name, revision, seconds if trained else None)


def say_uncommitted(tool: str) -> None:
    """Say which changes of the working tree become part of an experiment; DVC takes them without a word."""
    if changed := git("diff", "--name-only", "HEAD", "--", "params.yaml", *CODE):
        print(f"{tool}: uncommitted changes are part of what runs: {', '.join(changed.split())}", flush=True)


def _ref(name: str) -> str:
    """Where DVC keeps the experiment of this name on the last commit."""
    commit = git("rev-parse", "HEAD") or ""
    return f"refs/exps/{commit[:2]}/{commit[2:]}/{name}"


def _revision(name: str) -> str | None:
    """The commit of the experiment of this name on the last commit."""
    return git("rev-parse", "--quiet", "--verify", _ref(name))


def _runs() -> set[Path]:
    """The stages' runs that DVC remembers."""
    return set(RUNS.glob("*/*/*"))


def _identity() -> dict[str, str]:
    """An author for DVC's commits where git knows none, as on a fresh machine; without one it refuses to run."""
    if git("config", "user.name") and git("config", "user.email"):
        return {}
    names = {"NAME": "experiment", "EMAIL": "experiment@localhost"}
    variables = {f"GIT_{who}_{what}": value for who in ("AUTHOR", "COMMITTER") for what, value in names.items()}
    return {name: os.environ.get(name, value) for name, value in variables.items()}


def _checkpoints(fresh: bool) -> dict[str, str]:
    """Where training keeps what it has reached: not in DVC's temporary folder, which is gone after Ctrl-C."""
    return {} if fresh else {"CHECKPOINTS": str(CHECKPOINTS)}


def _source(fresh: bool) -> dict[str, str]:
    """Where the download stage is to look first: a folder's name must hold in DVC's temporary folder as well."""
    given = os.environ.get("DATASET_MIRROR") or (str(RAW) if fresh else "")
    return {"DATASET_MIRROR": os.path.abspath(given)} if os.path.isdir(given) else {}
