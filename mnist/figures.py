"""The figures, drawn from arrays: the same numbers give the same bytes."""

from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter

from mnist.core.files import atomic_write
from mnist.metrics.calibration import BINS, EDGES, Reliability
from mnist.metrics.interval import wilson_interval
from mnist.metrics.predictions import Predictions
from mnist.metrics.scores import class_scores

BLUE, ORANGE, RED, GREY = "#0072b2", "#e69f00", "#d55e00", "#6b6b6b"  # safe for colour blindness (Okabe and Ito 2008)
MAX_COUNTED = 30  # classes up to which the cells of the confusion matrix show their counts; more are not legible

matplotlib.rcdefaults()  # a user's matplotlibrc would change the bytes
matplotlib.rc("text", parse_math=False)  # "$" in a class name is a character like others
matplotlib.rc("figure", dpi=120)
matplotlib.rc("savefig", bbox="tight")  # a figure's size is that of its axes; text around them enlarges the file
matplotlib.rc("axes", titlesize=11, titleweight="bold", titlelocation="left", edgecolor=GREY, labelcolor=GREY)
matplotlib.rc("axes.spines", top=False, right=False)
matplotlib.rcParams.update({"axes.grid": True, "xtick.color": GREY, "ytick.color": GREY, "grid.color": "#e4e4e4"})


def save_figure(figure: Figure, path: Path) -> None:
    """Save as PNG, without matplotlib's version in its metadata."""
    with atomic_write(path) as partial:
        figure.savefig(partial, format="png", metadata={"Software": None})


