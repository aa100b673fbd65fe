"""DVC's plots, as `dvc plots diff` specifies them for Vega: each once, with titles, and correct numbers."""

import json
import re
from collections.abc import Iterator
from typing import Any

import pandas as pd
import pytest
from conftest import Checkout, copy_of

AXES = {  # the titles of each plot's x and y axis
    "loss": ("epoch", "loss"),
    "reports/data.json": ("training images", "class"),
    "reports/history.csv": ("epoch", "accuracy"),
    "reports/per_class.csv": ("errors", "true class"),
    "reports/predictions.csv": ("predicted class", "true class"),
}


@pytest.fixture(scope="module")
def specs(reproduced: Checkout, tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    """The Vega-Lite specification of each plot that is not an image, by the plot's id."""
    done = copy_of(reproduced, tmp_path_factory.mktemp("plots")).run("-m", "dvc", "plots", "diff", "HEAD", "--json")
    assert done.returncode == 0, done.stderr
    plots = json.loads(done.stdout)["data"]
    return {name: plot["content"] for name, (plot, *_) in plots.items() if plot["type"] == "vega"}


def encodings(spec: Any, channel: str) -> Iterator[dict[str, Any]]:
    """Every encoding of a channel in a specification, such as x, in all its layers."""
    parts = spec if isinstance(spec, list) else spec.values() if isinstance(spec, dict) else []
    if isinstance(spec, dict) and channel in spec.get("encoding", {}):
        yield spec["encoding"][channel]
    for part in parts:
        yield from encodings(part, channel)


def transformed(spec: dict[str, Any]) -> pd.DataFrame:
    """The data of a specification after its transforms, which Vega computes in the browser."""
    table = pd.DataFrame(spec["data"]["values"])
    for step in spec["transform"]:
        match step:
            case {"aggregate": [{"op": "count", "as": name}], "groupby": keys}:
                table = table.groupby(keys).size().reset_index(name=name)
            case {"joinaggregate": [{"op": "sum", "field": field, "as": name}], "groupby": keys}:
                table[name] = table.groupby(keys)[field].transform("sum")
            case {"calculate": formula, "as": name}:
                table[name] = table.eval(re.sub(r"datum(?:\.(\w+)|\['(\w+)'\])", r"\1\2", formula).replace("===", "=="))
            case _:
                raise AssertionError(step)
    return table


def test_each_plot_is_drawn_once_and_compares_two_runs(specs: dict[str, dict[str, Any]]) -> None:
    assert set(specs) == set(AXES)
    titles = [spec["title"]["text"] for spec in specs.values()]
    assert all(titles)
    assert len(set(titles)) == len(titles)
    for spec in specs.values():
        assert {row["rev"] for row in spec["data"]["values"]} == {"workspace", "HEAD"}


@pytest.mark.parametrize("name", AXES)
def test_the_axes_have_titles(specs: dict[str, dict[str, Any]], name: str) -> None:
    for channel, title in zip("xy", AXES[name], strict=True):
        assert {encoding["title"] for encoding in encodings(specs[name], channel)} == {title}


def test_the_confusion_matrix_has_shares_of_the_true_class(specs: dict[str, dict[str, Any]]) -> None:
    spec = specs["reports/predictions.csv"]
    assert {channel: next(encodings(spec, channel))["field"] for channel in "xy"} == {"x": "predicted", "y": "actual"}
    cells = transformed(spec)
    assert cells.groupby(["rev", "actual"])["share"].sum().to_numpy() == pytest.approx(1)
    rows = pd.DataFrame(spec["data"]["values"]).query("rev == 'HEAD'")
    for cell in cells.query("rev == 'HEAD'").itertuples():
        of_class = rows[rows.actual == cell.actual]
        assert cell.images == (of_class.predicted == cell.predicted).sum()
        assert cell.share == pytest.approx(cell.images / len(of_class))
        assert cell.correct == (cell.actual == cell.predicted)


def test_mistakes_have_the_colour_scale_of_the_confusion_matrix_to_themselves(specs: dict[str, dict[str, Any]]) -> None:
    spec = specs["reports/predictions.csv"]
    coloured = [layer for layer in spec["spec"]["layer"] if "color" in layer["encoding"]]
    assert [layer["transform"] for layer in coloured] == [[{"filter": "!datum.correct"}]]
    scale = coloured[0]["encoding"]["color"]["scale"]
    assert (scale["domainMin"], "domain" in scale, "domainMax" in scale) == (0, False, False)  # up to the largest share


def test_errors_per_class_sum_to_those_of_the_metrics(specs: dict[str, dict[str, Any]], reproduced: Checkout) -> None:
    metrics = json.loads((reproduced.folder / "reports/metrics.json").read_text())
    rows = [row for row in specs["reports/per_class.csv"]["data"]["values"] if row["rev"] == "HEAD"]
    assert sum(int(row["errors"]) for row in rows) == metrics["errors"]
