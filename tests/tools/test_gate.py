"""`make gate` in real checkouts with planted predictions: passed, failed, and cannot be judged."""

import csv
import re
import subprocess
from collections.abc import Iterable

import pytest
from conftest import Checkout
from scipy.stats import binomtest

from tools.gate import mcnemar_p_value

TABLE = "reports/predictions.csv"
COUNT = 360


def plant(checkout: Checkout, wrong: Iterable[int]) -> None:
    """Make only these test images misclassified."""
    path = checkout.folder / TABLE
    with path.open(newline="") as file:
        header, *rows = csv.reader(file)
    for index, row in enumerate(rows):
        row[2] = row[1] if index not in wrong else str((int(row[1]) + 1) % 10)
    with path.open("w", newline="") as file:
        csv.writer(file, lineterminator="\n").writerows([header, *rows])


def commit(checkout: Checkout) -> None:
    checkout.git("commit", "--quiet", "--all", "--allow-empty", "--message", "planted")


def gate(checkout: Checkout, *arguments: str) -> subprocess.CompletedProcess[str]:
    done = checkout.run("-m", "tools.gate", *arguments)
    assert "Traceback" not in done.stderr
    return done


def values(done: subprocess.CompletedProcess[str]) -> dict[str, str]:
    """The value of each line, by its name."""
    lines = [re.split(" {2,}", line) for line in done.stdout.splitlines()[:-1]]
    return {name: value for name, value, _ in lines}


@pytest.mark.parametrize(
    ("wrong", "status", "verdict"),
    [
        (11, 1, "gate: failed: the accuracy is below 0.97"),
        (10, 0, "gate: passed: the accuracy is not below 0.97, and no significant drop since HEAD"),
    ],
)
def test_an_accuracy_below_the_floor_fails(checkout: Checkout, wrong: int, status: int, verdict: str) -> None:
    plant(checkout, range(wrong))
    commit(checkout)
    done = gate(checkout)
    assert (done.returncode, done.stderr) == (status, "")
    assert done.stdout.splitlines()[-1] == verdict
    assert values(done) == {
        "accuracy here": f"{1 - wrong / COUNT:.4f}",
        "accuracy at HEAD": f"{1 - wrong / COUNT:.4f}",
        "newly wrong": "0",
        "newly right": "0",
        "p-value of a drop": "1",
    }


def test_an_accuracy_at_the_floor_passes(checkout: Checkout) -> None:
    checkout.set_param("floor", "0.975")
    plant(checkout, range(9))  # of 360
    commit(checkout)
    assert gate(checkout).returncode == 0


def test_the_floor_is_for_one_data_set(checkout: Checkout) -> None:
    checkout.set_param("floor_dataset", "mnist")
    plant(checkout, range(200))
    commit(checkout)
    done = gate(checkout)
    assert (done.returncode, done.stderr) == (0, "")
    assert "; no gate.floor for digits\n" in done.stdout
    assert done.stdout.splitlines()[-1] == "gate: passed: no significant drop since HEAD"


@pytest.mark.parametrize(
    ("wrong", "right", "p_value", "status"),
    [
        (4, 0, "0.0625", 0),
        (5, 0, "0.0312", 1),
        (8, 2, "0.0547", 0),
        (9, 2, "0.0327", 1),
        (40, 30, "0.141", 0),
        (45, 25, "0.0112", 1),
        (20, 20, "0.563", 0),
        (0, 30, "1", 0),
    ],
)
def test_a_drop_fails_if_chance_rarely_explains_it(
    checkout: Checkout, wrong: int, right: int, p_value: str, status: int
) -> None:
    checkout.set_param("floor", "0.5")
    plant(checkout, range(100, 100 + right))
    commit(checkout)
    commit(checkout)
    plant(checkout, range(200, 200 + wrong))
    done = gate(checkout, "HEAD~1")
    assert done.returncode == status, done.stdout
    numbers = values(done)
    assert (numbers["newly wrong"], numbers["newly right"]) == (str(wrong), str(right))
    assert numbers["accuracy at HEAD~1"] == f"{1 - right / COUNT:.4f}"
    assert numbers["accuracy here"] == f"{1 - wrong / COUNT:.4f}"
    assert numbers["p-value of a drop"] == p_value
    dropped = "gate: failed: the accuracy has dropped since HEAD~1 by more than chance explains"
    assert (done.stdout.splitlines()[-1] == dropped) == bool(status)


def test_a_drop_at_the_significance_fails_and_both_reasons_are_named(checkout: Checkout) -> None:
    checkout.set_param("significance", "0.0625")
    plant(checkout, range(20))
    commit(checkout)
    plant(checkout, range(24))
    done = gate(checkout)
    assert done.returncode == 1
    assert done.stdout.splitlines()[-1] == (
        "gate: failed: the accuracy is below 0.97, and the accuracy has dropped since HEAD by more than chance explains"
    )


