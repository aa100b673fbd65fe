"""The catalogue of data sets, and bringing one: all of its files or none."""

import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import yaml

from mnist.core.errors import UserError
from mnist.core.paths import DATASETS
from mnist.dataset import catalogue
from mnist.dataset.catalogue import FILES, Dataset, find_dataset
from mnist.dataset.digits import digits_files
from stages.download import download_files

SHIPPED = yaml.safe_load(DATASETS.read_text(encoding="utf-8"))


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A catalogue of one's own."""
    path = tmp_path / "own.yaml"
    monkeypatch.setattr(catalogue, "DATASETS", path)
    return path


@pytest.fixture
def entry() -> dict[str, Any]:
    """A good entry, to be spoilt."""
    return yaml.safe_load(DATASETS.read_text(encoding="utf-8"))["digits"]


@pytest.fixture
def mirror(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the digits, named by DATASET_MIRROR."""
    folder = tmp_path / "mirror"
    folder.mkdir()
    for name, content in digits_files().items():
        (folder / name).write_bytes(content)
    monkeypatch.setenv("DATASET_MIRROR", str(folder))
    return folder


@pytest.fixture
def digits() -> Dataset:
    """The digits' entry without a mirror of its own."""
    return find_dataset("digits").model_copy(update={"mirrors": []})


def names_in(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


@pytest.mark.parametrize("name", SHIPPED)
def test_shipped_entry_is_valid(name):
    dataset = find_dataset(name)
    assert set(dataset.files) == set(FILES)
    assert len(dataset.classes) == 10
    assert dataset.mirrors


def test_unknown_name_lists_the_known():
    with pytest.raises(UserError, match=r"download\.dataset is 'emnist'.*mnist, fashion_mnist, digits"):
        find_dataset("emnist")


@pytest.mark.parametrize(
    ("keys", "value", "named"),
    [
        (["files", FILES[3]], None, "own.files: should be exactly"),
        (["files", f"../{FILES[3]}"], {"size": 1, "sha256": "0" * 64}, "own.files: should be exactly"),
        (["files", "/etc/passwd"], {"size": 1, "sha256": "0" * 64}, "own.files: should be exactly"),
        (["files", FILES[0], "sha256"], "0" * 63, f"own.files.{FILES[0]}.sha256"),
        (["files", FILES[0], "sha256"], "G" * 64, f"own.files.{FILES[0]}.sha256"),
        (["files", FILES[0], "sha256"], None, f"own.files.{FILES[0]}.sha256"),
        (["files", FILES[0], "size"], 0, f"own.files.{FILES[0]}.size"),
        (["title"], None, "own.title"),
        (["mirrors"], "http://x", "own.mirrors"),
        (["classes"], ["only one"], "own.classes"),
        (["classes"], [0, 1], "own.classes.0"),
        (["licence"], "MIT", "own.licence"),
    ],
)
def test_spoilt_entry_is_refused_naming_the_key(own, entry, keys, value, named):
    inner = entry
    for key in keys[:-1]:
        inner = inner[key]
    inner[keys[-1]] = value
    if value is None:
        del inner[keys[-1]]
    own.write_text(yaml.safe_dump({"own": entry}), encoding="utf-8")
    with pytest.raises(UserError) as caught:
        find_dataset("own")
    assert f"own.yaml: {named}" in str(caught.value)


def test_class_names_that_repeat_are_refused(own, entry):
    own.write_text(yaml.safe_dump({"own": entry | {"classes": ["zero", "one", "one"]}}), encoding="utf-8")
    with pytest.raises(UserError, match=r"own\.classes"):
        find_dataset("own")


@pytest.mark.parametrize(
    "content", [b"", b"- own\n", b"own: {", b"own:\n", b"3", b"\xff\xfe own: {}", b"own: !!bool x"]
)
def test_file_that_is_no_catalogue_is_refused(own, content):
    own.write_bytes(content)
    with pytest.raises(UserError, match=r"own\.yaml"):
        find_dataset("own")


def test_missing_catalogue_is_said(own):
    with pytest.raises(UserError, match=r"own\.yaml is missing"):
        find_dataset("mnist")


def test_published_matches_only_its_bytes(tmp_path):
    content = digits_files()[FILES[1]]
    published = find_dataset("digits").files[FILES[1]]
    path = tmp_path / "file"
    assert not published.matches(path)
    assert not published.matches(tmp_path)
    for written, expected in ((content, True), (content[:-1], False), (content[:-1] + b"\1", False), (b"", False)):
        path.write_bytes(written)
        assert published.matches(path) is expected


def test_bring_takes_all_files_from_a_folder(digits, mirror, tmp_path):
    folder = tmp_path / "new/raw"
    assert download_files(digits, folder) == [str(mirror)]
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == digits_files()


def test_bring_takes_all_files_from_a_web_address(digits, mirror, tmp_path, monkeypatch):
    handler = partial(SimpleHTTPRequestHandler, directory=mirror)
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,)).start()
        address = f"http://127.0.0.1:{server.server_port}/"
        monkeypatch.setenv("DATASET_MIRROR", address)
        monkeypatch.setenv("no_proxy", "127.0.0.1")
        assert download_files(digits, tmp_path / "raw") == [address]
        server.shutdown()
    assert {path.name: path.read_bytes() for path in (tmp_path / "raw").iterdir()} == digits_files()


def test_bring_leaves_the_folder_as_it_was_when_one_file_fails(digits, mirror, tmp_path):
    folder = tmp_path / "raw"
    folder.mkdir()
    (folder / FILES[0]).write_bytes(b"of another data set")
    (mirror / FILES[1]).write_bytes(bytes(digits.files[FILES[1]].size))
    with pytest.raises(UserError, match=FILES[1]):
        download_files(digits, folder)
    assert (folder / FILES[0]).read_bytes() == b"of another data set"
    assert names_in(folder) == {FILES[0]}


def test_bring_does_not_fetch_again_what_is_right(digits, mirror, tmp_path):
    folder = tmp_path / "raw"
    download_files(digits, folder)
    before = {name: (folder / name).stat().st_mtime_ns for name in FILES}
    (folder / FILES[2]).write_bytes(b"damaged")
    for name in (FILES[0], FILES[1], FILES[3]):
        (mirror / name).unlink()
    assert download_files(digits, folder) == [str(mirror)]
    assert digits.files[FILES[2]].matches(folder / FILES[2])
    (mirror / FILES[2]).unlink()
    assert download_files(digits, folder) == []
    assert all((folder / name).stat().st_mtime_ns == before[name] for name in FILES if name != FILES[2])


def test_bring_reports_each_source_once(digits, mirror, tmp_path):
    (mirror / FILES[0]).unlink()
    both = digits.model_copy(update={"mirrors": ["scikit-learn://digits/"]})
    assert download_files(both, tmp_path / "raw") == ["scikit-learn://digits/", str(mirror)]
