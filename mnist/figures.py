"""The figures, drawn from arrays: made to be read at a glance, and the same bytes for the same numbers."""

from collections.abc import Sequence
from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, NullLocator, PercentFormatter

from mnist.core.files import atomic_write
from mnist.metrics.calibration import BINS, EDGES, Reliability
from mnist.metrics.interval import wilson_interval

# Colours that stay apart for colour-blind people (Okabe and Ito 2008).
BLUE, ORANGE, RED, GREY = "#0072b2", "#e69f00", "#d55e00", "#6b6b6b"

matplotlib.rcdefaults()  # not a user's matplotlibrc: it would change the bytes
matplotlib.rcParams.update(
    {
        "figure.dpi": 120,
        "savefig.dpi": 120,
        "font.size": 10,
        "axes.titlesize": 11,
        "axes.titleweight": "bold",
        "axes.titlelocation": "left",
        "axes.titley": 1.0,  # without it, all tick labels are measured once more, to keep the title off them
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.edgecolor": GREY,
        "axes.labelcolor": GREY,
        "xtick.color": GREY,
        "ytick.color": GREY,
        "axes.grid": True,
        "grid.color": "#e4e4e4",
        "legend.frameon": False,
    }
)


def save_figure(figure: Figure, path: Path) -> None:
    """Save as PNG, without the version of matplotlib in its metadata."""
    with atomic_write(path) as partial:
        figure.savefig(partial, format="png", metadata={"Software": None})


def draw_curves(history: dict[str, np.ndarray], title: str, validated_on: str) -> Figure:
    """Accuracy and loss of each epoch, training against validation.

    Args:
        history: arrays of shape (epochs,): epoch, loss, accuracy, val_loss, val_accuracy.
        title: name of the data set.
        validated_on: which images the validation figures are of.
    """
    figure = Figure(figsize=(9.6, 3.8))
    figure.subplots_adjust(left=0.06, right=0.99, bottom=0.13, top=0.92, wspace=0.15)
    for axes, measure in zip(figure.subplots(1, 2), ("accuracy", "loss"), strict=True):
        for name, column, colour, marker in (
            ("training", measure, BLUE, "o"),
            (f"validation ({validated_on})", f"val_{measure}", ORANGE, "s"),
        ):
            values = history[column]
            label = f"{name}: {values[-1]:.4f}"
            axes.plot(
                history["epoch"],
                values,
                color=colour,
                marker=marker,
                markersize=4,
                markevery=_every(values),
                label=label,
            )
        axes.set_title(f"{title}: {measure}")
        axes.set_xlabel("epoch")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.legend(loc="best")
    return figure


def draw_confusion_matrix(counts: np.ndarray, classes: Sequence[str], title: str) -> Figure:
    """How often each class was taken for each.

    Args:
        counts: integers (classes, classes), true class by row, predicted class by column.
        classes: the name of each.
        title: name of the data set.
    """
    size = len(classes)
    total, wrong = counts.sum(), counts.sum() - np.trace(counts)
    # Errors and hits each have a scale: on one scale, the few errors would all look like nothing.
    diagonal = np.eye(size, dtype=bool)
    recall = np.diag(counts) / np.maximum(counts.sum(axis=1), 1)
    longest = 0.075 * max(map(len, classes))  # inches that a class's name takes
    width, height = 6.9 + longest, 6.1 + longest  # inches, too
    figure = Figure(figsize=(width, height))
    # Placed by hand, because matplotlib's automatic layouts draw everything several times.
    axes = figure.add_axes(((0.55 + longest) / width, (0.5 + longest) / height, 5.2 / width, 5.2 / height))
    axes.imshow(np.where(diagonal, recall[:, None], np.nan), cmap="Blues", vmin=0, vmax=1.6)
    axes.imshow(
        np.where(diagonal | (counts == 0), np.nan, counts),
        cmap="Oranges",
        vmin=0,
        vmax=max(1, 1.5 * counts[~diagonal].max()),
    )
    if size <= 30:  # more would not be legible
        for row, column in np.ndindex(size, size):
            count = counts[row, column]
            axes.text(
                column, row, f"{count:,}", ha="center", va="center", color="black" if count else "#c8c8c8", fontsize=9
            )
    axes.set_title(f"{title}: {wrong:,} errors in {total:,} test images")
    turned = max(map(len, classes)) > 3
    axes.set_xticks(range(size), classes, rotation=45 if turned else 0, ha="right" if turned else "center")
    axes.set_yticks(range(size), classes)
    axes.set_xlabel("predicted")
    axes.set_ylabel("true")
    axes.tick_params(length=0)
    axes.grid(visible=False)
    axes.spines[:].set_visible(False)
    for row, share in enumerate(recall):
        axes.text(size - 0.4, row, f"{share:.1%}", va="center", color=GREY, fontsize=9)
    axes.text(size - 0.4, -0.6, "recall", va="bottom", color=GREY, fontsize=9)
    return figure


