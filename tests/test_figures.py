"""Recall, calibration and augmentation: what their figures show, also of odd numbers, and always in the same bytes."""

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure

from mnist.figures import draw_augmentation, draw_calibration, draw_recall, save_figure
from mnist.metrics.calibration import reliability

RNG = np.random.default_rng(5)
CONFIDENCE = RNG.uniform(0.3, 1, 400).round(6)
EXAMPLES = RNG.random((3, 4, 9, 7))
LONG = [f"a class of a long name, {number}" for number in range(47)]


def calibration() -> Figure:
    return draw_calibration(reliability(CONFIDENCE, CONFIDENCE > 0.6), "Data")


def recall() -> Figure:
    return draw_recall(np.array([90, 0, 5]), np.array([100, 0, 10]), ["cat", "Ankle boot", "owl"], "Data")


def texts(figure: Figure) -> list[str]:
    return [text.get_text() for axes in figure.axes for text in axes.texts]


def saved(figure: Figure, path: Path) -> bytes:
    save_figure(figure, path)
    return path.read_bytes()


def augmentation() -> Figure:
    return draw_augmentation(EXAMPLES, ["cat", "Ankle boot", "owl"], "Data")


@pytest.mark.parametrize("draw", [calibration, recall, augmentation])
def test_the_same_numbers_give_the_same_bytes(tmp_path, draw):
    assert saved(draw(), tmp_path / "first.png") == saved(draw(), tmp_path / "second.png")


def test_calibration_shows_each_bins_accuracy_against_its_mean_confidence():
    # Two in a bin, of which one is right, and three in the last one, all right.
    bins = reliability(np.array([0.5, 0.52, 1, 1, 0.97]), np.array([True, False, True, True, True]))
    figure = draw_calibration(bins, "Data")
    points = figure.axes[0].lines[-1].get_xydata()
    np.testing.assert_allclose(points, [[0.51, 0.5], [0.99, 1]])
    (bars,) = figure.axes[0].collections
    (x, low), (_, high) = bars.get_segments()[0]
    assert (x, low, high) == pytest.approx((0.51, 0.0945, 0.9055), abs=1e-4)
    assert texts(figure)[-2:] == ["2", "3"]
    assert figure.axes[0].get_title("left") == "Data: expected calibration error 0.0100"


@pytest.mark.parametrize("confidence", [1.0, 0.0, 0.5])
@pytest.mark.parametrize("correct", [True, False])
def test_calibration_of_one_prediction_is_drawn(tmp_path, confidence, correct):
    figure = draw_calibration(reliability(np.array([confidence]), np.array([correct])), "Data")
    assert saved(figure, tmp_path / "figure.png").startswith(b"\x89PNG")
    assert len(figure.axes[0].lines[-1].get_xydata()) == 1


def test_recall_shows_each_class_that_has_images():
    figure = recall()
    points = figure.axes[0].lines[-1].get_xydata()
    np.testing.assert_allclose(points, [[0.9, 0], [0.5, 2]])
    (bars,) = figure.axes[0].collections
    (low, row), (high, _) = bars.get_segments()[1]
    assert (low, high, row) == pytest.approx((0.2366, 0.7634, 2), abs=1e-4)
    assert texts(figure) == ["90.0% of 100", "no images", "50.0% of 10"]


def test_recall_says_where_its_axis_starts_and_cuts_no_interval_off():
    axes = recall().axes[0]
    assert axes.get_xlim() == (0.22, 1)
    assert axes.get_xlabel().endswith("the axis starts at 22%")


@pytest.mark.parametrize(
    ("hits", "totals", "classes"),
    [
        ([5, 5], [5, 5], ["a", "b"]),
        ([0, 0], [5, 5], ["a", "b"]),
        ([0, 1], [0, 1], ["a", "b"]),
        (range(53, 100), [100] * 47, LONG),
    ],
)
def test_recall_of_few_and_of_many_classes_fits_its_figure(tmp_path, hits, totals, classes):
    figure = draw_recall(np.array(hits), np.array(totals), classes, "Data")
    assert saved(figure, tmp_path / "figure.png").startswith(b"\x89PNG")
    axes = figure.axes[0]
    for text in (*axes.texts, *axes.get_yticklabels(), axes.xaxis.label):
        box = text.get_window_extent()
        assert figure.bbox.x0 <= box.x0, text
        assert box.x1 <= figure.bbox.x1, text
        assert figure.bbox.y0 <= box.y0, text
    names = [label.get_window_extent() for label in axes.get_yticklabels()]
    assert all(above.y0 > below.y1 for above, below in pairwise(names))


def test_augmentation_shows_each_class_in_a_column_the_image_as_it_is_on_top():
    shown = np.asarray(augmentation().axes[0].images[0].get_array())
    for column, row in ((0, 0), (2, 0), (1, 3)):
        found = shown[10 * row : 10 * row + 9, 8 * column : 8 * column + 7]
        np.testing.assert_array_equal(found, EXAMPLES[column, row])


@pytest.mark.parametrize(("count", "names"), [(1, ["a", "b"]), (8, ["a", "b"]), (8, LONG)])
def test_augmentation_fits_its_figure_and_says_when_there_is_none(tmp_path, count, names):
    figure = draw_augmentation(RNG.random((len(names), count, 8, 8)), names, "Data")
    assert saved(figure, tmp_path / "figure.png").startswith(b"\x89PNG")
    title = figure.texts[0]
    assert ("no augmentation" in title.get_text()) == (count == 1)
    for text in (title, *figure.axes[0].texts):
        box = text.get_window_extent()
        assert figure.bbox.x0 <= box.x0, text
        assert box.x1 <= figure.bbox.x1, text
        assert box.y1 <= figure.bbox.y1, text
        assert text is title or not box.overlaps(title.get_window_extent()), text
