"""The layers of the compiled step: Keras's mathematics, in an order of sums that no CPU chooses."""

import numpy as np
import pytest
from small import IMAGES, RNG

from mnist.model.backend import keras, tf
from mnist.training.layers import BatchNormalization, Dropout, matrix_product


def multiply_in_order(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """A product by fused multiply-add over the inputs in order, in blocks of 512 that are then added."""
    blocks = []
    for start in range(0, left.shape[1], 512):
        block = np.zeros((len(left), right.shape[1]), np.float32)
        for column, row in zip(left.T[start : start + 512], right[start : start + 512], strict=True):
            # The product of two float32 numbers is exact in float64, so that only the sum is rounded.
            block = (np.outer(column.astype(np.float64), row) + block).astype(np.float32)
        blocks.append(block)
    return sum(blocks[1:], blocks[0])


@pytest.mark.parametrize("size", [(128, 784, 128), (33, 64, 10), (600, 300, 77), (128, 900, 64)])
def test_matrix_products_are_summed_in_a_fixed_order(size: tuple[int, int, int]) -> None:
    images, inputs, units = size
    left, right, upstream = (
        RNG.uniform(-1, 1, shape).astype(np.float32) for shape in ((images, inputs), (inputs, units), (images, units))
    )

    @tf.function(jit_compile=True)
    def both(left: tf.Tensor, right: tf.Tensor, upstream: tf.Tensor) -> list[tf.Tensor]:
        with tf.GradientTape() as tape:
            tape.watch([left, right])
            product = matrix_product(left, right)
        return [product, *tape.gradient(product, [left, right], upstream)]

    product, of_left, of_right = both(*map(tf.constant, (left, right, upstream)))
    np.testing.assert_array_equal(product, multiply_in_order(left, right))
    np.testing.assert_array_equal(of_left, multiply_in_order(upstream, right.T))
    np.testing.assert_array_equal(of_right, multiply_in_order(left.T, upstream))


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