def draw_recall(hits: np.ndarray, totals: np.ndarray, classes: Sequence[str], title: str) -> Figure:
    """Which share of each class's images was recognised, each with its 95 % interval.

    Args:
        hits: integers (classes,), how many images of the class were recognised.
        totals: integers (classes,), how many there are; a class may have none.
        classes: the name of each.
        title: name of the data set.
    """
    longest = 0.075 * max(map(len, classes))  # inches that a class's name takes
    width, height = 6.6 + longest, 1.0 + 0.28 * len(classes)  # inches, too
    figure = Figure(figsize=(width, height))
    axes = figure.add_axes(((0.25 + longest) / width, 0.6 / height, 5 / width, (height - 1) / height))
    rows, whole = np.flatnonzero(totals), hits.sum() / totals.sum()
    low, high = wilson_interval(hits[rows], totals[rows])
    axes.axvline(whole, color=ORANGE, linestyle="--")
    axes.hlines(rows, low, high, color=BLUE, linewidth=2)
    axes.plot(hits[rows] / totals[rows], rows, "o", color=BLUE, clip_on=False, zorder=3)
    for row, (hit, total) in enumerate(zip(hits, totals, strict=True)):
        share = f"{hit / total:.1%} of {total:,}" if total else "no images"
        axes.text(1.02, row, share, transform=axes.get_yaxis_transform(), va="center", color=GREY, fontsize=9)
    start = np.floor(low.min() * 50) / 50
    axes.set(xlim=(start, 1), ylim=(len(classes) - 0.5, -0.5))  # the first class on top
    axes.xaxis.set_major_formatter(PercentFormatter(1))
    axes.set_yticks(range(len(classes)), classes)
    axes.tick_params(axis="y", length=0)
    axes.set_xlabel(f"recall and its 95% interval; the axis starts at {start:.0%}")
    axes.set_title(f"{title}: recall of each class (dashed: of all, {whole:.2%})")
    return figure


def draw_calibration(bins: Reliability, title: str) -> Figure:
    """The reliability diagram: how often the network is right, against how sure it is, and how often it is so sure.

    Args:
        bins: the predictions, gathered by their confidence.
        title: name of the data set.
    """
    figure = Figure(figsize=(6.4, 6.6))
    axes = figure.add_axes((0.1, 0.31, 0.87, 0.64), xlim=(0, 1), ylim=(0, 1))
    points = bins.points
    confidence, count, left_edges = points["confidence"], points["count"], EDGES[points["number"]]
    axes.plot([0, 1], [0, 1], "--", color=ORANGE)
    axes.text(0.02, 0.97, "less sure than right", va="top", color=GREY)
    axes.text(0.98, 0.03, "surer than right", ha="right", color=GREY)
    axes.vlines(confidence, points["low"], points["high"], color=BLUE, linewidth=2, clip_on=False)
    axes.plot(confidence, points["accuracy"], "o", color=BLUE, clip_on=False, zorder=3)
    axes.set_title(f"{title}: expected calibration error {bins.expected_calibration_error:.4f}")
    axes.set_ylabel("accuracy and its 95% interval")
    axes.tick_params(labelbottom=False)

    below = figure.add_axes((0.1, 0.09, 0.87, 0.18), xlim=(0, 1), yscale="log", ylim=(0.7, 8 * count.max()))
    below.bar(left_edges, count, 1 / BINS, align="edge", color=BLUE, edgecolor="white")
    for left, number in zip(left_edges, count, strict=True):
        below.text(left + 0.5 / BINS, 1.2 * number, f"{number:,}", ha="center", va="bottom", color=GREY, fontsize=8)
    below.set_xlabel("confidence: the probability given to the predicted class")
    below.set_ylabel("images (log)")
    below.yaxis.set_major_locator(NullLocator())
    below.yaxis.set_minor_locator(NullLocator())
    return figure


