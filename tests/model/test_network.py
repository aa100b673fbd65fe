"""The model file: the same bytes for the same network, loaded by stock Keras, and refused when it does not fit."""

import io
import json
import os
import pickle
import random
import re
import tracemalloc
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from mnist.core.errors import UserError
from mnist.model.backend import keras
from mnist.model.network import BatchNormalization, build_network, fold_batch_norm, load_network, save_network
from mnist.model.weights import read_weights

FITS = {"pixels": 20, "classes": 3, "name": "small"}


def small_network(**changes) -> keras.Sequential:
    options = {"hidden_units": [8], "activation": "relu", "seed": 1, **FITS} | changes
    return build_network(**options)


def test_the_same_network_is_saved_to_the_same_bytes(tmp_path: Path) -> None:
    for name in ("first", "second"):
        save_network(small_network(), tmp_path / f"{name}.keras")
    assert (tmp_path / "first.keras").read_bytes() == (tmp_path / "second.keras").read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["first.keras", "second.keras"]


def test_stock_keras_loads_it_in_safe_mode_with_the_same_predictions(tmp_path: Path) -> None:
    network = small_network()
    save_network(network, tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras", safe_mode=True)
    images = np.random.default_rng(0).random((50, 20), np.float32)
    np.testing.assert_array_equal(loaded.predict(images, verbose=0), network.predict(images, verbose=0))
    for mine, theirs in zip(network.get_weights(), loaded.get_weights(), strict=True):
        np.testing.assert_array_equal(mine, theirs)


def test_the_parameters_shape_the_network() -> None:
    network = small_network(hidden_units=[5, 4], activation="tanh")
    assert [weights.shape for weights in network.get_weights()] == [(20, 5), (5,), (5, 4), (4,), (4, 3), (3,)]
    assert network.layers[0].activation is keras.activations.tanh
    assert small_network(hidden_units=[]).count_params() == 20 * 3 + 3


def test_batch_normalisation_does_what_keras_does() -> None:
    rng = np.random.default_rng(0)
    ours, reference = BatchNormalization(), keras.layers.BatchNormalization()
    batch = (5 * rng.normal(size=(40, 6)) + 3).astype(np.float32)
    for layer in (ours, reference):
        layer.build(batch.shape)
        layer.set_weights([np.linspace(1, 2, 6), np.arange(6), np.zeros(6), np.ones(6)])
    for training in (True, False):
        results = [layer(batch, training=training) for layer in (ours, reference)]
        np.testing.assert_allclose(*results, rtol=1e-4, atol=1e-4)
    for mine, theirs in zip(ours.get_weights(), reference.get_weights(), strict=True):
        np.testing.assert_allclose(mine, theirs, rtol=1e-5)


def test_the_plain_network_predicts_what_the_trained_one_does(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    network = small_network(hidden_units=[9, 7], batch_normalization=True, dropout=0.5)
    network.set_weights([rng.random(weights.shape, np.float32) + 0.1 for weights in network.get_weights()])
    plain = small_network(hidden_units=[9, 7])
    fold_batch_norm(network, plain)
    images = rng.random((50, 20), np.float32)
    np.testing.assert_allclose(plain(images), network(images, training=False), rtol=1e-4, atol=1e-5)
    save_network(plain, tmp_path / "model.keras")
    loaded = load_network(tmp_path / "model.keras", **FITS)
    assert {type(layer) for layer in loaded.layers} == {keras.layers.Dense}


def test_a_missing_model_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"model\.keras is missing"):
        load_network(tmp_path / "model.keras", **FITS)


@pytest.mark.parametrize("change", [{"pixels": 21}, {"classes": 4}, {"name": "other"}])
def test_a_model_for_other_data_is_refused(tmp_path: Path, change: dict) -> None:
    save_network(small_network(), tmp_path / "model.keras")
    with pytest.raises(UserError, match=re.escape("is a network for 'small', 20 pixels, 3 classes")):
        load_network(tmp_path / "model.keras", **(FITS | change))


def zip_without_a_network() -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        archive.writestr("metadata.json", "{}")
    return content.getvalue()


@pytest.mark.parametrize("damage", ["empty", "text", "zip without a network", "cut short"])
def test_a_damaged_model_is_refused(tmp_path: Path, damage: str) -> None:
    path = tmp_path / "model.keras"
    save_network(small_network(), path)
    contents = {"empty": b"", "text": b"no zip", "zip without a network": zip_without_a_network()}
    path.write_bytes(contents.get(damage, path.read_bytes()[:3000]))
    with pytest.raises(UserError, match=r"model\.keras is no model that can be loaded"):
        load_network(path, **FITS)


def test_code_in_a_model_is_not_run(tmp_path: Path) -> None:
    network = keras.Sequential([keras.Input((20,)), keras.layers.Lambda(lambda x: x[:, :3])], name="small")
    network.save(tmp_path / "model.keras")
    with pytest.raises(UserError, match=r"no model that can be loaded"):
        load_network(tmp_path / "model.keras", **FITS)


def rewrite(path: Path, name: str, change: Callable[[bytes], bytes], compression: int = zipfile.ZIP_STORED) -> None:
    """Change one of the files that a .keras file holds."""
    with zipfile.ZipFile(path) as source:
        contents = {each: source.read(each) for each in source.namelist()}
    contents[name] = change(contents[name])
    with zipfile.ZipFile(path, "w", compression) as target:
        for each, content in contents.items():
            target.writestr(each, content)


class Code:
    """What makes a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (self.path,)


def test_pickled_code_in_place_of_a_model_is_not_run(tmp_path: Path) -> None:
    (tmp_path / "model.keras").write_bytes(pickle.dumps(Code(tmp_path / "run")))
    for refused in (lambda path: load_network(path, **FITS), read_weights):
        with pytest.raises(UserError, match=r"model\.keras is no "):
            refused(tmp_path / "model.keras")
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
    save_network(small_network(), path)
    hostile = {"module": module, "class_name": name, "config": config, "registered_name": None}

    def change(content: bytes) -> bytes:
        network = json.loads(content)
        network["config"]["layers"].insert(1, hostile)
        return json.dumps(hostile if whole else network).encode()

    rewrite(path, "config.json", change)
    with pytest.raises(UserError, match=r"model\.keras is no model that can be loaded"):
        load_network(path, **FITS)
    assert list(tmp_path.iterdir()) == [path]


def hostile_units(content: bytes) -> bytes:
    """Describe a layer of 800 GB."""
    network = json.loads(content)
    network["config"]["layers"][1]["config"]["units"] = 10**10
    return json.dumps(network).encode()


def hostile_weights(content: bytes) -> bytes:
    """Hold weights that unpack to 800 GB."""
    file = io.BytesIO(content)
    with h5py.File(file, "r+") as weights:
        group = next(iter(weights["layers"].values()))["vars"]
        del group["0"]
        group.create_dataset("0", (20, 10**10), "f4", chunks=(20, 10**5), compression="gzip")
    return file.getvalue()


def hostile_archive(content: bytes) -> bytes:
    """Be what unpacks to 64 MB."""
    return bytes(1 << 26)


@pytest.mark.parametrize(
    ("part", "change", "compression", "reason"),
    [
        ("config.json", hostile_units, zipfile.ZIP_STORED, "weights of hidden_1 are not those that it describes"),
        ("model.weights.h5", hostile_weights, zipfile.ZIP_STORED, "weights of hidden_1 are not those"),
        ("model.weights.h5", hostile_archive, zipfile.ZIP_DEFLATED, "it unpacks to more than it holds"),
    ],
)
def test_a_model_that_is_a_bomb_is_refused_in_little_memory(
    tmp_path: Path, part: str, change: Callable[[bytes], bytes], compression: int, reason: str
) -> None:
    path = tmp_path / "model.keras"
    save_network(small_network(), path)
    rewrite(path, part, change, compression)
    tracemalloc.start()
    try:
        for refused in (lambda path: load_network(path, **FITS), read_weights):
            with pytest.raises(UserError, match=reason):
                refused(path)
        assert tracemalloc.get_traced_memory()[1] < 1 << 25
    finally:
        tracemalloc.stop()


def read_or_refused(path: Path) -> int:
    """How many of the two readers refuse the file; either must do so by naming it."""
    refused = 0
    for read in (lambda: load_network(path, **FITS), lambda: read_weights(path)):
        try:
            read()
        except UserError as error:
            assert str(path) in str(error)  # noqa: PT017, both ends are fine
            refused += 1
    return refused


@pytest.mark.parametrize("part", ["config.json", None])
def test_damage_anywhere_in_a_model_gives_a_network_or_an_error_that_names_it(tmp_path: Path, part: str | None) -> None:
    path = tmp_path / "model.keras"
    save_network(small_network(), path)
    good, rng = path.read_bytes(), random.Random(0)

    def damaged(content: bytes) -> bytes:
        changed = bytearray(content)
        for _ in range(rng.randint(1, 6)):
            changed[rng.choice((rng.randrange(len(changed)), -rng.randint(1, 400)))] = rng.randrange(256)
        return bytes(changed)

    refused = 0
    for _ in range(60):
        path.write_bytes(good)
        if part:
            rewrite(path, part, damaged)
        else:
            path.write_bytes(damaged(good))
        refused += read_or_refused(path)
    assert refused


# Not at random: there are damaged HDF5 files on which the HDF5 library does not come to an end.
@pytest.mark.parametrize("block", [b"HEAP", b"TREE", b"SNOD", b"\x89HDF"])
def test_weights_whose_structure_is_damaged_are_refused(tmp_path: Path, block: bytes) -> None:
    path = tmp_path / "model.keras"
    save_network(small_network(), path)

    def change(content: bytes) -> bytes:
        assert block in content
        return content.replace(block, b"none")

    rewrite(path, "model.weights.h5", change)
    assert read_or_refused(path) == 2
