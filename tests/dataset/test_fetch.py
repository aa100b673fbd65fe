"""Downloading from sources that fail in many ways: only the published bytes are accepted."""

import gzip
import hashlib
import threading
from collections import Counter
from collections.abc import Iterator, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import ClassVar

import fsspec
import pytest

from mnist.core.errors import UserError
from mnist.dataset import fetch as fetch_module
from mnist.dataset.catalogue import FILES, PublishedFile, find_dataset
from mnist.dataset.fetch import fetch, list_sources

CONTENT = gzip.compress(bytes(range(256)) * 3000) + bytes(700_000)  # longer than two chunks
PUBLISHED = PublishedFile(size=len(CONTENT), sha256=hashlib.sha256(CONTENT).hexdigest())
WRONG = CONTENT[:-1] + b"\1"
SIZED = {"Content-Length": str(len(CONTENT))}

ANSWERS: dict[str, tuple[int, bytes, dict[str, str]]] = {  # status, body and headers of the response
    "good": (200, CONTENT, SIZED),
    "unsized": (200, CONTENT, {}),
    "labelled_gzip": (200, CONTENT, {**SIZED, "Content-Encoding": "gzip"}),
    "redirects": (302, b"", {"Location": "/good/file.gz"}),
    "redirects_to_file": (302, b"", {"Location": "file:///etc/passwd"}),
    "missing": (404, b"no such file", {}),
    "forbidden": (403, b"not for you", {}),
    "broken": (500, b"sorry", {}),
    "cut": (200, CONTENT[: len(CONTENT) // 2], SIZED),
    "truncated": (200, CONTENT[:-1], {}),
    "wrong": (200, WRONG, SIZED),
    "longer": (200, CONTENT + b"\1", {}),
    "hangs_midway": (200, CONTENT[:1000], SIZED),
}

BAD = [  # behaviour, reason in the message, number of requests (None: the HTTP library decides)
    ("missing", "not found", 1),
    ("forbidden", "HTTP Error 403", 1),
    ("broken", "HTTP Error 500", 3),
    ("dropped", "closed connection", None),
    ("cut", f"ended after {len(CONTENT) // 2} of {len(CONTENT)} bytes", 3),
    ("truncated", f"ended after {len(CONTENT) - 1} of {len(CONTENT)} bytes", 3),
    ("wrong", f"wrong content: SHA-256 {hashlib.sha256(WRONG).hexdigest()}, expected {PUBLISHED.sha256}", 1),
    ("longer", f"more than the {len(CONTENT)} bytes published", 1),
    ("hangs", "no answer within 0.3 s", 3),
    ("hangs_midway", "no answer within 0.3 s", 3),
    ("redirects_to_file", "file:///etc/passwd", None),
]


class Source(BaseHTTPRequestHandler):
    """A mirror that behaves as the first part of the path says; `twice_...` does so for two requests."""

    requests: ClassVar[Counter[str]] = Counter()
    over: ClassVar[threading.Event] = threading.Event()

    def do_GET(self) -> None:
        folder = self.path.split("/")[1]
        self.requests[folder] += 1
        behaviour = "good" if folder.startswith("twice_") and self.requests[folder] > 2 else folder
        behaviour = behaviour.removeprefix("twice_")
        if behaviour in ANSWERS:
            status, body, header = ANSWERS[behaviour]
            self.send_response(status)
            for name, value in header.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)
        if behaviour.startswith("hangs"):
            self.over.wait(20)

    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    Source.over.clear()  # set by an earlier server, if pytest-xdist returns to this module
    with ThreadingHTTPServer(("127.0.0.1", 0), Source) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,)).start()
        yield f"http://127.0.0.1:{server.server_port}"
        Source.over.set()
        server.shutdown()


@pytest.fixture(autouse=True)
def _fresh(monkeypatch: pytest.MonkeyPatch) -> None:
    Source.requests.clear()
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.delenv("DATASET_MIRROR", raising=False)


def download(sources: list[str], target: Path, retry_after: Sequence[float] = (0.01, 0.01)) -> str:
    timeout = 0.3 if any("hangs" in source for source in sources) else 10
    return fetch("file.gz", PUBLISHED, sources, target, timeout=timeout, retry_after=retry_after)


