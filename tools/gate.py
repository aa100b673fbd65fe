"""`make gate`: is the test accuracy high enough, and not lower than at a git revision by more than chance?

Judges reports/predictions.csv by the section gate of params.yaml. Exit status: 0 passed, 1 failed, 2 cannot be judged.
"""

import argparse
import csv
import sys
from typing import Annotated

import numpy as np
from pydantic import Field
from scipy.special import bdtrc

from mnist.core.data import read_data_summary
from mnist.core.errors import UserError
from mnist.core.files import missing_file
from mnist.core.params import Params, read_params
from mnist.core.paths import PREDICTIONS, relative
from mnist.dataset.catalogue import DatasetName
from mnist.metrics.interval import wilson_interval
from tools.checkout import git, require_commit

TABLE = relative(PREDICTIONS)


class GateParams(Params):
    """The section gate of params.yaml."""

    section = "gate"
    floor: Annotated[float, Field(ge=0, le=1)]
    floor_dataset: DatasetName
    significance: Annotated[float, Field(gt=0, lt=1)]


def find_commit(name: str) -> str:
    """Find the commit of a git revision, or of the newest DVC experiment of that name; UserError if there is none."""
    newest = ("--count=1", "--sort=-committerdate", "--format=%(objectname)", f"refs/exps/*/*/{name}")
    commit = git("rev-parse", "--verify", "--quiet", f"{name}^{{commit}}") or git("for-each-ref", *newest)
    if not commit:
        raise UserError(f"git has no revision or DVC experiment '{name}'; see `git log`, `dvc exp list --all-commits`")
    return commit


def parse(content: str, where: str) -> np.ndarray:
    """Read a predictions.csv: actual and predicted class names, str (2, n); UserError if it is not valid."""
    try:
        rows = [(row["actual"], row["predicted"]) for row in csv.DictReader(content.splitlines())]
    except (KeyError, csv.Error):
        rows = []
    if not rows or any(None in row for row in rows) or "\ufffd" in content:
        raise UserError(f"{TABLE} {where} is not a valid table of actual and predicted classes; run `dvc repro`")
    return np.array(rows).T


def mcnemar_p_value(newly_wrong: int, newly_right: int) -> float:
    """The p-value of a drop in accuracy, by McNemar's exact test (1947): one-sided, binomial."""
    # That of scipy.stats.binomtest(..., alternative="greater"), whose import takes a second more.
    return float(bdtrc(newly_wrong - 1, newly_wrong + newly_right, 0.5))


def judge(revision: str) -> bool:
    """Print the numbers and the verdict; return whether the gate is passed. UserError if predictions do not compare."""
    require_commit()
    params = read_params(GateParams)
    if not PREDICTIONS.exists():
        raise missing_file(PREDICTIONS)
    actual, predicted = parse(PREDICTIONS.read_text(encoding="utf-8", errors="replace"), "here")
    commit = find_commit(revision)
    content = git("show", f"{commit}:./{TABLE}")
    if content is None:
        raise UserError(f"{TABLE} is not in git at {revision}; name a revision that has it: make gate REV=...")
    actual_there, predicted_there = parse(content, f"at {revision}")
    if not np.array_equal(actual, actual_there):
        remedy = "commit the results here, or name a revision of the same data set: make gate REV=..."
        raise UserError(f"{TABLE} at {revision} has different test images; {remedy}")

    here, there = predicted == actual, predicted_there == actual
    low, high = wilson_interval(here.sum(), len(here))
    newly_wrong, newly_right = int(np.sum(there & ~here)), int(np.sum(here & ~there))
    p_value = mcnemar_p_value(newly_wrong, newly_right)
    dataset = read_data_summary().dataset
    floor = params.floor if dataset == params.floor_dataset else None
    limit = f"no gate.floor for {dataset}" if floor is None else f"gate.floor {floor}"
    width = max(17, len(f"accuracy at {revision}"))
    for name, value, remark in (
        ("accuracy here", f"{here.mean():.4f}", f"95 % interval {low:.4f} to {high:.4f}; {limit}"),
        (f"accuracy at {revision}", f"{there.mean():.4f}", f"commit {commit[:7]}"),
        ("newly wrong", f"{newly_wrong:,}", "right there, wrong here"),
        ("newly right", f"{newly_right:,}", "wrong there, right here"),
        ("p-value of a drop", f"{p_value:.3g}", f"McNemar's exact test; gate.significance {params.significance}"),
    ):
        print(f"{name:<{width}}  {value:<6}  {remark}")
    failures = [f"the accuracy is below {floor}"] if floor is not None and here.mean() < floor else []
    if p_value <= params.significance:
        failures.append(f"the accuracy has dropped since {revision} by more than chance explains")
    above = "" if floor is None else f"the accuracy is not below {floor}, and "
    passed = f"passed: {above}no significant drop since {revision}"
    print(f"gate: {'failed: ' + ', and '.join(failures) if failures else passed}")
    return not failures


def main() -> int:
    """Judge; return the exit status."""
    parser = argparse.ArgumentParser(prog="make gate", description=__doc__)
    parser.add_argument("revision", nargs="?", default="HEAD", help="git revision or DVC experiment to compare with")
    try:
        return 0 if judge(parser.parse_args().revision) else 1
    except (UserError, OSError) as error:
        print(f"gate: {error}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
