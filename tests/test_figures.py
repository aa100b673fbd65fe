"""The content of the figures, their legibility for any class names, and the same bytes for the same numbers."""

from itertools import combinations, pairwise
from pathlib import Path

import numpy as np
import pytest
from contrast import GRAPHICS, TEXT, contrast
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_hex, to_rgb
from matplotlib.figure import Figure
from matplotlib.text import Text
from PIL import Image

from mnist import figures
from mnist.metrics.calibration import reliability
from mnist.metrics.predictions import Predictions
from mnist.style import LIGHT

RNG = np.random.default_rng(5)
CONFIDENCE = RNG.uniform(0.3, 1, 400).round(6)
IMAGES = RNG.random((47, 8, 9, 7))
HISTORY = {name: RNG.random(40) for name in ("loss", "accuracy", "val_loss", "val_accuracy")}
PETS = ["cat", "dog", "owl"]
COUNTS = np.array([[90, 1200, 0], [0, 0, 0], [2, 3, 5]])
FASHION = ["T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"]
LETTERS = [chr(ord("A") + number) for number in range(26)]
LONG = [f"a class with a long name, {number}" for number in range(47)]
NAMES = [["a", "b"], ["cat", "Ankle boot"], FASHION, LETTERS, LONG]


def curves(epochs: int = 40) -> Figure:
    history = {"epoch": np.arange(1, epochs + 1)} | {name: values[:epochs] for name, values in HISTORY.items()}
    return figures.draw_curves(history, "Data", "held-out training images")


def confusion_matrix(classes: list[str] = PETS) -> Figure:
    counts = COUNTS if classes == PETS else 1000 * np.eye(len(classes), dtype=int) + 1
    return figures.draw_confusion_matrix(counts, classes, "Data")


def recall(classes: list[str] = PETS) -> Figure:
    counts = COUNTS if classes == PETS else np.diag(np.arange(len(classes)) + 50) + 1
    return figures.draw_recall(counts, classes, "Data")


def calibration() -> Figure:
    return figures.draw_calibration(reliability(CONFIDENCE, CONFIDENCE > 0.6), "Data")


def predictions(classes: list[str] = PETS, count: int = 7) -> Figure:
    """Draw `count` predictions, of which those at odd indices are wrong."""
    labels = np.arange(count) % len(classes)
    predicted = (labels + np.arange(count) % 2) % len(classes)
    found = Predictions(labels, predicted, np.full(count, 0.98765))
    return figures.draw_predictions(IMAGES[:, 0], found, np.arange(count), classes, "Data: predictions")


def augmentation(classes: list[str] = PETS, augmented: bool = True) -> Figure:
    return figures.draw_augmentation(IMAGES[: len(classes), :4], classes, "Data", augmented)


def saved(figure: Figure, path: Path) -> bytes:
    figures.save_figure(figure, path)
    return path.read_bytes()


def right_labels(axes: Axes) -> list[str]:
    (right,) = axes.child_axes
    return [label.get_text() for label in right.get_yticklabels()]


FIGURES = [curves, confusion_matrix, recall, calibration, predictions, augmentation]


def text_contrasts(figure: Figure) -> dict[str, float]:
    """The contrast of each text with the pixels behind it, in the worst place."""
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    texts = [text for text in figure.findobj(Text) if text.get_text().strip() and text.get_visible()]
    frames = [text.get_window_extent() for text in texts]
    for text in texts:
        text.set_alpha(0)
    canvas.draw()
    pixels = np.asarray(canvas.buffer_rgba())[::-1, :, :3] / 255
    found = {}
    for text, frame in zip(texts, frames, strict=True):
        x0, y0, x1, y1 = np.maximum(0, np.rint(frame.extents)).astype(int)  # text outside of the axes is on paper
        behind = [*np.unique(pixels[y0:y1, x0:x1].reshape(-1, 3), axis=0), to_rgb(LIGHT.paper)]
        worst = min(contrast(to_rgb(text.get_color()), colour) for colour in (behind[:-1] or behind))
        found[text.get_text()] = min(worst, found.get(text.get_text(), worst))
    return found


@pytest.mark.parametrize("draw", FIGURES)
def test_texts_have_the_contrast_of_level_aa(draw):
    assert {text: ratio for text, ratio in text_contrasts(draw()).items() if ratio < TEXT} == {}


