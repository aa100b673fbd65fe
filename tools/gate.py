"""`make gate`: is the network good enough on the test images, and not worse than at a git revision, beyond chance?

Judges reports/predictions.csv by the section gate of params.yaml. Exit status: 0 passed, 1 failed, 2 cannot be judged.
"""

import argparse
import csv
import sys
from itertools import chain
from typing import Annotated

import numpy as np
from pydantic import Field
from scipy.special import bdtrc

from mnist.core.errors import UserError
from mnist.core.files import missing_file
from mnist.core.params import Params, read_params
from mnist.core.paths import PREDICTIONS, relative
from mnist.metrics.interval import wilson_interval
from tools.checkout import git

NAME = relative(PREDICTIONS)


class GateParams(Params):
    """What `make gate` demands."""

    section = "gate"
    floor: Annotated[float, Field(ge=0, le=1)]
    significance: Annotated[float, Field(gt=0, lt=1)]


def commit_of(name: str) -> str:
    """The commit of a git revision, or of the newest DVC experiment of that name.

    Raises:
        UserError: there is neither.
    """
    if found := git("rev-parse", "--verify", "--quiet", f"{name}^{{commit}}"):
        return found
    # DVC keeps an experiment as refs/exps/<two digits>/<the others of the commit it started from>/<name>.
    form = "--format=%(objectname) %(refname:lstrip=4)"
    for line in (git("for-each-ref", "--sort=-committerdate", form, "refs/exps") or "").splitlines():
        commit, _, experiment = line.partition(" ")
        if experiment == name:
            return commit
    raise UserError(f"git knows no revision or DVC experiment '{name}'; see `git log` and `dvc exp list --all-commits`")


def parse(content: str, where: str) -> tuple[np.ndarray, np.ndarray]:
    """The columns actual and predicted of a predictions.csv: two arrays of class names, (n,).

    Raises:
        UserError: it is no such table.
    """
    try:
        if "\ufffd" in content:  # what was no UTF-8
            raise ValueError
        rows = [(row["actual"], row["predicted"]) for row in csv.DictReader(content.splitlines())]
    except (ValueError, KeyError, csv.Error):
        rows = []
    if not rows or None in chain.from_iterable(rows):
        raise UserError(f"{NAME} {where} is no table of actual and predicted classes; `dvc repro` writes one")
    actual, predicted = np.array(rows).T
    return actual, predicted


def p_value_of_drop(wrong: int, right: int) -> float:
    """The probability that of so many changed images at least `wrong` turn wrong, if either way is equally likely.

    It is that of McNemar's test (1947), in its exact form: one-sided, binomial.

    Args:
        wrong: number of images that were predicted right, and are no longer.
        right: number of images that were predicted wrong, and are no longer.
    """
    # binomtest(wrong, wrong + right, alternative="greater") says the same; to import scipy.stats takes a second more.
    return float(bdtrc(wrong - 1, wrong + right, 0.5))


def judge(revision: str) -> bool:
    """Print the numbers and the verdict; return whether the gate is passed.

    Raises:
        UserError: the predictions here or at the revision are missing, damaged, or not of the same test images.
    """
    params = read_params(GateParams)
    if not PREDICTIONS.exists():
        raise missing_file(PREDICTIONS)
    actual, predicted = parse(PREDICTIONS.read_text(encoding="utf-8", errors="replace"), "here")
    commit = commit_of(revision)
    content = git("show", f"{commit}:./{NAME}")
    if content is None:
        raise UserError(f"{NAME} is not in git at {revision}; name a revision that has it: make gate REV=...")
    actual_there, predicted_there = parse(content, f"at {revision}")
    if not np.array_equal(actual, actual_there):
        raise UserError(f"{NAME} at {revision} is of other test images than here; name a revision of the same data set")

    here, there = predicted == actual, predicted_there == actual
    accuracy = float(here.mean())
    low, high = wilson_interval(here.sum(), len(here))
    wrong, right = int(np.sum(there & ~here)), int(np.sum(here & ~there))
    p_value = p_value_of_drop(wrong, right)
    lines = [
        ("accuracy here", f"{accuracy:.4f}", f"95% interval {low:.4f} to {high:.4f}; gate.floor {params.floor}"),
        (f"accuracy at {revision}", f"{there.mean():.4f}", f"commit {commit[:7]}"),
        ("images turned wrong", f"{wrong:,}", "right there, wrong here"),
        ("images turned right", f"{right:,}", "wrong there, right here"),
        ("p-value of a drop", f"{p_value:.3g}", f"McNemar's exact test; gate.significance {params.significance}"),
    ]
    widths = [max(len(line[column]) for line in lines) for column in (0, 1)]
    for name, value, remark in lines:
        print(f"{name:<{widths[0]}}  {value:<{widths[1]}}  {remark}")
    failures = []
    if accuracy < params.floor:
        failures.append(f"the accuracy is below {params.floor}")
    if p_value <= params.significance:
        failures.append(f"the accuracy has dropped since {revision} by more than chance explains")
    if failures:
        print(f"gate: failed: {', and '.join(failures)}")
    else:
        print(f"gate: passed: the accuracy is not below {params.floor}, and no significant drop since {revision}")
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
