"""The figures, drawn from arrays: the same numbers give the same bytes."""

from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator, PercentFormatter

from mnist.core.files import atomic_write
from mnist.metrics.calibration import BINS, EDGES, Reliability
from mnist.metrics.interval import wilson_interval
from mnist.metrics.predictions import Predictions
from mnist.metrics.scores import class_scores
from mnist.style import (
    FIGURE_STYLE,
    LIGHT,
    MAX_MARKERS,
    SMALL,
    SMALLEST,
    TRAINING,
    VALIDATION,
    format_percent,
    format_probability,
)

MAX_COUNTED = 30  # classes up to which the cells of the confusion matrix show their counts; more are not legible
ABOVE: dict[str, Any] = {  # the place of a legend, between the axes and their title
    "loc": "lower left",
    "bbox_to_anchor": (0, 1),
    "borderaxespad": 0.2,
    "borderpad": 0,
    "fontsize": SMALL,
}

matplotlib.rcdefaults()  # a user's matplotlibrc would change the bytes
matplotlib.rcParams.update(FIGURE_STYLE)


def save_figure(figure: Figure, path: Path) -> None:
    """Save as PNG, without matplotlib's version in its metadata."""
    with atomic_write(path) as partial:
        figure.savefig(partial, format="png", metadata={"Software": None})


