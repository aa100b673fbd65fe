"""Prediction, and the model file: the same bytes for the same network, loaded by stock Keras."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from small import DATA, IMAGES, RNG, small_params

from mnist.core.paths import ROOT
from mnist.model.backend import keras
from mnist.model.network import predict, save_network
from mnist.model.weights import ACTIVATIONS, DenseLayer
from mnist.training.build import build_network, fold_batch_norm


@pytest.fixture
def layers() -> list[DenseLayer]:
    return fold_batch_norm(build_network(small_params(), DATA), "relu")


def test_prediction_does_not_depend_on_the_number_of_images(layers: list[DenseLayer]) -> None:
    images = RNG.random((1203, 20), np.float32)
    together, logarithms = predict(layers, images)
    np.testing.assert_array_equal(together[1000:], predict(layers, images[1000:])[0])
    np.testing.assert_allclose(logarithms, np.log(together), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_stock_keras_loads_the_file_and_predicts_the_same(
    layers: list[DenseLayer], tmp_path: Path, activation: str
) -> None:
    hidden = [DenseLayer(layer.kernel, layer.bias + 0.1, activation) for layer in layers[:-1]]
    save_network([*hidden, layers[-1]], "small", tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras", safe_mode=True)
    expected = loaded.predict(IMAGES, verbose=0)
    np.testing.assert_allclose(predict([*hidden, layers[-1]], IMAGES)[0], expected, rtol=1e-5, atol=1e-6)


def test_prediction_needs_no_keras(layers: list[DenseLayer], tmp_path: Path) -> None:
    save_network(layers, DATA.dataset, tmp_path / "model.keras")
    np.save(tmp_path / "images.npy", IMAGES)
    program = f"""
import sys
sys.modules["keras"] = None  # so that an import fails
import numpy as np
from pathlib import Path
from mnist.core.data import DataSummary
from mnist.model.network import predict
from mnist.model.weights import read_weights
layers = read_weights(Path("model.keras"), {DATA!r})
np.save("predicted.npy", predict(layers, np.load("images.npy"))[0])
"""
    paths = os.environ | {"PYTHONPATH": str(ROOT)}
    subprocess.run([sys.executable, "-c", program], cwd=tmp_path, env=paths, check=True)
    np.testing.assert_array_equal(np.load(tmp_path / "predicted.npy"), predict(layers, IMAGES)[0])


def test_the_same_network_is_saved_to_the_same_bytes(layers: list[DenseLayer], tmp_path: Path) -> None:
    for name in ("first", "second"):
        save_network(layers, "small", tmp_path / f"{name}.keras")
    assert (tmp_path / "first.keras").read_bytes() == (tmp_path / "second.keras").read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["first.keras", "second.keras"]
