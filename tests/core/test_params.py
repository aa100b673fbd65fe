"""params.yaml: the accepted values, and errors that name the key, the value and the allowed range."""

import json
import time
from pathlib import Path

import pytest
import yaml
from conftest import BASELINE
from dvc.utils.serialize import parse_yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mnist.core import params
from mnist.core.errors import UserError
from mnist.core.params import Params, read_params, read_sections, read_yaml
from mnist.core.paths import PARAMS, ROOT
from mnist.dataset.catalogue import DownloadParams
from mnist.training.params import AugmentationParams, TrainParams
from stages.plot import PlotParams
from stages.preprocess import PreprocessParams
from tools.gate import GateParams

SECTIONS: dict[str, type[Params]] = {
    section.section: section
    for section in (DownloadParams, PreprocessParams, TrainParams, AugmentationParams, PlotParams, GateParams)
}
SHIPPED = read_yaml(PARAMS)
PROPERTY = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "params.yaml"
    monkeypatch.setattr(params, "PARAMS", path)
    return path


def write(file: Path, key: str, text: str) -> None:
    """Write the parameters of the tests with `text`, which is YAML, as the value of `key` (section.name)."""
    lines = []
    for section, values in BASELINE.items():
        lines.append(f"{section}:\n")
        for name, value in values.items():
            lines.append(f"  {name}: {text if f'{section}.{name}' == key else json.dumps(value)}\n")
    file.write_text("".join(lines), encoding="utf-8")


def refusal(section: type[Params] = TrainParams) -> str:
    """The message with which a section of the file is refused."""
    with pytest.raises(UserError) as caught:
        read_params(section)
    return str(caught.value)


@pytest.mark.parametrize("section", SECTIONS.values())
def test_shipped_parameters_are_accepted(section):
    assert read_params(section).model_dump() == SHIPPED[section.section]


@pytest.mark.parametrize(
    ("key", "text", "value"),
    [
        ("download.dataset", "fashion_mnist", "fashion_mnist"),
        ("preprocess.validation_size", "0", 0.0),
        ("preprocess.validation_size", ".25", 0.25),
        ("preprocess.validation_size", "05000", 5000.0),
        ("preprocess.seed", "4294967295", 2**32 - 1),
        ("plot.examples", "100", 100),
        ("train.epochs", "010", 10),
        ("train.epochs", "0o10", 8),
        ("train.epochs", "0x1F", 31),
        ("train.epochs", "1_000", 1000),
        ("train.hidden_units", "[]", []),
        ("train.hidden_units", "\n  - 1\n  - 16384", [1, 16384]),
        ("train.learning_rate", "1e-05", 0.00001),  # as `dvc exp run -S train.learning_rate=0.00001` writes it
        *[("train.learning_rate", text, float(text)) for text in ("1", "1e-3", "1E+0", "+2e0", "1.e-2", ".5", "5.")],
    ],
)
def test_valid_value_is_read(file, key, text, value):
    section, name = key.split(".")
    write(file, key, text)
    result = getattr(read_params(SECTIONS[section]), name)
    assert result == value
    assert type(result) is type(value)


@pytest.mark.parametrize(
    ("key", "text", "message"),
    [
        ("download.dataset", "MNIST", "'MNIST', but"),
        ("download.dataset", "../mnist", "'../mnist', but"),
        ("download.dataset", "10", "10, but should be a valid string"),
        ("download.dataset", "false", "False, but should be a valid string"),
        ("download.dataset", "", "None, but should be a valid string"),
        ("preprocess.validation_size", "-1", "-1, but should be greater than or equal to 0"),
        ("preprocess.seed", "4294967296", "4294967296, but should be less than 4294967296"),
        ("plot.examples", "0", "0, but should be greater than or equal to 1"),
        ("plot.mistakes", "101", "101, but should be less than or equal to 100"),
        ("train.activation", "rely", "'rely', but should be 'elu', 'gelu'"),
        ("train.optimizer", "rmsprop", "'rmsprop', but should be 'adam', 'nadam' or 'sgd'"),
        ("train.batch_normalization", "yes", "'yes', but should be a valid boolean"),
        ("train.epochs", '"10"', "'10', but should be a valid integer"),
        ("train.epochs", "true", "True, but should be a valid integer"),
        ("train.epochs", "1.5", "1.5, but should be a valid integer"),
        ("train.epochs", "1e1", "10.0, but should be a valid integer"),
        ("train.epochs", "1:30", "'1:30', but should be a valid integer"),
        ("train.learning_rate", ".nan", "nan, but should be a finite number"),
        ("train.learning_rate", ".inf", "inf, but should be a finite number"),
        ("train.learning_rate", '"0.1"', "'0.1', but should be a valid number"),
        ("train.learning_rate", ".5e1", "'.5e1', but should be a valid number"),  # DVC reads a string, too
        ("train.learning_rate", "0", "0, but should be greater than 0"),
        ("train.learning_rate", "11", "11, but should be less than or equal to 10"),
        ("train.hidden_units", "128", "128, but should be a valid list"),
        ("augmentation.rotation", "90.0", "90.0, but should be less than or equal to 45"),
        ("gate.significance", "1", "1, but should be less than 1"),
    ],
)
def test_refusal_names_the_key_the_value_and_the_allowed(file, key, text, message):
    write(file, key, text)
    assert refusal(SECTIONS[key.partition(".")[0]]).startswith(f"{file}: {key} is {message}")


