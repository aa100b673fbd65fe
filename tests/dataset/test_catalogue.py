"""The catalogue: the data sets in datasets/ are valid, and an invalid file is refused by the key that is wrong."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from mnist.core.errors import UserError
from mnist.core.params import read_yaml
from mnist.core.paths import DATASETS
from mnist.dataset import catalogue
from mnist.dataset.catalogue import FILES, find_dataset
from mnist.dataset.digits import digits_files

SHIPPED = ["digits", "fashion_mnist", "mnist"]


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The path of a data set's file in an otherwise empty catalogue."""
    monkeypatch.setattr(catalogue, "DATASETS", tmp_path)
    return tmp_path / "own.yaml"


@pytest.fixture
def content() -> dict[str, Any]:
    """The content of a valid file."""
    return read_yaml(DATASETS / "digits.yaml")


@pytest.mark.parametrize("name", SHIPPED)
def test_shipped_data_set_is_valid(name):
    dataset = find_dataset(name)
    assert set(dataset.files) == set(FILES)
    assert len(dataset.classes) == 10
    assert dataset.mirrors


def test_unknown_name_lists_the_known():
    known = sorted(path.stem for path in DATASETS.iterdir())
    assert set(SHIPPED) <= set(known)
    with pytest.raises(UserError) as caught:
        find_dataset("nothing")
    assert str(caught.value) == f"params.yaml: download.dataset is 'nothing', but datasets/ has only {', '.join(known)}"


@pytest.mark.parametrize(
    ("keys", "value", "message"),
    [
        (["files", FILES[3]], None, "files: should be exactly"),
        (["files", f"../{FILES[3]}"], {"size": 1, "sha256": "0" * 64}, "files: should be exactly"),
        (["files", "/etc/passwd"], {"size": 1, "sha256": "0" * 64}, "files: should be exactly"),
        (
            ["files", FILES[0], "sha256"],
            "0" * 63,
            f"files.{FILES[0]}.sha256: should be 64 hexadecimal digits in lower case, ",
        ),
        (["files", FILES[0], "sha256"], "G" * 64, f"files.{FILES[0]}.sha256"),
        (["files", FILES[0], "sha256"], None, f"files.{FILES[0]}.sha256"),
        (["files", FILES[0], "size"], 0, f"files.{FILES[0]}.size"),
        (["title"], None, "title"),
        (["mirrors"], "http://x", "mirrors"),
        (["classes"], ["only one"], "classes"),
        (["classes"], ["zero", "one", "one"], "classes: should be unique names"),
        (["classes"], ["a", " "], "classes.1: should not be empty"),
        (["classes"], ["a", "b\nc"], "classes.1: 'b\\nc' has the control character '\\n'"),
        (["classes"], ["a", "\u202eb"], "classes.1: '\\u202eb' has the control character"),
        (["classes"], ["a", "b" * 101], "classes.1: String should have at most 100 characters"),
        (
            ["classes"],
            ["a", "お, 中"],
            "classes.1: 'お, 中' has お 中, which DejaVu Sans, the font of the figures, does not",
        ),
        (["title"], "お", "title: 'お' has お, which DejaVu Sans"),
        (["licence"], "MIT", "licence"),
    ],
)
def test_invalid_data_set_is_refused_by_the_key(own, content, keys, value, message):
    inner = content
    for key in keys[:-1]:
        inner = inner[key]
    inner[keys[-1]] = value
    if value is None:
        del inner[keys[-1]]
    own.write_text(yaml.safe_dump(content), encoding="utf-8")
    with pytest.raises(UserError) as caught:
        find_dataset("own")
    assert f"own.yaml: {message}" in str(caught.value)


def test_class_names_are_kept_as_they_are_written(own, content):
    names = [
        "0",
        "010",
        "1.50",
        "0x1F",
        "1:30",
        "no",
        "true",
        "null",
        "~",
        "2024-01-02",
        "a: b",
        "$x_1$",
        "é",
        "ж",
        "ש",
    ]
    lines = [f"- '{name}'" if name == "a: b" else f"- {name}" for name in names]
    entry = yaml.safe_dump({key: value for key, value in content.items() if key != "classes"})
    own.write_text(f"{entry}classes:\n" + "\n".join(lines), encoding="utf-8")
    assert find_dataset("own").classes == names


@pytest.mark.parametrize("content", [b"", b"- own\n", b"own: {", b"3", b"\xff\xfe own: {}", b"own: !!bool x"])
def test_file_that_is_not_a_mapping_is_refused(own, content):
    own.write_bytes(content)
    with pytest.raises(UserError, match=r"own\.yaml"):
        find_dataset("own")


def test_published_file_matches_only_its_bytes(tmp_path):
    content = digits_files()[FILES[1]]
    published = find_dataset("digits").files[FILES[1]]
    path = tmp_path / "file"
    assert not published.matches(path)
    assert not published.matches(tmp_path)
    for written, expected in ((content, True), (content[:-1], False), (content[:-1] + b"\1", False), (b"", False)):
        path.write_bytes(written)
        assert published.matches(path) is expected
