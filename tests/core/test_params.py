"""params.yaml: what is accepted, and errors that name the key, the value and what is allowed."""

import time
from pathlib import Path
from typing import Annotated, ClassVar

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import Field

from mnist.core import params
from mnist.core.errors import UserError
from mnist.core.params import Params, read_params
from mnist.core.paths import PARAMS
from mnist.dataset.catalogue import DownloadParams
from stages.plot import PlotParams
from stages.preprocess import PreprocessParams


class TrainParams(Params):
    """As that of stages.train, which takes seconds to import."""

    section: ClassVar[str] = "train"
    hidden_units: list[Annotated[int, Field(ge=1, le=16384)]]
    learning_rate: Annotated[float, Field(gt=0, le=1000)]
    epochs: Annotated[int, Field(ge=1, le=10000)]


SECTIONS: dict[str, type[Params]] = {
    section.section: section for section in (DownloadParams, PreprocessParams, TrainParams, PlotParams)
}
GOOD = {
    "plot": {"examples": "5", "mistakes": "15"},
    "download": {"dataset": "mnist"},
    "preprocess": {"validation_size": "5000", "seed": "1"},
    "train": {"hidden_units": "[128, 64]", "learning_rate": "0.001", "epochs": "10"},
}


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "params.yaml"
    monkeypatch.setattr(params, "PARAMS", path)
    return path


def write(file: Path, **changes: dict[str, str]) -> None:
    """Write good parameters with these sections' keys changed; the values are YAML."""
    sections = {name: {**GOOD[name], **changes.get(name, {})} for name in GOOD}
    lines = [f"{name}:\n" + "".join(f"  {key}: {value}\n" for key, value in sections[name].items()) for name in GOOD]
    file.write_text("".join(lines), encoding="utf-8")


def refusal(section: type[Params] = TrainParams) -> str:
    with pytest.raises(UserError) as caught:
        read_params(section)
    return str(caught.value)


@pytest.mark.parametrize("section", [DownloadParams, PreprocessParams, PlotParams])
def test_shipped_file_is_accepted(section):
    shipped = yaml.safe_load(PARAMS.read_text(encoding="utf-8"))
    assert read_params(section).model_dump() == shipped[section.section]


@pytest.mark.parametrize(
    ("key", "text", "value"),
    [
        ("download.dataset", "fashion_mnist", "fashion_mnist"),
        ("preprocess.validation_size", "0", 0),
        ("preprocess.seed", "4294967295", 2**32 - 1),
        ("plot.examples", "100", 100),
        ("train.hidden_units", "[]", []),
        ("train.hidden_units", "\n  - 1\n  - 16384", [1, 16384]),
        *[("train.learning_rate", text, float(text)) for text in ("1", "1e-05", "1e-3", "1E+2", "+2e2", "1.e-2")],
        *[("train.learning_rate", text, float(text)) for text in (".5", "5.", ".5e-1", ".5e1")],
    ],
)
def test_good_value_is_read(file, key, text, value):
    section, name = key.split(".")
    write(file, **{section: {name: text}})
    read = getattr(read_params(SECTIONS[section]), name)
    assert read == value
    assert type(read) is type(value)


@pytest.mark.parametrize(
    ("key", "text", "said"),
    [
        ("download.dataset", "MNIST", "'MNIST', but"),
        ("download.dataset", "../mnist", "'../mnist', but"),
        ("download.dataset", "10", "10, but should be a valid string"),
        ("download.dataset", "no", "False, but should be a valid string"),
        ("download.dataset", "", "None, but should be a valid string"),
        ("preprocess.validation_size", "-1", "-1, but should be greater than or equal to 0"),
        ("preprocess.seed", "4294967296", "4294967296, but should be less than 4294967296"),
        ("plot.examples", "0", "0, but should be greater than or equal to 1"),
        ("plot.mistakes", "101", "101, but should be less than or equal to 100"),
        ("train.epochs", '"10"', "'10', but should be a valid integer"),
        ("train.epochs", "true", "True, but should be a valid integer"),
        ("train.epochs", "1.5", "1.5, but should be a valid integer"),
        ("train.epochs", "1e1", "10.0, but should be a valid integer"),
        ("train.learning_rate", ".nan", "nan, but should be a finite number"),
        ("train.learning_rate", ".inf", "inf, but should be a finite number"),
        ("train.learning_rate", '"0.1"', "'0.1', but should be a valid number"),
        ("train.learning_rate", "0", "0, but should be greater than 0"),
        ("train.learning_rate", "1001", "1001, but should be less than or equal to 1000"),
        ("train.hidden_units", "128", "128, but should be a valid list"),
    ],
)
def test_bad_value_is_refused_naming_key_value_and_what_is_allowed(file, key, text, said):
    section, name = key.split(".")
    write(file, **{section: {name: text}})
    assert refusal(SECTIONS[section]).startswith(f"{file}: {key} is {said}")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("", "holds no `key: value`"),
        ("- train", "holds no `key: value`"),
        ("trian: {}", "unknown section 'trian'; did you mean 'train'?"),
        (
            "other: {}",
            "unknown section 'other'; known are download, preprocess, train, augmentation, plot, gate, compute",
        ),
        ("plot: {}", "section 'train' is missing; it holds hidden_units, learning_rate, epochs"),
        ("train:", "train is None, but should be a valid dictionary"),
        ("train: 3", "train is 3, but should be a valid dictionary"),
        ("train: [", "is no valid YAML: "),
        ("train:\n\tepochs: 1", "is no valid YAML: "),
        (
            "train: !!python/object/apply:os.system [touch /tmp/x]",
            "is no valid YAML: could not determine a constructor",
        ),
        ("train: {epochs: \xff}", "is no valid YAML: 'utf-8' codec"),
        ("train: {epochs: 2024-02-30}", "params.yaml"),
        (f"train: {{epochs: {'9' * 5000}}}", "params.yaml"),
        (f"train: {{epochs: 0x{'f' * 5000}}}", "is no valid YAML: Exceeds the limit (4300 digits)"),
        (f"train: {{epochs: 1{':1' * 400}.0}}", "is no valid YAML: int too large"),
        ("train: {epochs: !!bool maybe}", "is no valid YAML: 'maybe'"),
        ("train: {epochs: !!int ''}", "is no valid YAML: "),
        ("train: {epochs: !!timestamp soon}", "is no valid YAML: "),
        ("train: {epochs: 1, epochs: 2}", "is no valid YAML: 'epochs' is there twice"),
        ("plot: &plot {}\ntrain: {<<: *plot}", "is no valid YAML: merge keys (<<) are not allowed"),
        ("train: {epochs: \0}", "is no valid YAML: unacceptable character"),
        (f"train: {'[' * 50_000}", "is no valid YAML: maximum recursion depth exceeded"),
        (f"train: {'1 ' * 50_000}", "has more than 100,000 bytes"),
    ],
    ids=lambda text: text[:20],
)
def test_file_of_another_form_is_refused(file, content, said):
    file.write_bytes(content.encode("latin-1"))
    assert said in refusal()