@pytest.mark.parametrize(("behaviour", "reason", "requests"), BAD)
def test_failing_source_is_listed_with_its_reason(address, tmp_path, behaviour, reason, requests):
    with pytest.raises(UserError) as caught:
        download([f"{address}/{behaviour}/"], tmp_path / "out")
    line = str(caught.value).splitlines()[1]
    assert line.startswith(f"  {address}/{behaviour}/: ")
    assert reason in line
    assert requests in (None, Source.requests[behaviour])
    assert set(Source.requests) == {behaviour}


@pytest.mark.parametrize("behaviour", [case[0] for case in BAD])
def test_next_source_is_used_after_a_failing_one(address, tmp_path, behaviour):
    good = f"{address}/good"
    assert download([f"{address}/{behaviour}", good, f"{address}/unsized"], tmp_path / "out", ()) == good
    assert (tmp_path / "out").read_bytes() == CONTENT
    assert set(Source.requests) == {behaviour, "good"}


def test_next_source_is_used_before_a_failing_one_is_tried_again(address, tmp_path):
    sources = [f"{address}/broken", f"{address}/missing", f"{address}/good"]
    assert download(sources, tmp_path / "out", (60,)) == f"{address}/good"
    assert Source.requests == {"broken": 1, "missing": 1, "good": 1}


def test_only_a_source_that_may_succeed_is_tried_again(address, tmp_path):
    sources = [f"{address}/missing", f"{address}/twice_broken"]
    assert download(sources, tmp_path / "out") == f"{address}/twice_broken"
    assert Source.requests == {"missing": 1, "twice_broken": 3}


@pytest.mark.parametrize("behaviour", ["good", "unsized", "labelled_gzip", "redirects", "twice_broken", "twice_cut"])
def test_file_of_a_good_source_is_unchanged(address, tmp_path, behaviour):
    assert download([f"{address}/{behaviour}"], tmp_path / "out") == f"{address}/{behaviour}"
    assert (tmp_path / "out").read_bytes() == CONTENT


def test_every_source_is_listed_with_its_reason(address, tmp_path):
    with pytest.raises(UserError) as caught:
        download([f"{address}/missing", "foo://x", f"{tmp_path}/nowhere"], tmp_path / "out")
    first, missing, unknown, folder, last = str(caught.value).splitlines()
    assert first == "no source has file.gz as published:"
    assert missing == f"  {address}/missing: not found"
    assert unknown == "  foo://x: Protocol not known: foo"
    assert folder == f"  {tmp_path}/nowhere: not found"
    assert "DATASET_MIRROR" in last


@pytest.mark.parametrize(
    ("sources", "reason"),
    [([], "lists no mirror"), (["http://127.0.0.1:1"], r"127.0.0.1:1: cannot connect: .*refused")],
)
def test_lack_of_a_source_is_reported(tmp_path, sources, reason):
    with pytest.raises(UserError, match=reason):
        download(sources, tmp_path / "out")


@pytest.mark.parametrize("form", ["{}", "{}/", "file://{}", "memory://mirror{}"])
def test_folder_or_address_of_another_protocol_is_a_source(tmp_path, form):
    source = form.format(tmp_path / "mirror")
    with fsspec.open(f"{source.rstrip('/')}/file.gz", "wb", auto_mkdir=True) as file:
        file.write(CONTENT)
    assert download([source], tmp_path / "out") == source
    assert (tmp_path / "out").read_bytes() == CONTENT


def test_symbolic_link_is_followed_and_checked(tmp_path):
    for name, content in (("right", CONTENT), ("wrong", WRONG)):
        (tmp_path / name).mkdir()
        (tmp_path / f"{name}.bin").write_bytes(content)
        (tmp_path / name / "file.gz").symlink_to(tmp_path / f"{name}.bin")
    with pytest.raises(UserError, match="wrong content"):
        download([f"{tmp_path}/wrong"], tmp_path / "out")
    download([f"{tmp_path}/right"], tmp_path / "out")
    assert (tmp_path / "out").read_bytes() == CONTENT


def test_folder_instead_of_the_file_is_refused(tmp_path):
    (tmp_path / "file.gz").mkdir()
    with pytest.raises(UserError, match="Is a directory"):
        download([str(tmp_path)], tmp_path / "out")


def test_unwritable_target_is_not_an_error_of_the_source(address, tmp_path):
    with pytest.raises(FileNotFoundError) as caught:
        download([f"{address}/good"], tmp_path / "nowhere/out")
    assert caught.value.filename == f"{tmp_path}/nowhere/out"


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_full_disk_is_not_an_error_of_the_source(address):
    with pytest.raises(OSError, match="No space left"):
        download([f"{address}/good"], Path("/dev/full"))
    assert Source.requests["good"] == 1


