"""The content of the report and of the model card, as files."""

import base64
import csv
import io
import json
import re
from dataclasses import replace

import numpy as np
import pytest
from conftest import Checkout
from PIL import Image

from mnist.core.data import DataSummary
from mnist.metrics.predictions import Predictions
from mnist.model.weights import DenseLayer, read_weights
from mnist.report.charts import BOTTOM, LEFT, RIGHT, TOP, line_chart
from stages.report import data_uri, embed_network, frequent_confusions

RNG = np.random.default_rng(7)
DATA = DataSummary("own", "Own", ["a", "b", "c"], (2, 3), True, 2, False, "test images", {"test": 4})
LAYERS = [
    DenseLayer(RNG.random((6, 4), np.float32), RNG.random(4, np.float32), "relu"),
    DenseLayer(RNG.random((4, 3), np.float32), RNG.random(3, np.float32), "softmax"),
]
NUMBERS = 6 * 4 + 4 + 4 * 3 + 3


@pytest.mark.parametrize(
    ("limit", "precision"),
    [(4 * NUMBERS, "float32"), (4 * NUMBERS - 1, "float16"), (2 * NUMBERS, "float16"), (2 * NUMBERS - 1, None)],
)
def test_weights_above_the_limit_are_stored_in_half_precision_or_omitted(limit, precision):
    network = embed_network(LAYERS, DATA, limit)
    if precision is None:
        assert network is None
        return
    assert network["precision"] == precision
    assert network["layers"] == [{"units": 4, "activation": "relu"}, {"units": 3, "activation": "softmax"}]
    numbers = np.frombuffer(base64.b64decode(network["weights"]), precision)
    expected = np.concatenate([part.ravel() for layer in LAYERS for part in (layer.kernel, layer.bias)])
    np.testing.assert_array_equal(numbers, expected.astype(precision))


def test_a_data_uri_preserves_the_pixels():
    image = RNG.integers(0, 256, (5, 7)).astype(np.float32) / 255
    kind, content = data_uri(image).split(",")
    assert kind == "data:image/png;base64"
    np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(base64.b64decode(content)))), np.round(image * 255))


@pytest.mark.parametrize("epochs", [1, 2, 250])
@pytest.mark.parametrize("values", [(0.9, 0.99), (0.5, 0.5), (1e-6, 40.0), (0.0, 1.0)])
def test_a_chart_stays_within_its_frame(epochs, values):
    line = np.linspace(*values, epochs)
    chart = line_chart({"epoch": np.arange(1, epochs + 1), "loss": line, "val_loss": line[::-1]}, "loss")
    points = np.array([item["points"] for item in chart["lines"]]).reshape(-1, 2)
    assert len(points) == 2 * epochs
    assert points[:, 0].min() >= LEFT
    assert points[:, 0].max() <= RIGHT
    assert points[:, 1].min() >= TOP
    assert points[:, 1].max() <= BOTTOM
    assert all(0 < len(item["markers"]) <= 20 for item in chart["lines"])
    labels = [float(label) for label in chart["y_ticks"]]
    assert len(labels) > 1
    np.testing.assert_allclose(np.diff(labels), labels[1] - labels[0], rtol=1e-6)  # with the digits that they need
    assert chart["x_ticks"]


def test_the_most_frequent_confusions_come_first_with_their_most_confident_images():
    labels, predicted = np.array([0, 0, 1, 1, 1, 2, 2]), np.array([1, 0, 2, 2, 2, 0, 0])
    found = Predictions(labels, predicted, np.array([0.5, 0.9, 0.6, 0.8, 0.7, 0.4, 0.3]))
    confusion = found.confusion(3)
    pairs = frequent_confusions(found, confusion - np.diag(np.diag(confusion)))
    assert [(pair["actual"], pair["predicted"], pair["count"]) for pair in pairs] == [(1, 2, 3), (2, 0, 2), (0, 1, 1)]
    assert [pair["examples"].tolist() for pair in pairs] == [[3, 4, 2], [5, 6], [0]]
    assert frequent_confusions(Predictions(labels, labels, np.ones(7)), np.zeros((3, 3), int)) == []


def test_the_weights_read_equal_kerass(reproduced: Checkout) -> None:
    digits = replace(DATA, dataset="digits", classes=list("0123456789"), image_shape=(8, 8))
    layers = read_weights(reproduced.folder / "models/model.keras", digits)
    done = reproduced.run(
        "-c",
        "from mnist.model.backend import keras; network = keras.saving.load_model('models/model.keras'); "
        "print([[part.tolist() for part in layer.get_weights()] for layer in network.layers])",
    )
    for layer, (kernel, bias) in zip(layers, json.loads(done.stdout.splitlines()[-1]), strict=True):
        np.testing.assert_array_equal(layer.kernel, np.float32(kernel))
        np.testing.assert_array_equal(layer.bias, np.float32(bias))
    assert [layer.activation for layer in layers] == ["relu", "relu", "softmax"]


def test_the_model_card_has_the_metrics_of_the_run(reproduced: Checkout) -> None:
    card = (reproduced.folder / "reports/model-card.md").read_text()
    metrics = json.loads((reproduced.folder / "reports/metrics.json").read_text())
    assert f"| accuracy | {100 * metrics['accuracy']:.2f} % |" in card
    assert f"| errors | {metrics['errors']} of 360 |" in card
    assert "- train.epochs: 2\n" in card
    for heading in ("Model", "Data", "Training", "Metrics", "Use and limitations"):
        assert f"\n## {heading}\n" in card


