"""Plot: draw the curves, the confusion matrix, recall, calibration, predictions, mistakes and augmentation.

Reads reports/{data.json,history.csv,predictions.csv}, data/processed/test_{images,labels}.npy and
data/augmented/examples.npy; writes reports/figures/{curves,confusion_matrix,recall,calibration,first_predictions,
worst_mistakes,augmentation}.png.
"""

from typing import Annotated

import numpy as np
from pydantic import Field

from mnist.core.data import read_data_summary
from mnist.core.errors import run_stage
from mnist.core.files import read_array
from mnist.core.params import Params, read_params
from mnist.core.paths import AUGMENTED, FIGURES, relative
from mnist.figures import (
    draw_augmentation,
    draw_calibration,
    draw_confusion_matrix,
    draw_curves,
    draw_images,
    draw_recall,
    save_figure,
)
from mnist.metrics.calibration import reliability
from mnist.metrics.predictions import read_history, read_predictions


class PlotParams(Params):
    """How many images the figures show."""

    section = "plot"
    examples: Annotated[int, Field(ge=1, le=100)]
    mistakes: Annotated[int, Field(ge=1, le=100)]


def main() -> None:
    """Run the stage."""
    params = read_params(PlotParams)
    data = read_data_summary()
    images, labels = data.load_split("test")
    images = images.reshape(-1, *data.image_shape)
    predictions = read_predictions(data.classes, labels)
    predicted, confidence, wrong = predictions.predicted, predictions.confidence, predictions.wrong

    save_figure(draw_curves(read_history(), data.title, data.validated_on), FIGURES / "curves.png")

    counts = predictions.confusion(len(data.classes))
    save_figure(draw_confusion_matrix(counts, data.classes, data.title), FIGURES / "confusion_matrix.png")
    recall = draw_recall(np.diag(counts), counts.sum(axis=1), data.classes, data.title)
    save_figure(recall, FIGURES / "recall.png")
    save_figure(draw_calibration(reliability(confidence, ~wrong), data.title), FIGURES / "calibration.png")

    first = np.arange(min(params.examples, len(labels)))
    captions = [f"predicted {data.classes[predicted[i]]}\ntrue {data.classes[labels[i]]}" for i in first]
    title = f"{data.title}: the first {len(first)} test images"
    save_figure(draw_images(images[first], captions, wrong[first].tolist(), title), FIGURES / "first_predictions.png")

    worst = predictions.worst[: params.mistakes]
    captions = [
        f"predicted {data.classes[predicted[i]]} ({confidence[i]:.2%})\ntrue {data.classes[labels[i]]}" for i in worst
    ]
    title = (
        f"{data.title}: the most confident of {wrong.sum():,} mistakes" if len(worst) else f"{data.title}: no mistake"
    )
    save_figure(draw_images(images[worst], captions, wrong[worst].tolist(), title), FIGURES / "worst_mistakes.png")

    examples = read_array(AUGMENTED, np.float32, (len(data.classes), None, data.pixels))
    examples = examples.reshape(*examples.shape[:2], *data.image_shape)
    save_figure(draw_augmentation(examples, data.classes, data.title), FIGURES / "augmentation.png")
    print(f"plot: figures in {relative(FIGURES)}")


if __name__ == "__main__":
    run_stage(main)
