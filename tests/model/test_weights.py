"""The reader of the model file: a network, or an error that names the file; no code in it is run."""

import io
import json
import os
import pickle
import random
import re
import tracemalloc
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from small import DATA, small_params

from mnist.core.errors import UserError
from mnist.model.backend import keras
from mnist.model.network import save_network
from mnist.model.weights import read_weights
from mnist.training.build import build_network, fold_batch_norm

LAYERS = fold_batch_norm(build_network(small_params(hidden_units=[8]), DATA), "relu")


def test_the_stored_weights_are_read(tmp_path: Path) -> None:
    save_network(LAYERS, "small", tmp_path / "model.keras")
    for mine, theirs in zip(read_weights(tmp_path / "model.keras", DATA), LAYERS, strict=True):
        np.testing.assert_array_equal(mine.kernel, theirs.kernel)
        np.testing.assert_array_equal(mine.bias, theirs.bias)
        assert mine.activation == theirs.activation


def test_a_missing_model_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"model\.keras is missing"):
        read_weights(tmp_path / "model.keras", DATA)


@pytest.mark.parametrize("change", [{"image_shape": (3, 7)}, {"classes": list("abcd")}, {"dataset": "other"}])
def test_a_model_for_other_data_is_refused(tmp_path: Path, change: dict) -> None:
    save_network(LAYERS, "small", tmp_path / "model.keras")
    with pytest.raises(UserError, match=re.escape("is a network for 'small', 20 pixels, 3 classes")):
        read_weights(tmp_path / "model.keras", replace(DATA, **change))


@pytest.mark.parametrize("change", [{"activation": "eval"}, {"activation": ["relu"]}])
def test_a_layer_that_train_does_not_write_is_refused(tmp_path: Path, change: dict) -> None:
    path = tmp_path / "model.keras"
    save_network(LAYERS, "small", path)

    def edit(content: bytes) -> bytes:
        network = json.loads(content)
        network["config"]["layers"][1]["config"].update(change)
        return json.dumps(network).encode()

    rewrite(path, "config.json", edit)
    with pytest.raises(UserError, match="hidden_1 is not a dense layer as train saves it"):
        read_weights(path, DATA)


def zip_without_a_network() -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        archive.writestr("metadata.json", "{}")
    return content.getvalue()


@pytest.mark.parametrize("content", ["empty", "text", "zip without a network", "cut short"])
def test_a_corrupt_model_is_refused(tmp_path: Path, content: str) -> None:
    path = tmp_path / "model.keras"
    save_network(LAYERS, "small", path)
    contents = {"empty": b"", "text": b"no zip", "zip without a network": zip_without_a_network()}
    path.write_bytes(contents.get(content, path.read_bytes()[:3000]))
    with pytest.raises(UserError, match=r"model\.keras cannot be loaded as a model"):
        read_weights(path, DATA)


def test_code_in_a_model_is_not_run(tmp_path: Path) -> None:
    network = keras.Sequential([keras.Input((20,)), keras.layers.Lambda(lambda x: x[:, :3])], name="small")
    network.save(tmp_path / "model.keras")
    with pytest.raises(UserError, match=r"cannot be loaded as a model"):
        read_weights(tmp_path / "model.keras", DATA)


def rewrite(path: Path, name: str, change: Callable[[bytes], bytes], compression: int = zipfile.ZIP_STORED) -> None:
    """Change one of the files in a .keras file."""
    with zipfile.ZipFile(path) as source:
        contents = {each: source.read(each) for each in source.namelist()}
    contents[name] = change(contents[name])
    with zipfile.ZipFile(path, "w", compression) as target:
        for each, content in contents.items():
            target.writestr(each, content)


