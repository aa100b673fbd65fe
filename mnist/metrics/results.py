"""The tables of results: history.csv, which train writes, and predictions.csv, which evaluate writes."""

from pathlib import Path

import numpy as np
import pandas as pd

from mnist.core.errors import UserError
from mnist.core.files import missing_file
from mnist.core.paths import HISTORY, PREDICTIONS, relative
from mnist.metrics.predictions import Predictions


def read_history() -> dict[str, np.ndarray]:
    """Read history.csv, arrays (epochs,) by column; a UserError if it is missing or not as train writes it."""
    table = _read_table(HISTORY, ["epoch", "loss", "accuracy", "val_loss", "val_accuracy"])
    return {str(name): values.to_numpy() for name, values in table.items()}


def read_predictions(classes: list[str], labels: np.ndarray) -> Predictions:
    """Read predictions.csv; a UserError if it is missing, invalid, or not for test images of these labels."""
    table = _read_table(PREDICTIONS, ["index", "actual", "predicted", "confidence"])
    actual, predicted = (pd.Index(classes).get_indexer(pd.Index(table[side])) for side in ("actual", "predicted"))
    if not np.array_equal(actual, labels) or predicted.min() < 0:
        raise UserError(f"{relative(PREDICTIONS)} is for different test images; run `dvc repro`")
    return Predictions(actual, predicted, table["confidence"].to_numpy())


def _read_table(path: Path, columns: list[str]) -> pd.DataFrame:
    """Read a table with these columns and at least one row."""
    try:
        dtypes = dict.fromkeys(columns, float) | {"epoch": int, "index": int, "actual": str, "predicted": str}
        table = pd.read_csv(path, dtype=dtypes, keep_default_na=False)
    except FileNotFoundError:
        raise missing_file(path) from None
    except (ValueError, OverflowError) as error:
        raise UserError(f"{relative(path)} is not a valid table ({error}); run `dvc repro`") from None
    if list(table.columns) != columns or table.empty:
        raise UserError(f"{relative(path)} should have rows of {', '.join(columns)}; run `dvc repro`")
    return table
