"""Plot: draw the curves, the confusion matrix, recall, calibration, predictions, mistakes and augmentation.

Reads reports/{data.json,history.csv,predictions.csv}, data/processed/{train,test}_{images,labels}.npy and
data/augmented/examples.npy; writes reports/figures/*.png.
"""

from typing import Annotated

import numpy as np
from pydantic import Field

from mnist.core.data import DataSummary, read_data_summary
from mnist.core.errors import run_stage
from mnist.core.files import read_array
from mnist.core.params import Params, read_params
from mnist.core.paths import AUGMENTED, FIGURES, relative
from mnist.figures import (
    draw_augmentation,
    draw_calibration,
    draw_confusion_matrix,
    draw_curves,
    draw_predictions,
    draw_recall,
    save_figure,
)
from mnist.metrics.calibration import reliability
from mnist.metrics.results import read_history, read_predictions

TRAINING_IMAGES = 4  # per class, shown where there is no augmentation to show


class PlotParams(Params):
    """The number of images in the figures."""

    section = "plot"
    examples: Annotated[int, Field(ge=1, le=100)]
    mistakes: Annotated[int, Field(ge=1, le=100)]


def first_training_images(data: DataSummary, count: int) -> np.ndarray:
    """The first `count` training images of each class, float32 (classes, count, pixels); white if there are fewer."""
    images, labels = data.load_split("train")
    first = np.ones((len(data.classes), count, data.pixels), np.float32)
    for label, shown in enumerate(first):
        indices = np.flatnonzero(labels == label)[:count]
        shown[: len(indices)] = images[indices]
    return first


def mistakes_title(title: str, count: int) -> str:
    """The title of the figure of the mistakes."""
    return f"{title}: {f'the most confident of {count:,}' if count else 'no'} misclassified images"


def main() -> None:
    """Run the stage."""
    params, data = read_params(PlotParams), read_data_summary()
    title, classes = data.title, data.classes
    images, labels = data.load_split("test")
    images = images.reshape(-1, *data.image_shape)
    predictions = read_predictions(classes, labels)
    wrong, counts = predictions.wrong, predictions.confusion(len(classes))
    first, worst = np.arange(len(labels))[: params.examples], predictions.mistakes[: params.mistakes]
    first_title = f"{title}: the first {len(first)} test images"
    examples = read_array(AUGMENTED, np.float32, (len(classes), None, data.pixels))
    augmented = examples.shape[1] > 1
    examples = examples if augmented else first_training_images(data, TRAINING_IMAGES)
    examples = examples.reshape(*examples.shape[:2], *data.image_shape)
    for name, figure in {
        "curves": draw_curves(read_history(), title, data.validated_on),
        "confusion_matrix": draw_confusion_matrix(counts, classes, title),
        "recall": draw_recall(counts, classes, title),
        "calibration": draw_calibration(reliability(predictions.confidence, ~wrong), title),
        "first_predictions": draw_predictions(images, predictions, first, classes, first_title),
        "worst_mistakes": draw_predictions(images, predictions, worst, classes, mistakes_title(title, wrong.sum())),
        "augmentation": draw_augmentation(examples, classes, title, augmented),
    }.items():
        save_figure(figure, FIGURES / f"{name}.png")
    print(f"plot: figures in {relative(FIGURES)}")


if __name__ == "__main__":
    run_stage(main)
