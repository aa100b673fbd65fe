"""Temperature scaling: confidence changes, predicted classes do not."""

import numpy as np
import pytest

from mnist.model.network import predict
from mnist.model.weights import DenseLayer
from mnist.training.temperature import divide_logits, fit_temperature

RNG = np.random.default_rng(5)
IMAGES = RNG.random((3000, 6), np.float32)
LAYERS = [
    DenseLayer(RNG.normal(size=(6, 8)).astype(np.float32), RNG.random(8, np.float32), "relu"),
    DenseLayer(RNG.normal(size=(8, 4)).astype(np.float32), RNG.random(4, np.float32), "softmax"),
]
# Each label is drawn with the probability that the network gives it, so the network is calibrated.
PROBABILITIES = predict(LAYERS, IMAGES)[0]
LABELS = (PROBABILITIES.cumsum(axis=1) < RNG.random((3000, 1))).sum(axis=1).clip(max=3)


@pytest.mark.parametrize("factor", [0.25, 1.0, 4.0])
def test_the_temperature_undoes_a_factor_of_the_logits(factor: float) -> None:
    wrong = divide_logits(LAYERS, 1 / factor)
    temperature, loss = fit_temperature(wrong, IMAGES, LABELS)
    assert temperature == pytest.approx(factor, rel=0.1)
    probabilities, log_probabilities = predict(divide_logits(wrong, temperature), IMAGES)
    assert loss == pytest.approx(-log_probabilities[np.arange(3000), LABELS].mean(), rel=1e-5)
    assert np.abs(probabilities - PROBABILITIES).mean() < 0.01
    np.testing.assert_array_equal(probabilities.argmax(axis=1), PROBABILITIES.argmax(axis=1))


def test_without_a_misclassified_image_the_temperature_is_1() -> None:
    labels = PROBABILITIES.argmax(axis=1)
    temperature, loss = fit_temperature(LAYERS, IMAGES, labels)
    assert temperature == 1
    assert loss == pytest.approx(-np.log(PROBABILITIES.max(axis=1)).mean(), rel=1e-4)


def test_only_the_last_layer_changes() -> None:
    first, last = divide_logits(LAYERS, 2.0)
    assert first is LAYERS[0]
    np.testing.assert_array_equal(last.kernel, LAYERS[1].kernel / 2)
    np.testing.assert_array_equal(last.bias, LAYERS[1].bias / 2)
    assert last.kernel.dtype == last.bias.dtype == np.float32