@pytest.mark.parametrize("most", [1, 2, 25, 3000])
def test_counts_are_legible_on_each_colour_of_the_confusion_matrix(most):
    counts = np.linspace(0, most, 100).astype(int).reshape(10, 10)
    ratios = text_contrasts(figures.draw_confusion_matrix(counts, [*"abcdefghij"], "Data"))
    assert {text: ratio for text, ratio in ratios.items() if ratio < TEXT} == {}


@pytest.mark.parametrize("draw", [curves, recall, calibration])
def test_lines_and_bars_have_the_contrast_of_level_aa(draw):
    colours = set()
    for axes in draw().axes:
        colours |= {to_hex(line.get_color()) for line in axes.lines}
        colours |= {to_hex(colour) for bars in axes.collections for colour in bars.get_colors()}
        colours |= {to_hex(patch.get_facecolor()) for patch in axes.patches}
    assert colours
    assert {colour for colour in colours if contrast(to_rgb(colour), to_rgb(LIGHT.paper)) < GRAPHICS} == set()


@pytest.mark.parametrize("draw", FIGURES)
def test_the_same_numbers_give_the_same_bytes(tmp_path, draw):
    assert saved(draw(), tmp_path / "first.png") == saved(draw(), tmp_path / "second.png")


@pytest.mark.parametrize("classes", NAMES)
@pytest.mark.parametrize("draw", [confusion_matrix, recall, predictions, augmentation])
def test_texts_are_complete_and_do_not_overlap(tmp_path, draw, classes):
    figure = draw(classes)
    figures.save_figure(figure, tmp_path / "figure.png")
    pixels = np.asarray(Image.open(tmp_path / "figure.png").convert("L"))
    for edge in (pixels[0], pixels[-1], pixels[:, 0], pixels[:, -1]):
        assert edge.min() == 255  # no text is cut off
    titles = [axes.title for axes in figure.axes if axes.title.get_text()]
    assert not any(a.get_window_extent().overlaps(b.get_window_extent()) for a, b in combinations(titles, 2))
    for axes in figure.axes if draw is not predictions else []:
        for above, below in pairwise(axes.get_yticklabels()):
            assert not above.get_window_extent().overlaps(below.get_window_extent())
        columns = axes.get_xticklabels()
        for left, right in pairwise(columns):
            (x0, _), (x1, _) = (axes.transData.transform(text.get_position()) for text in (left, right))
            # Rotated names are parallel lines of text; the others lie side by side.
            needed = 10 * figure.dpi / 72 if left.get_rotation() else left.get_window_extent().width
            assert (x1 - x0) * (np.sin(np.pi / 4) if left.get_rotation() else 1) >= 0.9 * needed
        title = axes._left_title.get_window_extent()
        assert not any(text.get_window_extent().overlaps(title) for text in columns)


@pytest.mark.parametrize("draw", [confusion_matrix, recall, predictions, augmentation])
def test_class_names_are_not_formulas_and_need_no_other_font(tmp_path, draw):
    names = ["$x^2$ & $\\unknown{$", "жук", "שלום", "ابجد", "\\alpha _b_ <i>", "ქართული", "☺ #5 %", "é", "Ω", "ա"]
    figure = draw(names)
    saved(figure, tmp_path / "names.png")  # a missing glyph is a warning, which pytest makes an error
    shown = {text.get_text() for text in figure.findobj(Text)}
    assert any(names[0] in text for text in shown)
    assert not any(text.get_parse_math() for text in figure.findobj(Text))


def test_curves_show_each_epoch_and_name_the_last_values():
    accuracy, loss = curves().axes
    assert [axes.get_title("left") for axes in (accuracy, loss)] == ["Data: accuracy", "Data: loss"]
    for axes, columns in ((accuracy, ("accuracy", "val_accuracy")), (loss, ("loss", "val_loss"))):
        for line, column in zip(axes.lines, columns, strict=True):
            np.testing.assert_array_equal(line.get_xydata(), np.transpose([np.arange(1, 41), HISTORY[column]]))
        assert [text.get_text() for text in axes.get_legend().get_texts()] == [
            f"training: {HISTORY[columns[0]][-1]:.4f}",
            f"validation (held-out training images): {HISTORY[columns[1]][-1]:.4f}",
        ]