LIMITS = "merge keys (<<), values of more than 1,000 characters, and more than 100 levels are not allowed"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "should contain `key: value` lines"),
        ("- train", "should contain `key: value` lines"),
        ("trian: {}", "unknown section 'trian'; did you mean 'train'?"),
        ("other: {}", f"unknown section 'other'; known are {', '.join(params.SECTIONS)}"),
        ("plot: {}", "section 'train' is missing; restore it with `git checkout"),
        ("train:", "train is None, but should be a valid dictionary"),
        ("train: 3", "train is 3, but should be a valid dictionary"),
        ("train: [", "is not valid YAML: "),
        ("train:\n\tepochs: 1", "is not valid YAML: "),
        ("train: {}\n---\ntrain: {}", "is not valid YAML: expected a single document"),
        ("train: !!python/object/apply:os.system [ls]", "is not valid YAML: could not determine a constructor"),
        ("train: {epochs: \xff}", "is not valid YAML: 'utf-8' codec"),
        ("train: {epochs: \0}", "is not valid YAML: unacceptable character"),
        ("train: {epochs: 2024-02-30}", "is not valid YAML: day is out of range for month"),
        ("train: {epochs: !!bool maybe}", "is not valid YAML: 'maybe'"),
        ("train: {epochs: !!int ''}", "is not valid YAML: "),
        ("train: {epochs: !!timestamp soon}", 'is not valid YAML: failed to construct timestamp from "soon"'),
        ("train: {epochs: 1, epochs: 2}", 'found duplicate key "epochs" with value "2" (original value: "1")'),
        ("train: {}\nplot: {}\ntrain: {}", 'found duplicate key "train"'),
        ("plot: &plot {}\ntrain: {<<: *plot}", f"is not valid YAML: line 2: {LIMITS}"),
        ("plot: &plot {}\ntrain: {!!merge x: *plot}", f"is not valid YAML: line 2: {LIMITS}"),
        ('plot: &plot {}\ntrain: {! "<<": *plot}', f"is not valid YAML: line 2: {LIMITS}"),
        (f"train: {{epochs: {'9' * 1001}}}", f"is not valid YAML: line 1: {LIMITS}"),
        (f"train: {{epochs: 0x{'f' * 5000}}}", f"is not valid YAML: line 1: {LIMITS}"),
        *[(f"train:\n  {start * (90_000 // len(start))}", f"line 2: {LIMITS}") for start in ("[", "{a: ", "- ", "? ")],
        (f"train: {'1 ' * 50_000}", "has more than 100,000 bytes"),
    ],
    ids=lambda text: text[:20],
)
def test_invalid_file_is_refused(file, content, message):
    file.write_bytes(content.encode("latin-1"))
    assert message in refusal()


def test_missing_file_is_reported(file):
    assert "params.yaml is missing; if it is in git, restore it with `git checkout" in refusal()


def test_missing_section_is_reported(file):
    file.write_text("train: {}")
    assert read_sections("train") == {"train": {}}
    with pytest.raises(UserError, match="section 'plot' is missing; restore it with `git checkout"):
        read_sections("train", "plot")


def test_all_problems_are_listed(file):
    file.write_text("plot: {example: 3, mistakes: 0, zzz: 1}")
    assert refusal(PlotParams).splitlines() == [
        f"{file}: plot.examples is missing",
        f"{file}: plot.mistakes is 0, but should be greater than or equal to 1",
        f"{file}: unknown key plot.example: 'example'; did you mean 'examples'?",
        f"{file}: unknown key plot.zzz: 'zzz'; known are examples, mistakes",
    ]


def test_problems_within_a_list_name_its_element(file):
    write(file, "train.hidden_units", "[0, 5, '7']")
    assert refusal().splitlines() == [
        f"{file}: train.hidden_units.0 is 0, but should be greater than or equal to 1",
        f"{file}: train.hidden_units.2 is '7', but should be a valid integer",
    ]


