"""Plot: draw the curves, the confusion matrix, recall, calibration, predictions, mistakes and augmentation.

Reads reports/{data.json,history.csv,predictions.csv}, data/processed/test_{images,labels}.npy and
data/augmented/examples.npy; writes reports/figures/{curves,confusion_matrix,recall,calibration,first_predictions,
worst_mistakes,augmentation}.png.
"""

from pathlib import Path
from typing import Annotated

import numpy as np
import pandas as pd
from pydantic import Field

from stages.lib.calibration import reliability
from stages.lib.data import read_data
from stages.lib.errors import UserError, run_stage
from stages.lib.figures import (
    draw_augmentation,
    draw_calibration,
    draw_confusion_matrix,
    draw_curves,
    draw_images,
    draw_recall,
    save_figure,
)
from stages.lib.files import missing, read_array
from stages.lib.params import Params, read_params
from stages.lib.paths import AUGMENTED, FIGURES, HISTORY, PREDICTIONS, relative

HISTORY_COLUMNS = ["epoch", "loss", "accuracy", "val_loss", "val_accuracy"]


class PlotParams(Params):
    """How many images the figures show."""

    section = "plot"
    examples: Annotated[int, Field(ge=1, le=100)]
    mistakes: Annotated[int, Field(ge=1, le=100)]


def read_table(path: Path, columns: list[str]) -> pd.DataFrame:
    """Read a table that an earlier stage wrote.

    Raises:
        UserError: it is missing or not the table expected.
    """
    try:
        table = pd.read_csv(path, dtype={"actual": str, "predicted": str}, keep_default_na=False)
    except FileNotFoundError:
        raise missing(path) from None
    except ValueError as error:
        raise UserError(f"{relative(path)} is no table ({error}); run `dvc repro`") from None
    if list(table.columns) != columns or table.empty:
        raise UserError(f"{relative(path)} should have rows of {', '.join(columns)}; run `dvc repro`")
    return table


def read_predictions(classes: list[str], labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Read what was predicted for the test images.

    Args:
        classes: the name of each class.
        labels: uint8 (n,), the true classes.

    Returns:
        The predicted classes, integers (n,), and the probability given to each, float (n,).

    Raises:
        UserError: the file is missing, or is of other test images.
    """
    table = read_table(PREDICTIONS, ["index", "actual", "predicted", "confidence"])
    index = {name: label for label, name in enumerate(classes)}
    actual, predicted = (np.array([index.get(name, -1) for name in table[side]]) for side in ("actual", "predicted"))
    if not np.array_equal(actual, labels) or predicted.min() < 0:
        raise UserError(f"{relative(PREDICTIONS)} is of other test images; run `dvc repro`")
    return predicted, table["confidence"].to_numpy()


def main() -> None:
    """Run the stage."""
    params = read_params(PlotParams)
    data = read_data()
    images, labels = data.split("test")
    images = images.reshape(-1, *data.image_shape)
    predicted, confidence = read_predictions(data.classes, labels)
    history = read_table(HISTORY, HISTORY_COLUMNS)

    curves = draw_curves({name: history[name].to_numpy() for name in HISTORY_COLUMNS}, data.title, data.validated_on)
    save_figure(curves, FIGURES / "curves.png")

    counts = np.zeros((len(data.classes), len(data.classes)), int)
    np.add.at(counts, (labels, predicted), 1)
    save_figure(draw_confusion_matrix(counts, data.classes, data.title), FIGURES / "confusion_matrix.png")
    recall = draw_recall(np.diag(counts), counts.sum(axis=1), data.classes, data.title)
    save_figure(recall, FIGURES / "recall.png")

    wrong = predicted != labels
    save_figure(draw_calibration(reliability(confidence, ~wrong), data.title), FIGURES / "calibration.png")

    first = np.arange(min(params.examples, len(labels)))
    captions = [f"predicted {data.classes[predicted[i]]}\ntrue {data.classes[labels[i]]}" for i in first]
    title = f"{data.title}: the first {len(first)} test images"
    save_figure(draw_images(images[first], captions, wrong[first], title), FIGURES / "first_predictions.png")

    worst = np.flatnonzero(wrong)[np.argsort(-confidence[wrong], kind="stable")][: params.mistakes]
    captions = [
        f"predicted {data.classes[predicted[i]]} ({confidence[i]:.2%})\ntrue {data.classes[labels[i]]}" for i in worst
    ]
    title = (
        f"{data.title}: the most confident of {wrong.sum():,} mistakes" if len(worst) else f"{data.title}: no mistake"
    )
    save_figure(draw_images(images[worst], captions, wrong[worst], title), FIGURES / "worst_mistakes.png")

    examples = read_array(AUGMENTED, np.float32, (len(data.classes), None, data.pixels))
    examples = examples.reshape(*examples.shape[:2], *data.image_shape)
    save_figure(draw_augmentation(examples, data.classes, data.title), FIGURES / "augmentation.png")
    print(f"plot: figures in {relative(FIGURES)}")


if __name__ == "__main__":
    run_stage(main)