@pytest.mark.slow
def test_a_dvc_experiment_is_a_revision(checkout: Checkout) -> None:
    checkout.set_param("floor", "0")
    commit(checkout)
    done = checkout.run("-m", "dvc", "exp", "run", "--name", "longer", "--set-param", "train.epochs=3")
    assert done.returncode == 0, done.stderr
    assert values(gate(checkout, "HEAD"))["newly right"] != "0"
    same = gate(checkout, "longer")
    assert same.returncode == 0, same.stderr
    assert (values(same)["newly wrong"], values(same)["newly right"]) == ("0", "0")
    plant(checkout, range(COUNT))
    assert gate(checkout, "longer").returncode == 1
    assert "git has no revision or DVC experiment 'long'" in gate(checkout, "long").stderr


@pytest.mark.parametrize(
    ("revision", "message"),
    [
        ("nowhere", "git has no revision or DVC experiment 'nowhere'; see `git log`, `dvc exp list --all-commits`"),
        ("HEAD~1", "reports/predictions.csv is not in git at HEAD~1; name a revision that has it: make gate REV=..."),
    ],
)
def test_a_revision_without_predictions_is_named(checkout: Checkout, revision: str, message: str) -> None:
    done = gate(checkout, revision)
    assert (done.returncode, done.stderr, done.stdout) == (2, f"gate: {message}\n", "")


@pytest.mark.parametrize("change", ["another class", "one image less"])
def test_predictions_of_different_images_are_not_compared(checkout: Checkout, change: str) -> None:
    lines = (checkout.folder / TABLE).read_text().splitlines(keepends=True)
    if change == "another class":
        lines[7] = lines[7].replace(",", ",1", 1)
    else:
        lines.pop()
    (checkout.folder / TABLE).write_text("".join(lines))
    done = gate(checkout)
    assert done.returncode == 2
    assert done.stderr.startswith(
        "gate: reports/predictions.csv at HEAD has different test images; commit the results "
    )


@pytest.mark.parametrize(
    "content",
    [b"", b"index,actual,predicted\n", b"a,b\n1,2\n", b"actual,predicted\n1,1\n2\n", b"actual,predicted\n\xff,"],
)
def test_corrupt_predictions_are_named_here_and_at_the_revision(checkout: Checkout, content: bytes) -> None:
    right = (checkout.folder / TABLE).read_bytes()
    (checkout.folder / TABLE).write_bytes(content)
    commit(checkout)
    for place in ("here", "at HEAD"):
        done = gate(checkout)
        assert done.returncode == 2
        assert done.stderr.startswith(
            f"gate: reports/predictions.csv {place} is not a valid table of actual and predicted"
        )
        (checkout.folder / TABLE).write_bytes(right)


def test_missing_predictions_are_named(checkout: Checkout) -> None:
    (checkout.folder / TABLE).unlink()
    done = gate(checkout)
    assert done.returncode == 2
    assert done.stderr.startswith("gate: reports/predictions.csv is missing; run `dvc repro`")


@pytest.mark.parametrize(
    ("key", "value", "allowed"),
    [
        ("floor", "97", "less than or equal to 1"),
        ("floor", "high", "a valid number"),
        ("significance", "0", "greater than 0"),
        ("significance", "1", "less than 1"),
    ],
)
def test_a_wrong_parameter_is_named(checkout: Checkout, key: str, value: str, allowed: str) -> None:
    checkout.set_param(key, value)
    done = gate(checkout)
    assert done.returncode == 2
    assert done.stderr.startswith(f"gate: params.yaml: gate.{key} is ")
    assert done.stderr.endswith(f"but should be {allowed}\n")


@pytest.mark.parametrize(
    ("newly_wrong", "newly_right"), [(1, 0), (0, 1), (0, 9), (3, 3), (57, 31), (1000, 900), (5000, 0), (900, 1000)]
)
def test_the_p_value_is_that_of_scipys_exact_test(newly_wrong: int, newly_right: int) -> None:
    expected = binomtest(newly_wrong, newly_wrong + newly_right, alternative="greater").pvalue
    assert mcnemar_p_value(newly_wrong, newly_right) == pytest.approx(expected, rel=1e-9)


def test_without_a_changed_image_the_p_value_is_1() -> None:
    assert mcnemar_p_value(0, 0) == 1


def test_it_starts_without_the_slow_packages(checkout: Checkout) -> None:
    slow = "{'tensorflow', 'keras', 'sklearn', 'scipy.stats', 'pandas', 'matplotlib'}"
    done = checkout.run("-c", f"import sys, tools.gate; print({slow} & set(sys.modules))")
    assert done.stdout == "set()\n"