def test_curves_of_one_epoch_are_drawn(tmp_path):
    figure = curves(epochs=1)
    assert saved(figure, tmp_path / "figure.png").startswith(b"\x89PNG")
    assert [len(line.get_xydata()) for axes in figure.axes for line in axes.lines] == [1] * 4


def test_the_confusion_matrix_shows_counts_and_recall():
    (axes,) = confusion_matrix().axes
    assert [text.get_text() for text in axes.texts] == ["90", "1,200", "0", "0", "0", "0", "2", "3", "5"]
    assert [label.get_text() for label in axes.get_yticklabels()] == PETS
    assert right_labels(axes) == ["7.0 %", "–", "50.0 %"]
    assert axes.get_title("left") == "Data: 1,205 of 1,300 test images misclassified"
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("predicted class", "true class")


def test_the_confusion_matrix_has_a_key_of_its_colours():
    (axes,) = confusion_matrix().axes
    key = axes.get_legend()
    assert [text.get_text() for text in key.get_texts()] == [
        "correct",
        "1 image misclassified",
        "1,200 images misclassified",
    ]
    correct, _, most = (to_hex(patch.get_facecolor()) for patch in key.get_patches())
    cells = np.asarray(axes.images[0].get_array())
    assert [f"#{cell.tobytes().hex()}" for cell in cells[[0, 2, 0], [0, 2, 1]]] == [correct, correct, most]
    assert [f"#{cell.tobytes().hex()}" for cell in cells[[0, 1, 1], [2, 1, 0]]] == [LIGHT.paper] * 3
    assert (np.diff(cells[[2, 2, 0], [0, 1, 1]].astype(int)[:, 2]) <= 0).all()  # more images are darker
    axes.figure.draw_without_rendering()
    assert not axes._left_title.get_window_extent().overlaps(key.get_window_extent())


def test_a_confusion_matrix_without_mistakes_is_drawn(tmp_path):
    figure = figures.draw_confusion_matrix(np.diag([3, 4]), ["a", "b"], "Data")
    assert saved(figure, tmp_path / "figure.png").startswith(b"\x89PNG")
    assert figure.axes[0].get_title("left") == "Data: 0 of 7 test images misclassified"
    assert [text.get_text() for text in figure.axes[0].get_legend().get_texts()] == ["correct"]


def test_a_confusion_matrix_of_many_classes_shows_no_counts():
    assert not confusion_matrix(LONG).axes[0].texts


def test_predictions_are_captioned_and_the_wrong_ones_are_red():
    figure = predictions(count=3)
    assert figure.get_suptitle() == "Data: predictions"
    assert [axes.get_title() for axes in figure.axes] == [
        "predicted cat (98.77 %)\ntrue cat",
        "predicted owl (98.77 %)\ntrue dog",
        "predicted owl (98.77 %)\ntrue owl",
    ]
    assert [to_hex(axes.title.get_color()) == LIGHT.red for axes in figure.axes] == [False, True, False]
    for axes, image in zip(figure.axes, IMAGES[:, 0], strict=False):
        np.testing.assert_array_equal(axes.images[0].get_array(), image)


@pytest.mark.parametrize("count", [0, 1, 5, 6, 100])
def test_any_number_of_predictions_is_drawn(tmp_path, count):
    labels = np.zeros(count, int)
    found = Predictions(labels, labels, np.ones(count))
    figure = figures.draw_predictions(RNG.random((count, 4, 4)), found, np.arange(count), PETS, "Data")
    assert saved(figure, tmp_path / "figure.png").startswith(b"\x89PNG")
    assert sum(len(axes.images) for axes in figure.axes) == count


def test_calibration_shows_accuracy_against_mean_confidence():
    # Two predictions in a bin, one of them correct, and three in the last bin, all correct.
    bins = reliability(np.array([0.5, 0.52, 1, 1, 0.97]), np.array([True, False, True, True, True]))
    above, below = figures.draw_calibration(bins, "Data").axes
    np.testing.assert_allclose(above.lines[-1].get_xydata(), [[0.51, 0.5], [0.99, 1]])
    (bars,) = above.collections
    (x, low), (_, high) = bars.get_segments()[0]
    assert (x, low, high) == pytest.approx((0.51, 0.0945, 0.9055), abs=1e-4)
    texts = [text.get_text() for text in above.texts]
    assert texts[:2] == ["underconfident", "overconfident"]
    assert texts[2] == "dots on the dashed line: as often as it expects; expected calibration error 0.0100"
    assert [text.get_text() for text in below.texts] == ["2", "3"]
    assert above.get_title("left") == "Data: how often is the network right when it is 90 % confident?"