def draw_curves(history: dict[str, np.ndarray], title: str, validated_on: str) -> Figure:
    """Accuracy and loss per epoch, in training and in validation; `history` has arrays (epochs,) as in history.csv."""
    figure = Figure(figsize=(9.6, 3.8), layout="constrained")
    lines = ("training", "", TRAINING), (f"validation ({validated_on})", "val_", VALIDATION)
    every = -(-len(history["epoch"]) // MAX_MARKERS)
    for axes, measure in zip(figure.subplots(1, 2), ("accuracy", "loss"), strict=True):
        for name, prefix, style in lines:
            values = history[f"{prefix}{measure}"]
            axes.plot(history["epoch"], values, label=f"{name}: {values[-1]:.4f}", markevery=every, **style)
        axes.set_title(f"{title}: {measure}", pad=34)
        axes.set_xlabel("epoch")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.legend(**ABOVE)
    return figure


def draw_confusion_matrix(counts: np.ndarray, classes: list[str], title: str) -> Figure:
    """The confusion matrix and the recall per class; `counts` are integers (true class, predicted class)."""
    size, recall = len(classes), class_scores(counts)["recall"]
    diagonal = np.eye(size, dtype=bool)
    errors = np.where(diagonal, 0, counts)
    side = max(5.2, size * (0.4 if size <= MAX_COUNTED else 0.2))  # inches
    figure = Figure(figsize=(side, side))
    axes = figure.add_axes((0, 0, 1, 1))
    most = errors.max()
    red = np.where(errors, _red_fraction(errors, most), 0)
    cells = np.where(diagonal[..., None], _tint(LIGHT.blue, LIGHT.correct * (counts > 0)), _tint(LIGHT.red, red))
    axes.imshow(cells, interpolation="nearest")
    for (row, column), count in np.ndenumerate(counts) if size <= MAX_COUNTED else ():
        colour = LIGHT.ink if count else LIGHT.soft
        axes.text(column, row, f"{count:,}", ha="center", va="center", color=colour, fontsize=SMALL)
    key = [Patch(color="#" + _tint(LIGHT.blue, LIGHT.correct).tobytes().hex(), label="correct")]
    for count in sorted({1, most}) if most else ():
        label = f"{count:,} {'images' if count > 1 else 'image'} misclassified"
        key.append(Patch(color="#" + _tint(LIGHT.red, _red_fraction(count, most)).tobytes().hex(), label=label))
    axes.legend(handles=key, ncols=3, handlelength=1, handleheight=1, columnspacing=1.5, **ABOVE)
    _label_columns(axes, np.arange(size), classes)
    axes.set_yticks(range(size), classes)
    _label_right(axes, [format_percent(value, 1) for value in recall], "recall")
    title = f"{title}: {errors.sum():,} of {counts.sum():,} test images misclassified"
    axes.set_title(title, pad=22)
    axes.set(xlabel="predicted class", ylabel="true class")
    return figure


def draw_recall(counts: np.ndarray, classes: list[str], title: str) -> Figure:
    """Recall per class with its 95 % interval; `counts` are integers (true class, predicted class)."""
    correct, totals = np.diag(counts), counts.sum(axis=1)
    rows, accuracy = np.flatnonzero(totals), correct.sum() / totals.sum()
    low, high = wilson_interval(correct[rows], totals[rows])
    figure = Figure(figsize=(5, 0.28 * len(classes)))
    axes = figure.add_axes((0, 0, 1, 1))
    axes.axvline(accuracy, color=LIGHT.soft, linestyle="--")
    axes.hlines(rows, low, high, color=LIGHT.blue, linewidth=2)
    axes.plot(correct[rows] / totals[rows], rows, "o", color=LIGHT.blue, clip_on=False, zorder=3)
    start = np.floor(low.min() * 50) / 50
    axes.set(xlim=(start, 1), ylim=(len(classes) - 0.5, -0.5))  # the first class on top
    axes.xaxis.set_major_locator(MaxNLocator(5, steps=[1, 2, 2.5, 5, 10]))
    axes.xaxis.set_major_formatter(lambda value, _: f"{100 * value:.4g} %")
    axes.set_yticks(range(len(classes)), classes)
    axes.tick_params(axis="y", length=0)
    pairs = zip(correct, totals, strict=True)
    _label_right(
        axes, [f"{format_percent(part / total, 1)} of {total:,}" if total else "no images" for part, total in pairs]
    )
    _set_titles(axes, f"{title}: recall per class", f"dashed: accuracy, {format_percent(accuracy, 2)}")
    axes.set_xlabel(f"recall and its 95 % interval; the axis starts at {format_percent(start, 0)}")
    return figure


def draw_calibration(bins: Reliability, title: str) -> Figure:
    """The reliability diagram: accuracy against confidence, above the number of images per bin of confidence."""
    figure = Figure(figsize=(6.4, 6.6), layout="constrained")
    above, below = figure.subplots(2, 1, sharex=True, height_ratios=(7, 2))
    points = bins.points
    confidence, count = points["confidence"], points["count"]
    above.plot([0, 1], [0, 1], "--", color=LIGHT.soft)
    above.text(0.02, 0.97, "underconfident", va="top", color=LIGHT.soft)
    above.text(0.98, 0.03, "overconfident", ha="right", color=LIGHT.soft)
    above.vlines(confidence, points["low"], points["high"], color=LIGHT.blue, linewidth=2, clip_on=False)
    above.plot(confidence, points["accuracy"], "o", color=LIGHT.blue, clip_on=False, zorder=3)
    error = f"expected calibration error {bins.expected_calibration_error:.4f}"
    title = f"{title}: how often is the network right when it is 90 % confident?"
    _set_titles(above, title, f"dots on the dashed line: as often as it expects; {error}")
    above.set(xlim=(0, 1), ylim=(0, 1), ylabel="accuracy and its 95 % interval")
    for axis in (above.xaxis, above.yaxis):
        axis.set_major_formatter(PercentFormatter(1, symbol=" %"))
    bars = below.bar(EDGES[points["number"]], count, 1 / BINS, align="edge", color=LIGHT.blue, edgecolor=LIGHT.paper)
    below.bar_label(bars, fmt="{:,.0f}", padding=2, color=LIGHT.soft, fontsize=SMALLEST)
    below.set(yscale="log", ylim=(0.7, 8 * count.max()), ylabel="images (log)")
    below.set(xlabel="confidence: the probability of the predicted class", yticks=[])
    below.minorticks_off()
    return figure


def draw_predictions(
    images: np.ndarray, predictions: Predictions, indices: np.ndarray, classes: list[str], title: str
) -> Figure:
    """Images at some indices, float (n, height, width), 0 to 1, and their predictions, bold and red where wrong."""
    columns = min(max(len(indices), 3), 5)
    rows = -(-len(indices) // columns)
    width = max(1.75, 0.08 * len(f"predicted {max(classes, key=len)} (> 99.99 %)"))  # inches
    figure = Figure(figsize=(columns * width, 2.2 * rows if len(indices) else 0.4), layout="constrained")
    figure.suptitle(title, x=0.01, ha="left")
    if not len(indices):
        return figure
    grid = figure.subplots(rows, columns, squeeze=False, subplot_kw={"frame_on": False, "xticks": [], "yticks": []})
    for axes, index in zip(grid.ravel(), indices, strict=False):
        predicted, actual = classes[predictions.predicted[index]], classes[predictions.labels[index]]
        caption = f"predicted {predicted} ({format_probability(predictions.confidence[index], 2)})\ntrue {actual}"
        weight, colour = ("bold", LIGHT.red) if predictions.wrong[index] else ("normal", LIGHT.ink)
        axes.set_title(caption, loc="center", fontsize=SMALL, fontweight=weight, color=colour)
        axes.imshow(images[index], vmin=0, vmax=1)
    return figure


def draw_augmentation(examples: np.ndarray, classes: list[str], title: str, augmented: bool) -> Figure:
    """Training images, a class per column: float (classes, n, height, width), 0 to 1.

    If augmented, the first one of each class is original, and the others are its augmented versions.
    """
    count, rows, height, width = examples.shape
    gap = max(1, height // 20)
    padded = np.pad(examples, ((0, 0), (0, 0), (gap, gap), (gap, gap)), constant_values=1.0)
    mosaic = padded.transpose(1, 2, 0, 3).reshape(rows * (height + 2 * gap), count * (width + 2 * gap))
    figure = Figure(figsize=(0.62 * count, 0.62 * rows))
    axes = figure.add_axes((0, 0, 1, 1))
    # One image is drawn much faster than count * rows of them; its axes count columns and rows.
    axes.imshow(mosaic, vmin=0, vmax=1, extent=(0, count, rows, 0), aspect="auto")
    axes.xaxis.tick_top()
    _label_columns(axes, np.arange(count) + 0.5, classes)
    axes.set_yticks([0.5, 1.5] if augmented else [], ["original", "augmented"] if augmented else [])
    state = "augmented differently in each epoch" if augmented else "used without augmentation"
    axes.set_title(f"{title}: training images, {state}")
    return figure


def _tint(colour: str, fraction: np.ndarray | float) -> np.ndarray:
    """A mixture of a colour and paper, as CSS's color-mix computes it: uint8 (..., 3) for fractions (...)."""
    full, paper = (np.array([*bytes.fromhex(each.removeprefix("#"))]) for each in (colour, LIGHT.paper))
    return np.rint(paper + np.asarray(fraction)[..., None] * (full - paper)).astype(np.uint8)


def _red_fraction(count: np.ndarray | int, most: int) -> np.ndarray | float:
    """How red a cell of `count` misclassified images is, if the most in a cell are `most`."""
    return LIGHT.weakest + (LIGHT.strongest - LIGHT.weakest) * count / max(1, most)


def _set_titles(axes: Axes, title: str, subtitle: str) -> None:
    """Set a title, and a line in small type below it."""
    axes.set_title(title, pad=20)
    below: dict[str, Any] = {"xytext": (0, 6), "xycoords": "axes fraction", "textcoords": "offset points"}
    axes.annotate(subtitle, (0, 1), fontsize=SMALL, color=LIGHT.soft, **below)


def _label_columns(axes: Axes, positions: np.ndarray, classes: list[str]) -> None:
    """Name the columns of an image, long names at an angle, and hide its grid, ticks and frame."""
    axes.set_xticks(positions, classes, rotation=45 if max(map(len, classes)) > 3 else 0, rotation_mode="xtick")
    axes.tick_params(length=0)
    axes.grid(visible=False)
    axes.spines[:].set_visible(False)


def _label_right(axes: Axes, labels: list[str], name: str = "") -> None:
    """Label the rows 0, 1, ... on the right of the axes."""
    right = axes.secondary_yaxis("right")
    right.set_yticks(range(len(labels)), labels, fontsize=SMALL)
    right.tick_params(length=0, pad=8)
    right.set_ylabel(name)
    right.spines[:].set_visible(False)