@pytest.mark.parametrize(("own", "expected"), [("", ["/a", "http://b"]), ("/own", ["/own"])])
def test_own_mirror_replaces_those_of_the_data_set(monkeypatch, own, expected):
    dataset = find_dataset("mnist").model_copy(update={"mirrors": ["/a", "http://b"]})
    assert list_sources(dataset) == ["/a", "http://b"]
    monkeypatch.setenv("DATASET_MIRROR", own)
    assert list_sources(dataset) == expected


def test_own_mirror_of_a_different_data_set_is_named_and_not_used(monkeypatch, capsys, digits_mirror):
    monkeypatch.setenv("DATASET_MIRROR", str(digits_mirror))
    mnist = find_dataset("mnist")
    assert list_sources(mnist) == mnist.mirrors
    printed = f"DATASET_MIRROR={digits_mirror} has the files of scikit-learn digits; using the mirrors of MNIST"
    assert printed in capsys.readouterr().out
    assert list_sources(find_dataset("digits")) == [str(digits_mirror)]


@pytest.mark.parametrize(
    ("behaviour", "own", "remedies"),
    [
        ("missing", False, ["Check the network"]),
        ("hangs", False, ["Check the network"]),
        ("wrong", False, ["If a file is the right one, correct its size and sha256"]),
        ("longer", False, ["If a file is the right one, correct its size and sha256"]),
        ("truncated", False, ["If a file is the right one", "Check the network"]),
        ("missing", True, ["Correct DATASET_MIRROR, or unset it"]),
        ("wrong", True, ["If a file is the right one", "Correct DATASET_MIRROR, or unset it"]),
    ],
)
def test_the_remedy_is_that_of_the_failure(monkeypatch, address, tmp_path, behaviour, own, remedies):
    source = f"{address}/{behaviour}"
    if own:
        monkeypatch.setenv("DATASET_MIRROR", source)
    with pytest.raises(UserError) as caught:
        download([source], tmp_path / "out")
    sentences = str(caught.value).splitlines()[-1].split(". ")
    assert len(sentences) == len(remedies)
    assert all(sentence.startswith(remedy) for sentence, remedy in zip(sentences, remedies, strict=True))


def test_the_remedy_for_a_folder_is_not_the_network(tmp_path):
    with pytest.raises(UserError) as caught:
        download([str(tmp_path / "custom")], tmp_path / "out")
    assert str(caught.value).splitlines()[-1].startswith("Get the files by `dvc pull` if DVC has a remote, or `make ")
    (tmp_path / "custom").mkdir()
    (tmp_path / "custom/file.gz").write_bytes(b"x" * len(CONTENT))
    with pytest.raises(UserError) as caught:
        download([str(tmp_path / "custom")], tmp_path / "out")
    remedy = "If a file is the right one, correct its size and sha256 in the data set's file in datasets/."
    assert str(caught.value).splitlines()[-1] == remedy


def test_relative_mirror_is_a_folder_in_the_project_or_in_the_one_that_runs_an_experiment(monkeypatch, tmp_path):
    dataset = find_dataset("mnist").model_copy(update={"mirrors": ["data/custom/x/"]})
    experiment = tmp_path / ".dvc/tmp/exps/standalone/tmp1"
    monkeypatch.setattr(fetch_module, "ROOT", experiment)
    assert list_sources(dataset) == [str(experiment / "data/custom/x")]
    (tmp_path / "data/custom/x").mkdir(parents=True)
    assert list_sources(dataset) == [str(tmp_path / "data/custom/x")]
    (experiment / "data/custom/x").mkdir(parents=True)
    assert list_sources(dataset) == [str(experiment / "data/custom/x")]
    monkeypatch.setattr(fetch_module, "ROOT", tmp_path / "sub/project")
    assert list_sources(dataset) == [str(tmp_path / "sub/project/data/custom/x")]


@pytest.mark.parametrize("name", FILES)
def test_digits_of_scikit_learn_match_the_catalogue(tmp_path, name):
    digits = find_dataset("digits")
    assert fetch(name, digits.files[name], digits.mirrors, tmp_path / name) == "scikit-learn://digits/"
    assert digits.files[name].matches(tmp_path / name)
