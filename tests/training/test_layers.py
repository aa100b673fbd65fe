"""The layers of the compiled step: Keras's mathematics, in an order of sums that no CPU chooses."""

import numpy as np
import pytest
from small import IMAGES

from mnist.model.backend import keras, tf
from mnist.training.layers import BatchNormalization, Dropout


def test_batch_normalisation_equals_that_of_keras() -> None:
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


def test_dropout_drops_other_units_each_time_and_scales_up_the_rest() -> None:
    layer = Dropout(0.3, seed=42)
    drop = tf.function(layer, jit_compile=True)
    first, second = (drop(np.ones((1000, 100), np.float32), training=True).numpy() for _ in range(2))
    np.testing.assert_allclose(np.unique(first), [0, 1 / 0.7], rtol=1e-6)
    assert np.mean(first == 0) == pytest.approx(0.3, abs=0.01)
    assert np.mean((first == 0) & (second == 0)) == pytest.approx(0.09, abs=0.01)  # calls are independent
    assert np.abs(np.mean(first == 0, axis=0) - 0.3).max() < 0.08  # and so are units and images
    assert np.abs(np.mean(first == 0, axis=1) - 0.3).max() < 0.25
    np.testing.assert_array_equal(layer(IMAGES, training=False), IMAGES)