def test_missing_file_is_said(file):
    assert "params.yaml is missing; if git has it, restore it with `git checkout" in refusal()


def test_all_problems_are_listed(file):
    file.write_text("train: {epoch: 3, hidden_units: [0, 5, '7'], zzz: 1, learning_rate: 0}")
    assert refusal().splitlines() == [
        f"{file}: train.hidden_units.0 is 0, but should be greater than or equal to 1",
        f"{file}: train.hidden_units.2 is '7', but should be a valid integer",
        f"{file}: train.learning_rate is 0, but should be greater than 0",
        f"{file}: train.epochs is missing",
        f"{file}: unknown key train.epoch: 'epoch'; did you mean 'epochs'?",
        f"{file}: unknown key train.zzz: 'zzz'; known are hidden_units, learning_rate, epochs",
    ]


@pytest.mark.parametrize("key", ["epochs", "hidden_units", "learning_rate", "unknown"])
def test_billion_laughs_give_a_short_error_quickly(file, key):
    anchors = [f"&a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 10)]
    write(file, plot={"laughs": ", ".join(["[&a0 [ha]", *anchors]) + "]"}, train={key: "*a9"})
    start = time.monotonic()
    assert len(refusal()) < 2000
    assert time.monotonic() - start < 2


def test_nested_merge_keys_take_no_memory(file):
    lines = ["a0: &a0 {k: 1}", *(f"a{n}: &a{n} {{<<: [{', '.join([f'*a{n - 1}'] * 10)}]}}" for n in range(1, 10))]
    file.write_text("\n".join(lines))
    start = time.monotonic()
    assert "merge keys (<<) are not allowed" in refusal()
    assert time.monotonic() - start < 2


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary() | st.dates() | st.datetimes(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text() | st.integers(), inner),
    max_leaves=5,
)
PROPERTY = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@PROPERTY
@given(value=VALUES | st.integers(0, 101))
def test_any_value_is_one_of_those_allowed_or_refused_by_its_key(file, value):
    content = {"plot": {"examples": value, "mistakes": 15}}
    file.write_text(yaml.safe_dump(content, allow_unicode=True), encoding="utf-8", errors="surrogatepass")
    try:
        examples = read_params(PlotParams).examples
    except UserError as error:
        said = str(error)
        assert said.startswith((f"{file}: plot.examples is ", f"{file} is no valid YAML: "))
        assert len(said) < 1000
    else:
        assert type(examples) is int
        assert examples == value
        assert 1 <= examples <= 100


TAGS = ("null", "bool", "int", "float", "binary", "timestamp", "omap", "pairs", "set", "str", "seq", "map", "merge")
TAGGED = st.builds("!!{} {}".format, st.sampled_from((*TAGS, "value", "python/object/new:os.system")), st.text())
INDICATORS = st.text(alphabet="?:-,[]{}#&*!|>'\"%@`<=\\ \t\n\x000123456789abcxo._e+~", max_size=40)
LINE = "  examples: 5\n"


@PROPERTY
@given(text=st.text() | INDICATORS | TAGGED | st.binary(max_size=40))
def test_any_text_in_place_of_a_value_gives_parameters_or_an_error_that_names_the_file(file, text):
    write(file)
    good = file.read_bytes()
    assert LINE.encode() in good
    value = text if isinstance(text, bytes) else text.encode("utf-8", "surrogatepass")
    file.write_bytes(good.replace(LINE.encode(), b"  examples: " + value + b"\n"))
    try:
        examples = read_params(PlotParams).examples
    except UserError as error:
        assert str(error).startswith(str(file))  # noqa: PT017, both ends are fine
    else:
        assert type(examples) is int
        assert 1 <= examples <= 100