def draw_images(images: np.ndarray, captions: Sequence[str], wrong: Sequence[bool], title: str) -> Figure:
    """Images in a grid, each with a caption; that of a wrong prediction is bold and red.

    Args:
        images: float (n, height, width), 0 to 1.
        captions: n texts.
        wrong: n truth values.
        title: over all of them.
    """
    columns = min(max(len(images), 3), 5)
    rows = max(1, -(-len(images) // columns))
    width, height = 1.75 * columns + 0.1, 2.2 * rows + 0.5  # inches
    figure = Figure(figsize=(width, height))
    # One plane measured in inches holds all images: axes for each would take several times as long to draw.
    plane = figure.add_axes((0, 0, 1, 1))
    plane.set_axis_off()
    for index, (image, caption, is_wrong) in enumerate(zip(images, captions, wrong, strict=True)):
        row, column = divmod(index, columns)
        left, bottom = 0.1 + 1.75 * column, height - 0.4 - 2.2 * (row + 1)
        tall, wide = (1.65 * size / max(image.shape) for size in image.shape)
        plane.imshow(image, cmap="gray", vmin=0, vmax=1, extent=(left, left + wide, bottom, bottom + tall))
        weight, colour = ("bold", RED) if is_wrong else ("normal", "black")
        plane.text(left + 0.825, bottom + 1.7, caption, fontsize=9, fontweight=weight, color=colour, ha="center")
    plane.text(width / 2, height - 0.25, title, fontsize=12, fontweight="bold", ha="center", va="center")
    plane.set(xlim=(0, width), ylim=(0, height), aspect="equal")
    return figure


def draw_augmentation(examples: np.ndarray, classes: Sequence[str], title: str) -> Figure:
    """One training image of each class, as it is and as training may meet it.

    Args:
        examples: float (classes, n, height, width), 0 to 1; the first of n is the image as it is.
        classes: the name of each.
        title: name of the data set.
    """
    count, rows, height, width = examples.shape
    gap = max(1, height // 10)
    padded = np.pad(examples, ((0, 0), (0, 0), (0, gap), (0, gap)), constant_values=1.0)
    mosaic = padded.transpose(1, 2, 0, 3).reshape(rows * (height + gap), count * (width + gap))
    longest = 0.075 * max(map(len, classes))  # inches that a class's name takes
    turned = longest > 0.6
    left, top, cell = 1.0, 0.65 + (longest if turned else 0), 0.62  # inches, too
    size = max(left + cell * count + 0.05, 7.25), top + cell * rows  # the title needs as much
    figure = Figure(figsize=size)
    axes = figure.add_axes((left / size[0], 0, cell * count / size[0], cell * rows / size[1]))
    axes.imshow(mosaic, cmap="gray", vmin=0, vmax=1, aspect="auto")
    axes.set_axis_off()
    for column, name in enumerate(classes):
        place = (column + 0.45) * (width + gap), -0.25 * height
        axes.text(*place, name, ha="center", va="bottom", color=GREY, rotation=90 if turned else 0)
    for row, name in ((0, "as it is"), (1, "as training\nmeets it")):
        if row < rows:
            axes.text(-0.25 * width, (row + 0.45) * (height + gap), name, ha="right", va="center", color=GREY)
    what = "deformed anew in each epoch" if rows > 1 else "no augmentation: training meets the images as they are"
    figure.text(0.1 / size[0], 1 - 0.15 / size[1], f"{title}: {what}", fontweight="bold", va="top")
    return figure


def _every(values: np.ndarray) -> int:
    """Mark about 20 points of a curve, however many it has."""
    return max(1, len(values) // 20)
