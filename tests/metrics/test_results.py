"""The tables of results, and invalid files."""

import numpy as np
import pytest

from mnist.core.errors import UserError
from mnist.metrics import results
from mnist.metrics.predictions import Predictions
from mnist.metrics.results import read_history, read_predictions

LABELS = np.array([0, 1, 2, 1], np.uint8)
PREDICTIONS = Predictions(LABELS, np.array([1, 1, 0, 2]), np.array([0.6, 0.9, 0.8, 0.6]))
# Names that a CSV reader may take for numbers or missing values.
CLASSES = ["01", "NA", "a, b"]
HEADER = "index,actual,predicted,confidence\n"
ROWS = '0,01,NA,0.6\n1,NA,NA,0.9\n2,"a, b",01,0.8\n3,NA,"a, b",0.6\n'


@pytest.fixture
def files(tmp_path, monkeypatch):
    for name in ("HISTORY", "PREDICTIONS"):
        monkeypatch.setattr(results, name, tmp_path / f"{name.lower()}.csv")
    return tmp_path


def test_predictions_are_read_with_any_class_names(files):
    (files / "predictions.csv").write_text(HEADER + ROWS)
    found = read_predictions(CLASSES, LABELS)
    for name in ("labels", "predicted", "confidence"):
        np.testing.assert_array_equal(getattr(found, name), getattr(PREDICTIONS, name))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "is missing"),
        ("", "is not a valid table"),
        (HEADER + "0,1,2,3,4\n0,1\n", "is not a valid table|should have rows|different test images"),
        (HEADER, "should have rows of index, actual, predicted, confidence"),
        ("index,actual\n0,01\n", "should have rows of index, actual, predicted, confidence"),
        (HEADER + ROWS.replace("3,NA", "3,01"), "is for different test images"),
        (HEADER + ROWS.replace(",01,0.8", ",x,0.8"), "is for different test images"),
        (HEADER + ROWS[:-1] + "\n4,01,01,0.5\n", "is for different test images"),
        (HEADER + ROWS.replace("0.6", "high"), "is not a valid table .*high"),
    ],
)
def test_invalid_predictions_are_refused(files, content, message):
    if content is not None:
        (files / "predictions.csv").write_text(content)
    with pytest.raises(UserError, match=message):
        read_predictions(CLASSES, LABELS)


def test_the_history_is_read_by_column(files):
    (files / "history.csv").write_text(
        "epoch,loss,accuracy,val_loss,val_accuracy\n1,0.5,0.8,0.4,0.9\n2,0.3,0.9,0.2,1\n"
    )
    history = read_history()
    assert history["epoch"].tolist() == [1, 2]
    assert history["val_accuracy"].tolist() == [0.9, 1]


def test_an_invalid_history_is_refused(files):
    (files / "history.csv").write_text("epoch,loss\n1,0.5\n")
    with pytest.raises(UserError, match="should have rows of epoch, loss, accuracy, val_loss, val_accuracy"):
        read_history()
    (files / "history.csv").write_text("epoch,loss,accuracy,val_loss,val_accuracy\n1,low,0.8,0.4,0.9\n")
    with pytest.raises(UserError, match=r"is not a valid table .*low"):
        read_history()
