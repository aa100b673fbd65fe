"""What training and evaluation found, as the stages that show it read it."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from mnist.core.errors import UserError
from mnist.core.files import missing_file
from mnist.core.paths import HISTORY, PREDICTIONS, relative

HISTORY_COLUMNS = ["epoch", "loss", "accuracy", "val_loss", "val_accuracy"]


@dataclass(frozen=True)
class Predictions:
    """What was predicted for the test images: arrays of shape (n,)."""

    labels: np.ndarray
    """Integers, the true classes."""
    predicted: np.ndarray
    """Integers, the most probable classes."""
    confidence: np.ndarray
    """Float, the probability given to them, 0 to 1."""

    @property
    def wrong(self) -> np.ndarray:
        """Bool (n,), whether each is a mistake."""
        return self.predicted != self.labels

    @property
    def worst(self) -> np.ndarray:
        """The index of each mistake, the most confident first."""
        mistakes = np.flatnonzero(self.wrong)
        return mistakes[np.argsort(-self.confidence[mistakes], kind="stable")]

    def confusion(self, classes: int) -> np.ndarray:
        """How often each class was taken for each: integers (classes, classes), by true class, then predicted one."""
        counts = np.zeros((classes, classes), int)
        np.add.at(counts, (self.labels, self.predicted), 1)
        return counts


def read_history() -> dict[str, np.ndarray]:
    """The figures of each epoch, arrays of shape (epochs,), by the names of HISTORY_COLUMNS.

    Raises:
        UserError: history.csv is missing or not as train writes it.
    """
    table = _read_table(HISTORY, HISTORY_COLUMNS)
    return {name: table[name].to_numpy() for name in HISTORY_COLUMNS}


def read_predictions(classes: list[str], labels: np.ndarray) -> Predictions:
    """What was predicted for the test images.

    Args:
        classes: the name of each class.
        labels: uint8 (n,), the true classes.

    Raises:
        UserError: predictions.csv is missing, not as evaluate writes it, or of other test images.
    """
    table = _read_table(PREDICTIONS, ["index", "actual", "predicted", "confidence"])
    index = {name: label for label, name in enumerate(classes)}
    actual, predicted = (np.array([index.get(name, -1) for name in table[side]]) for side in ("actual", "predicted"))
    if not np.array_equal(actual, labels) or predicted.min() < 0:
        raise UserError(f"{relative(PREDICTIONS)} is of other test images; run `dvc repro`")
    return Predictions(actual, predicted, table["confidence"].to_numpy())


def _read_table(path: Path, columns: list[str]) -> pd.DataFrame:
    """Read a table with these columns and at least one row."""
    try:
        table = pd.read_csv(path, dtype={"actual": str, "predicted": str}, keep_default_na=False)
    except FileNotFoundError:
        raise missing_file(path) from None
    except ValueError as error:
        raise UserError(f"{relative(path)} is no table ({error}); run `dvc repro`") from None
    if list(table.columns) != columns or table.empty:
        raise UserError(f"{relative(path)} should have rows of {', '.join(columns)}; run `dvc repro`")
    return table