def draw_curves(history: dict[str, np.ndarray], title: str, validated_on: str) -> Figure:
    """Accuracy and loss per epoch, in training and in validation; `history` has arrays (epochs,) as in history.csv."""
    figure = Figure(figsize=(9.6, 3.8), layout="constrained")
    lines = ("training", "", BLUE, "o"), (f"validation ({validated_on})", "val_", ORANGE, "s")
    for axes, measure in zip(figure.subplots(1, 2), ("accuracy", "loss"), strict=True):
        for name, prefix, colour, marker in lines:
            values = history[f"{prefix}{measure}"]
            every = max(1, len(values) // 20)  # about 20 markers, however long the training
            style = {"color": colour, "marker": marker, "markersize": 4, "markevery": every}
            axes.plot(history["epoch"], values, label=f"{name}: {values[-1]:.4f}", **style)
        axes.set(title=f"{title}: {measure}", xlabel="epoch")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.legend(frameon=False)
    return figure


def draw_confusion_matrix(counts: np.ndarray, classes: list[str], title: str) -> Figure:
    """The confusion matrix and the recall per class; `counts` are integers (true class, predicted class)."""
    size, recall = len(classes), class_scores(counts)["recall"]
    diagonal = np.eye(size, dtype=bool)
    errors = np.where(diagonal, 0, counts)
    side = max(5.2, size * (0.4 if size <= MAX_COUNTED else 0.2))  # inches
    figure = Figure(figsize=(side, side))
    axes = figure.add_axes((0, 0, 1, 1))
    # Two colour scales: on a common one, the few misclassified images of a cell would look like none.
    axes.imshow(np.where(diagonal, recall[:, None], np.nan), cmap="Blues", vmin=0, vmax=1.6)
    axes.imshow(np.where(errors, errors, np.nan), cmap="Oranges", vmin=0, vmax=max(1, 1.5 * errors.max()))
    for (row, column), count in np.ndenumerate(counts) if size <= MAX_COUNTED else ():
        colour = "black" if count else "#c8c8c8"
        axes.text(column, row, f"{count:,}", ha="center", va="center", color=colour, fontsize=9)
    _label_columns(axes, np.arange(size), classes)
    axes.set_yticks(range(size), classes)
    _label_right(axes, ["–" if np.isnan(value) else f"{100 * value:.1f} %" for value in recall], "recall")
    title = f"{title}: {errors.sum():,} of {counts.sum():,} test images misclassified"
    axes.set(title=title, xlabel="predicted", ylabel="true")
    return figure


def draw_recall(counts: np.ndarray, classes: list[str], title: str) -> Figure:
    """Recall per class with its 95 % interval; `counts` are integers (true class, predicted class)."""
    correct, totals = np.diag(counts), counts.sum(axis=1)
    rows, accuracy = np.flatnonzero(totals), correct.sum() / totals.sum()
    low, high = wilson_interval(correct[rows], totals[rows])
    figure = Figure(figsize=(5, 0.28 * len(classes)))
    axes = figure.add_axes((0, 0, 1, 1))
    axes.axvline(accuracy, color=ORANGE, linestyle="--")
    axes.hlines(rows, low, high, color=BLUE, linewidth=2)
    axes.plot(correct[rows] / totals[rows], rows, "o", color=BLUE, clip_on=False, zorder=3)
    start = np.floor(low.min() * 50) / 50
    axes.set(xlim=(start, 1), ylim=(len(classes) - 0.5, -0.5))  # the first class on top
    axes.xaxis.set_major_locator(MaxNLocator(6, steps=[1, 2, 5, 10]))
    axes.xaxis.set_major_formatter(PercentFormatter(1, symbol=" %"))
    axes.set_yticks(range(len(classes)), classes)
    axes.tick_params(axis="y", length=0)
    pairs = zip(correct, totals, strict=True)
    _label_right(axes, [f"{100 * part / total:.1f} % of {total:,}" if total else "no images" for part, total in pairs])
    title = f"{title}: recall per class (dashed: accuracy, {100 * accuracy:.2f} %)"
    axes.set(title=title, xlabel=f"recall and its 95 % interval; the axis starts at {100 * start:.0f} %")
    return figure


def draw_calibration(bins: Reliability, title: str) -> Figure:
    """The reliability diagram: accuracy against confidence, above the number of images per bin of confidence."""
    figure = Figure(figsize=(6.4, 6.6), layout="constrained")
    above, below = figure.subplots(2, 1, sharex=True, height_ratios=(7, 2))
    points = bins.points
    confidence, count = points["confidence"], points["count"]
    above.plot([0, 1], [0, 1], "--", color=ORANGE)
    above.text(0.02, 0.97, "underconfident", va="top", color=GREY)
    above.text(0.98, 0.03, "overconfident", ha="right", color=GREY)
    above.vlines(confidence, points["low"], points["high"], color=BLUE, linewidth=2, clip_on=False)
    above.plot(confidence, points["accuracy"], "o", color=BLUE, clip_on=False, zorder=3)
    title = f"{title}: expected calibration error {bins.expected_calibration_error:.4f}"
    above.set(title=title, xlim=(0, 1), ylim=(0, 1), ylabel="accuracy and its 95 % interval")
    bars = below.bar(EDGES[points["number"]], count, 1 / BINS, align="edge", color=BLUE, edgecolor="white")
    below.bar_label(bars, fmt="{:,.0f}", padding=2, color=GREY, fontsize=8)
    below.set(yscale="log", ylim=(0.7, 8 * count.max()), ylabel="images (log)")
    below.set(xlabel="confidence: the probability of the predicted class", yticks=[])
    below.minorticks_off()
    return figure


def draw_predictions(
    images: np.ndarray, predictions: Predictions, indices: np.ndarray, classes: list[str], title: str
) -> Figure:
    """Images at some indices, float (n, height, width), 0 to 1, and their predictions, bold and red where wrong."""
    columns = min(max(len(indices), 3), 5)
    rows = max(1, -(-len(indices) // columns))
    width = max(1.75, 0.08 * len(f"predicted {max(classes, key=len)} (99.99 %)"))  # inches
    figure = Figure(figsize=(columns * width, 2.2 * rows), layout="constrained")
    figure.suptitle(title, fontsize=12, fontweight="bold")
    grid = figure.subplots(rows, columns, squeeze=False, subplot_kw={"frame_on": False, "xticks": [], "yticks": []})
    for axes, index in zip(grid.ravel(), indices, strict=False):
        predicted, actual = classes[predictions.predicted[index]], classes[predictions.labels[index]]
        caption = f"predicted {predicted} ({100 * predictions.confidence[index]:.2f} %)\ntrue {actual}"
        weight, colour = ("bold", RED) if predictions.wrong[index] else ("normal", "black")
        axes.set_title(caption, loc="center", fontsize=9, fontweight=weight, color=colour)
        axes.imshow(images[index], cmap="gray", vmin=0, vmax=1)
    return figure


def draw_augmentation(examples: np.ndarray, classes: list[str], title: str) -> Figure:
    """A training image per class, original and augmented: float (classes, n, height, width), 0 to 1, original first."""
    count, rows, height, width = examples.shape
    gap = max(1, height // 20)
    padded = np.pad(examples, ((0, 0), (0, 0), (gap, gap), (gap, gap)), constant_values=1.0)
    mosaic = padded.transpose(1, 2, 0, 3).reshape(rows * (height + 2 * gap), count * (width + 2 * gap))
    figure = Figure(figsize=(0.62 * count, 0.62 * rows))
    axes = figure.add_axes((0, 0, 1, 1))
    # One image is drawn much faster than count * rows of them; its axes count columns and rows.
    axes.imshow(mosaic, cmap="gray", vmin=0, vmax=1, extent=(0, count, rows, 0), aspect="auto")
    axes.xaxis.tick_top()
    _label_columns(axes, np.arange(count) + 0.5, classes)
    axes.set_yticks([0.5, 1.5][:rows], ["original", "augmented"][:rows])
    state = "augmented differently in each epoch" if rows > 1 else "no augmentation"
    axes.set_title(f"{title}: training images, {state}")
    return figure


def _label_columns(axes: Axes, positions: np.ndarray, classes: list[str]) -> None:
    """Name the columns of an image, long names at an angle, and hide its grid, ticks and frame."""
    axes.set_xticks(positions, classes, rotation=45 if max(map(len, classes)) > 3 else 0, rotation_mode="xtick")
    axes.tick_params(length=0)
    axes.grid(visible=False)
    axes.spines[:].set_visible(False)


def _label_right(axes: Axes, labels: list[str], name: str = "") -> None:
    """Label the rows 0, 1, ... on the right of the axes."""
    right = axes.secondary_yaxis("right")
    right.set_yticks(range(len(labels)), labels, fontsize=9)
    right.tick_params(length=0, pad=8)
    right.set_ylabel(name)
    right.spines[:].set_visible(False)