@pytest.mark.parametrize("key", ["epochs", "hidden_units", "learning_rate", "unknown"])
def test_billion_laughs_give_a_short_error_quickly(file, key):
    anchors = [f"&a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 10)]
    file.write_text(f"plot: [&a0 [ha], {', '.join(anchors)}]\ntrain: {{{key}: *a9}}")
    start = time.monotonic()
    assert len(refusal()) < 4000
    assert time.monotonic() - start < 2


def test_nested_merge_keys_take_no_memory(file):
    lines = ["a0: &a0 {k: 1}", *(f"a{n}: &a{n} {{<<: [{', '.join([f'*a{n - 1}'] * 10)}]}}" for n in range(1, 10))]
    file.write_text("\n".join(lines))
    start = time.monotonic()
    assert LIMITS in refusal()
    assert time.monotonic() - start < 2


YAML_FILES = [path for folder in (".", "datasets", "recipes") for path in sorted((ROOT / folder).glob("*.yaml"))]


@pytest.mark.parametrize("path", [*YAML_FILES, ROOT / "dvc.lock"], ids=lambda path: path.name)
def test_yaml_file_is_read_as_dvc_reads_it(path):
    assert read_yaml(path) == parse_yaml(path.read_text(encoding="utf-8"), path)


SCALARS = """
    010 05000 08 00 -010 0o10 0o9 0O10 0x1F 0X1F +0x1F 0xg 0b1 0b12 -0b11 0b-1 1_000 _1 1_ 1__0 0x_f 1_000.5
    1:30 12:30:45 1:30.5 yes no on off y n true True TRUE tRUE false null Null NULL ~ nil 1e5 1e-05 .5 5. .5e1 .5e-1
    +.5 -.5 +1 -1 -0 -0.0 1.e-2 1.e2 1E+2 1e 1e+ +12e03 1e400 .inf -.INF +.Inf .Infinity .nan .NaN NaN
    2024-01-02 2024-1-2 2024-02-30 2001-12-14t21:59:43.10-05:00 24-01-02 = << - -- . .. "10" '1e5' !!int !!str
""".split()  # noqa: SIM905, as they are in a file
NUMBER_LIKE = st.text(alphabet="0123456789abcdefxoE_.:+-", max_size=10)


@PROPERTY
@given(text=st.sampled_from(SCALARS) | NUMBER_LIKE | st.builds("{}{}".format, st.sampled_from(SCALARS), NUMBER_LIKE))
def test_scalar_is_read_as_dvc_reads_it_or_both_refuse(file, text):
    content = f"key: {text}\n"
    file.write_text(content)
    try:
        expected = repr(parse_yaml(content, file))  # of value and type; nan differs from itself
    except Exception:
        with pytest.raises(UserError, match="is not valid YAML"):
            read_yaml(file)
    else:
        assert repr(read_yaml(file)) == expected


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary() | st.dates() | st.datetimes(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text() | st.integers(), inner),
    max_leaves=5,
)


@PROPERTY
@given(value=VALUES | st.integers(0, 101))
def test_any_value_is_allowed_or_refused_by_its_key(file, value):
    content = {"plot": {"examples": value, "mistakes": 15}}
    file.write_text(yaml.safe_dump(content, allow_unicode=True), encoding="utf-8", errors="surrogatepass")
    try:
        examples = read_params(PlotParams).examples
    except UserError as error:
        message = str(error)
        assert message.startswith((f"{file}: plot.examples is ", f"{file} is not valid YAML: "))
        assert len(message) < 1000
    else:
        assert type(examples) is int
        assert examples == value
        assert 1 <= examples <= 100


TAGS = ("null", "bool", "int", "float", "binary", "timestamp", "omap", "pairs", "set", "str", "seq", "map", "merge")
TAGGED = st.builds("!!{} {}".format, st.sampled_from((*TAGS, "value", "python/object/new:os.system")), st.text())
INDICATORS = st.text(alphabet="?:-,[]{}#&*!|>'\"%@`<=\\ \t\n\x000123456789abcxo._e+~", max_size=40)


@PROPERTY
@given(text=st.text() | INDICATORS | TAGGED | st.binary(max_size=40))
def test_any_text_as_value_gives_parameters_or_an_error_that_names_the_file(file, text):
    value = text if isinstance(text, bytes) else text.encode("utf-8", "surrogatepass")
    file.write_bytes(b"plot:\n  examples: " + value + b"\n  mistakes: 15\n")
    try:
        examples = read_params(PlotParams).examples
    except UserError as error:
        assert str(error).startswith(str(file))  # noqa: PT017, both ends are valid
    else:
        assert type(examples) is int
        assert 1 <= examples <= 100
