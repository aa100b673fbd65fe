"""The download stage: all files of a data set or none, and only those that are missing or differ."""

import shutil
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from mnist.core.errors import UserError
from mnist.dataset.catalogue import FILES, Dataset, find_dataset
from mnist.dataset.digits import digits_files
from stages.download import download_files


@pytest.fixture
def mirror(digits_mirror: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the digits' files, which DATASET_MIRROR names."""
    folder = Path(shutil.copytree(digits_mirror, tmp_path / "mirror"))
    monkeypatch.setenv("DATASET_MIRROR", str(folder))
    return folder


@pytest.fixture
def digits() -> Dataset:
    """The digits without a mirror of their own."""
    return find_dataset("digits").model_copy(update={"mirrors": []})


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_all_files_are_downloaded_from_a_folder(digits, mirror, tmp_path):
    folder = tmp_path / "new/raw"
    assert download_files(digits, folder) == [str(mirror)]
    assert contents(folder) == digits_files()


def test_all_files_are_downloaded_from_a_web_address(digits, mirror, tmp_path, monkeypatch):
    handler = partial(SimpleHTTPRequestHandler, directory=mirror)
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,)).start()
        address = f"http://127.0.0.1:{server.server_port}/"
        monkeypatch.setenv("DATASET_MIRROR", address)
        monkeypatch.setenv("no_proxy", "127.0.0.1")
        assert download_files(digits, tmp_path / "raw") == [address]
        server.shutdown()
    assert contents(tmp_path / "raw") == digits_files()


def test_folder_is_unchanged_when_one_file_fails(digits, mirror, tmp_path):
    folder = tmp_path / "raw"
    folder.mkdir()
    (folder / FILES[0]).write_bytes(b"of a different data set")
    (mirror / FILES[1]).write_bytes(bytes(digits.files[FILES[1]].size))
    with pytest.raises(UserError, match=FILES[1]):
        download_files(digits, folder)
    assert contents(folder) == {FILES[0]: b"of a different data set"}


def test_files_that_match_are_not_downloaded_again(digits, mirror, tmp_path):
    folder = tmp_path / "raw"
    download_files(digits, folder)
    before = {name: (folder / name).stat().st_mtime_ns for name in FILES}
    (folder / FILES[2]).write_bytes(b"corrupt")
    for name in (FILES[0], FILES[1], FILES[3]):
        (mirror / name).unlink()
    assert download_files(digits, folder) == [str(mirror)]
    assert digits.files[FILES[2]].matches(folder / FILES[2])
    (mirror / FILES[2]).unlink()
    assert download_files(digits, folder) == []
    assert all((folder / name).stat().st_mtime_ns == before[name] for name in FILES if name != FILES[2])


def test_own_mirror_that_lacks_a_file_is_an_error_that_names_both(digits, mirror, tmp_path):
    (mirror / FILES[0]).rename(mirror / FILES[0].removesuffix(".gz"))
    both = digits.model_copy(update={"mirrors": ["scikit-learn://digits/"]})
    with pytest.raises(UserError) as caught:
        download_files(both, tmp_path / "raw")
    assert str(caught.value).startswith(
        f"no source has {FILES[0]} as published:\n  {mirror}: not found\nCorrect DATASET"
    )


def test_each_source_is_reported_once(digits, mirror, tmp_path, monkeypatch):
    monkeypatch.delenv("DATASET_MIRROR")
    both = digits.model_copy(update={"mirrors": [str(mirror), "scikit-learn://digits/"]})
    (mirror / FILES[0]).unlink()
    assert download_files(both, tmp_path / "raw") == ["scikit-learn://digits/", str(mirror)]