class Code:
    """Makes a folder when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (self.path,)


def test_pickled_code_is_not_run(tmp_path: Path) -> None:
    (tmp_path / "model.keras").write_bytes(pickle.dumps(Code(tmp_path / "run")))
    with pytest.raises(UserError, match=r"model\.keras cannot be loaded as a model"):
        read_weights(tmp_path / "model.keras", DATA)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("whole", [True, False], ids=["as the network", "as a layer"])
@pytest.mark.parametrize(
    ("module", "name", "config"),
    [
        ("os", "mkdir", {"path": "run"}),
        ("os", "system", "mkdir run"),
        ("builtins", "exec", "import os; os.mkdir('run')"),
        ("builtins", "function", "eval"),
        ("keras.config", "enable_unsafe_deserialization", {}),
        ("keras.src.utils", "get_file", {"fname": "run", "origin": "file:///etc/hostname", "cache_dir": "."}),
        ("numpy", "load", {"file": "run.npy", "allow_pickle": True}),
    ],
)
def test_code_that_a_model_names_is_not_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, module: str, name: str, config: Any, whole: bool
) -> None:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "model.keras"
    save_network(LAYERS, "small", path)
    hostile = {"module": module, "class_name": name, "config": config, "registered_name": None}

    def change(content: bytes) -> bytes:
        network = json.loads(content)
        network["config"]["layers"].insert(1, hostile)
        return json.dumps(hostile if whole else network).encode()

    rewrite(path, "config.json", change)
    with pytest.raises(UserError, match=r"model\.keras cannot be loaded as a model"):
        read_weights(path, DATA)
    assert list(tmp_path.iterdir()) == [path]


def hostile_units(content: bytes) -> bytes:
    """A layer described with weights of 800 GB."""
    network = json.loads(content)
    network["config"]["layers"][1]["config"]["units"] = 10**10
    return json.dumps(network).encode()


def hostile_weights(content: bytes) -> bytes:
    """Weights of 800 GB uncompressed."""
    file = io.BytesIO(content)
    with h5py.File(file, "r+") as weights:
        group = next(iter(weights["layers"].values()))["vars"]
        del group["0"]
        group.create_dataset("0", (20, 10**10), "f4", chunks=(20, 10**5), compression="gzip")
    return file.getvalue()


def hostile_archive(content: bytes) -> bytes:
    """64 MB of zeros, which compress well."""
    return bytes(1 << 26)


@pytest.mark.parametrize(
    ("part", "change", "compression", "reason"),
    [
        ("config.json", hostile_units, zipfile.ZIP_STORED, "weights of hidden_1 differ in shape from its description"),
        ("model.weights.h5", hostile_weights, zipfile.ZIP_STORED, "weights of hidden_1 differ in shape"),
        ("model.weights.h5", hostile_archive, zipfile.ZIP_DEFLATED, "its uncompressed contents exceed the archive"),
    ],
)
def test_a_decompression_bomb_is_refused_in_little_memory(
    tmp_path: Path, part: str, change: Callable[[bytes], bytes], compression: int, reason: str
) -> None:
    path = tmp_path / "model.keras"
    save_network(LAYERS, "small", path)
    rewrite(path, part, change, compression)
    tracemalloc.start()
    try:
        with pytest.raises(UserError, match=reason):
            read_weights(path, DATA)
        assert tracemalloc.get_traced_memory()[1] < 1 << 25
    finally:
        tracemalloc.stop()


def is_refused(path: Path) -> bool:
    """Whether the file is refused by an error that names it."""
    try:
        read_weights(path, DATA)
    except UserError as error:
        assert str(path) in str(error)  # noqa: PT017, both ends are valid
        return True
    return False


@pytest.mark.parametrize("part", ["config.json", None])
def test_a_corrupt_model_gives_a_network_or_an_error_that_names_it(tmp_path: Path, part: str | None) -> None:
    path = tmp_path / "model.keras"
    save_network(LAYERS, "small", path)
    good, rng = path.read_bytes(), random.Random(0)

    def corrupted(content: bytes) -> bytes:
        changed = bytearray(content)
        for _ in range(rng.randint(1, 6)):
            changed[rng.choice((rng.randrange(len(changed)), -rng.randint(1, 400)))] = rng.randrange(256)
        return bytes(changed)

    refused = 0
    for _ in range(60):
        path.write_bytes(good)
        if part:
            rewrite(path, part, corrupted)
        else:
            path.write_bytes(corrupted(good))
        refused += is_refused(path)
    assert refused


# Not at random: on some corrupt HDF5 files the HDF5 library does not terminate.
@pytest.mark.parametrize("block", [b"HEAP", b"TREE", b"SNOD", b"\x89HDF"])
def test_weights_with_a_corrupt_structure_are_refused(tmp_path: Path, block: bytes) -> None:
    path = tmp_path / "model.keras"
    save_network(LAYERS, "small", path)

    def change(content: bytes) -> bytes:
        assert block in content
        return content.replace(block, b"none")

    rewrite(path, "model.weights.h5", change)
    assert is_refused(path)