@pytest.mark.parametrize(
    ("wrong", "line"), [((), "all are equal: 100.0 %"), (("8", "3"), "3, 8: 0.0 %"), (("7",), "7: 0.0 %")]
)
def test_the_classes_of_lowest_recall_are_all_named(checkout: Checkout, wrong: tuple[str, ...], line: str) -> None:
    path = checkout.folder / "reports/predictions.csv"
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    for row in rows:
        row["predicted"] = "0" if row["actual"] in wrong else row["actual"]
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    assert checkout.stage("report").returncode == 0
    assert f"| class of lowest recall | {line} |\n" in (checkout.folder / "reports/model-card.md").read_text()


def test_a_class_without_test_images_has_no_scores(checkout: Checkout) -> None:
    path = checkout.folder / "data/processed/test_labels.npy"
    labels = np.load(path)
    path.unlink()  # it may be a hard link to DVC's cache
    np.save(path, np.where(labels == 9, 8, labels).astype(np.uint8))
    for stage in ("evaluate", "report"):
        assert checkout.stage(stage).returncode == 0
    with (checkout.folder / "reports/per_class.csv").open(newline="") as file:
        *_, last = rows = list(csv.DictReader(file))
    assert [last[key] for key in ("class", "images", "errors", "precision", "recall", "f1")] == list("900") + [""] * 3
    metrics = json.loads((checkout.folder / "reports/metrics.json").read_text())
    assert metrics["macro_f1"] == pytest.approx(np.mean([float(row["f1"]) for row in rows[:-1]]), abs=1e-6)
    page = (checkout.folder / "reports/index.html").read_text()
    assert page.count("<td>–</td>") == 3
    assert page.count('<td class="number">–</td></tr>\n    </tbody>') == 1  # the last row of the confusion matrix
    assert "nan" not in re.sub(r'<script type="application/json".*?</script>|data:image/[^"]+', "", page, flags=re.S)
    weakest = min(rows[:-1], key=lambda row: float(row["recall"]))
    card = (checkout.folder / "reports/model-card.md").read_text()
    assert f"| class of lowest recall | {weakest['class']}: {100 * float(weakest['recall']):.1f} % |" in card


def test_a_run_without_mistakes_is_shown(checkout: Checkout) -> None:
    path = checkout.folder / "reports/predictions.csv"
    path.write_text(re.sub(r"(?m)^(\d+),(\d),\d,", r"\1,\2,\2,", path.read_text()))
    checkout.edit("reports/metrics.json", '"errors": ', '"errors": 0, "before": ')
    for stage in ("plot", "report"):
        done = checkout.stage(stage)
        assert (done.returncode, done.stderr) == (0, "")
    page = (checkout.folder / "reports/index.html").read_text()
    assert "No misclassified images" in page
    assert re.findall(r'<li class="(correct|wrong)"', page) == ["correct"]  # the key
    for name in ("confusions", "filter", "mistakes"):
        assert f'id="{name}"' not in page


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (
            ("stages/report.py", "PAD_LIMIT = 8_000_000", "PAD_LIMIT = 30_000"),
            "This network is too large for a drawing pad: its 17,226 parameters would add",
        ),
        (
            ("reports/data.json", '"prepare": true', '"prepare": false'),
            "Drawings are not like the images of this data set.",
        ),
    ],
)
def test_a_page_without_a_pad_states_why(checkout: Checkout, change: tuple, reason: str) -> None:
    checkout.edit(*change)
    assert checkout.stage("report").returncode == 0
    page = (checkout.folder / "reports/index.html").read_text()
    assert reason in page
    assert 'id="pad"' not in page
    assert "`predict.py` does that" in (checkout.folder / "reports/model-card.md").read_text()


def test_class_names_are_escaped(checkout: Checkout) -> None:
    names = json.dumps(["<b>", "a & b", '"q"', "</script>", "{{ x }}", "'", "6", "7", "8", "9"])
    for file in ("data.json", "predictions.csv"):
        path = checkout.folder / "reports" / file
        text = path.read_text()
        for number, name in enumerate(json.loads(names)[:6]):
            if file == "data.json":
                text = text.replace(f'"class": "{number}"', f'"class": {json.dumps(name)}')
            else:
                quoted = '"' + name.replace('"', '""') + '"'
                text = re.sub(rf"(?m)(?<=,){number}(?=,)", lambda _, quoted=quoted: quoted, text)
        path.write_text(text)
    done = checkout.stage("report")
    assert done.returncode == 0, done.stderr
    page = (checkout.folder / "reports/index.html").read_text()
    for escaped in ("&lt;b&gt;", "a &amp; b", "&#34;q&#34;", "&lt;/script&gt;", "{{ x }}"):
        assert f'<th scope="row">{escaped}</th>' in page
    assert "<b></th>" not in page
    card = (checkout.folder / "reports/model-card.md").read_text()
    assert r"classes: \<b\>, a \& b, " in card
    assert r"\{\{ x \}\}" in card