@pytest.mark.parametrize("confidence", [1.0, 0.0, 0.5])
@pytest.mark.parametrize("correct", [True, False])
def test_calibration_of_one_prediction_is_drawn(tmp_path, confidence, correct):
    figure = figures.draw_calibration(reliability(np.array([confidence]), np.array([correct])), "Data")
    assert saved(figure, tmp_path / "figure.png").startswith(b"\x89PNG")
    assert len(figure.axes[0].lines[-1].get_xydata()) == 1


def test_recall_shows_each_class_that_has_images():
    (axes,) = figures.draw_recall(np.array([[90, 10, 0], [0, 0, 0], [2, 3, 5]]), PETS, "Data").axes
    np.testing.assert_allclose(axes.lines[-1].get_xydata(), [[0.9, 0], [0.5, 2]])
    (bars,) = axes.collections
    (low, row), (high, _) = bars.get_segments()[1]
    assert (low, high, row) == pytest.approx((0.2366, 0.7634, 2), abs=1e-4)
    assert right_labels(axes) == ["90.0 % of 100", "no images", "50.0 % of 10"]
    # The axis starts at the lowest interval, rounded down, and names its start.
    assert axes.get_xlim() == (0.22, 1)
    assert axes.get_xlabel() == "recall and its 95 % interval; the axis starts at 22 %"
    assert axes.get_title("left") == "Data: recall per class"
    assert [text.get_text() for text in axes.texts] == ["dashed: accuracy, 86.36 %"]


@pytest.mark.parametrize("errors", [0, 1, 2, 5, 10, 20, 35, 60, 130, 300, 600, 900, 990, 1000])
def test_the_ticks_of_recall_do_not_collide(errors):
    (axes,) = figures.draw_recall(np.array([[1000 - errors, errors], [0, 1000]]), ["a", "b"], "Data").axes
    axes.figure.draw_without_rendering()
    labels = [label for label in axes.get_xticklabels() if axes.get_xlim()[0] <= label.get_position()[0] <= 1]
    assert len(labels) >= 3
    for left, right in pairwise(labels):
        assert left.get_window_extent().x1 + 10 < right.get_window_extent().x0  # pixels
    values = [float(label.get_text().removesuffix(" %")) for label in labels]
    assert values == pytest.approx([100 * label.get_position()[0] for label in labels])


@pytest.mark.parametrize("counts", [[[5, 0], [0, 5]], [[0, 5], [5, 0]], [[0, 0], [0, 1]]])
def test_recall_of_0_and_of_1_is_drawn(tmp_path, counts):
    figure = figures.draw_recall(np.array(counts), ["a", "b"], "Data")
    assert saved(figure, tmp_path / "figure.png").startswith(b"\x89PNG")


def test_augmentation_shows_a_class_per_column_with_the_original_on_top():
    (axes,) = augmentation().axes
    shown = np.asarray(axes.images[0].get_array())
    for column, row in ((0, 0), (2, 0), (1, 3)):
        found = shown[11 * row + 1 : 11 * row + 10, 9 * column + 1 : 9 * column + 8]
        np.testing.assert_array_equal(found, IMAGES[column, row])
    assert [label.get_text() for label in axes.get_yticklabels()] == ["original", "augmented"]
    assert [label.get_text() for label in axes.get_xticklabels()] == PETS
    assert axes.get_title("left") == "Data: training images, augmented differently in each epoch"


def test_without_augmentation_training_images_are_shown():
    (axes,) = augmentation(augmented=False).axes
    assert axes.get_yticklabels() == []
    assert axes.get_title("left") == "Data: training images, used without augmentation"


def test_the_probability_of_a_mistake_is_never_100_percent():
    found = Predictions(np.array([0, 0]), np.array([1, 1]), np.array([1.0, 0.99994]))
    figure = figures.draw_predictions(IMAGES[:, 0], found, np.arange(2), PETS, "Data")
    captions = [axes.get_title() for axes in figure.axes if axes.get_title()]
    assert captions == ["predicted dog (> 99.99 %)\ntrue cat", "predicted dog (99.99 %)\ntrue cat"]
