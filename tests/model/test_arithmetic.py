"""Products and sums have the bits of the specification in docs/reproducibility.md, here in NumPy, on this CPU."""

from itertools import pairwise

import numpy as np
import pytest
from small import RNG

from mnist.core.params import read_params, read_yaml
from mnist.core.paths import ROOT
from mnist.model.arithmetic import add_bias, materialize, matmul, pairwise_sum
from mnist.model.backend import tf
from mnist.model.losses import cross_entropy, softmax
from mnist.model.network import PREDICT_BATCH
from mnist.training.augmentation import blur_matrix
from mnist.training.layers import normalize
from mnist.training.params import TrainParams

DTYPES = ["float32", "float64"]
DEFAULT = read_params(TrainParams).model_dump()
TRAININGS = [
    DEFAULT | read_yaml(path).get("train", {}) for path in [ROOT / "params.yaml", *ROOT.glob("recipes/*.yaml")]
]
TRAINED = {  # batch size, inputs, units
    (train["batch_size"], *layer) for train in TRAININGS for layer in pairwise([784, *train["hidden_units"], 10])
}
PREDICTED = {(PREDICT_BATCH, inputs, units) for _, inputs, units in TRAINED}
ELASTIC = {(2 * 128 * 10, *blur_matrix(28, 6.0).T.shape)}
UNUSUAL = {(1, 5, 3), (40, 1, 1), (3, 7, 2), (33, 1100, 10), (48, 512, 512), (600, 20, 9), (100, 64, 128)}
# Prediction and augmentation compute in float32 only.
PRODUCTS = [("float32", shape) for shape in sorted(TRAINED | PREDICTED | ELASTIC | UNUSUAL)] + [
    ("float64", shape) for shape in sorted(TRAINED | UNUSUAL)
]


def two_sum(a: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The rounded sum and its error (Knuth)."""
    total = a + b
    part = total - a
    return total, (a - (total - part)) + (b - part)


def two_product(a: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The rounded product and its error (Dekker)."""
    high_a, high_b = (factor * 134217729.0 - (factor * 134217729.0 - factor) for factor in (a, b))
    low_a, low_b = a - high_a, b - high_b
    return a * b, ((high_a * high_b - a * b) + high_a * low_b + low_a * high_b) + low_a * low_b


def odd_sum(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """The sum rounded to an odd last bit unless it is exact, so that it can be rounded again (Boldo and Melquiond)."""
    total, error = two_sum(a, b)
    even = (error != 0) & (total.view(np.int64) % 2 == 0)
    return np.where(even, np.nextafter(total, np.copysign(np.inf, error)), total)


def fused_multiply_add(a: np.ndarray, b: np.ndarray, c: np.ndarray) -> np.ndarray:
    """a * b + c, rounded once."""
    if c.dtype == np.float32:
        return odd_sum(a.astype(np.float64) * b.astype(np.float64), c.astype(np.float64)).astype(np.float32)
    high, low = two_product(a, b)
    middle, lowest = two_sum(c, low)
    top, middle = two_sum(high, middle)
    return top + odd_sum(middle, lowest)


def multiply(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """A product by fused multiply-add over the inputs in order, in blocks of 512 that are added in order."""
    total = None
    for start in range(0, left.shape[1], 512):
        block = np.zeros((len(left), right.shape[1]), left.dtype)
        for column, row in zip(left.T[start : start + 512], right[start : start + 512], strict=True):
            block = fused_multiply_add(*np.broadcast_arrays(column[:, None], row, block))
        total = block if total is None else total + block
    return total


def halve(values: np.ndarray) -> np.ndarray:
    """The sum of the rows: the latter half is added to the former until one is left."""
    while len(values) > 1:
        values = np.concatenate([values, np.zeros_like(values[: len(values) % 2])])
        values = values[: len(values) // 2] + values[len(values) // 2 :]
    return values[0]


def compiled(function, *arrays: np.ndarray) -> list[np.ndarray]:
    return [tensor.numpy() for tensor in tf.function(function, jit_compile=True)(*map(tf.constant, arrays))]


def random(*shape: int, dtype: str) -> np.ndarray:
    return RNG.uniform(-1, 1, shape).astype(dtype)


def with_gradients(function, inputs: list[tf.Tensor], upstream: tf.Tensor) -> list[tf.Tensor]:
    with tf.GradientTape() as tape:
        tape.watch(inputs)
        outputs = function(*inputs)
    return [outputs, *tape.gradient(outputs, inputs, upstream)]


@pytest.mark.parametrize(("dtype", "shape"), PRODUCTS, ids=str)
def test_products_and_their_gradients_are_summed_in_order(dtype: str, shape: tuple[int, int, int]) -> None:
    images, inputs, units = shape
    left, right, upstream = (
        random(*size, dtype=dtype) for size in ((images, inputs), (inputs, units), (images, units))
    )
    found = compiled(
        lambda left, right, upstream: with_gradients(matmul, [left, right], upstream), left, right, upstream
    )
    for result, first, second in zip(found, (left, upstream, left.T), (right, right.T, upstream), strict=True):
        rows, columns = (np.unique([0, n - 1, *RNG.integers(0, n, 14)]) for n in result.shape)
        np.testing.assert_array_equal(result[np.ix_(rows, columns)], multiply(first[rows], second[:, columns]))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", sorted({(batch, units) for batch, _, units in TRAINED | UNUSUAL}), ids=str)
def test_sums_over_the_batch_are_pairwise(shape: tuple[int, int], dtype: str) -> None:
    values, upstream = (random(*shape, dtype=dtype) for _ in range(2))
    zeros, ones = (np.full(shape[1], value, dtype) for value in (0, 1))

    def sums(values: tf.Tensor, upstream: tf.Tensor, zeros: tf.Tensor, ones: tf.Tensor) -> list[tf.Tensor]:
        _, _, of_bias = with_gradients(add_bias, [values, zeros], upstream * values)
        with tf.GradientTape() as tape:
            tape.watch([zeros, ones])
            outputs, mean, variance = normalize(values, ones, zeros, tf.constant(1e-3, dtype))
        of_gamma, of_beta = tape.gradient(outputs, [ones, zeros], upstream)
        return [pairwise_sum(values), pairwise_sum(values, axis=1), of_bias, mean, variance, outputs, of_gamma, of_beta]

    rows, columns, of_bias, mean, variance, normalized, of_gamma, of_beta = compiled(
        sums, values, upstream, zeros, ones
    )
    np.testing.assert_array_equal(rows, halve(values))
    np.testing.assert_array_equal(columns, halve(values.T))
    np.testing.assert_array_equal(of_bias, halve(upstream * values))
    fraction = np.array(1 / shape[0], dtype)
    np.testing.assert_array_equal(mean, halve(values) * fraction)
    np.testing.assert_array_equal(variance, halve((values - mean) ** 2) * fraction)
    np.testing.assert_array_equal(of_gamma, halve(upstream * normalized))
    np.testing.assert_array_equal(of_beta, halve(upstream))


@pytest.mark.parametrize("dtype", DTYPES)
def test_materialized_values_are_rounded_before_they_are_added(dtype: str) -> None:
    a, b, c, d = (random(100_000, dtype=dtype) for _ in range(4))
    [total] = compiled(lambda a, b, c, d: [materialize(a * b) + materialize(c * d)], a, b, c, d)
    np.testing.assert_array_equal(total, a * b + c * d)


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_the_gradient_of_the_loss_is_that_of_its_definition(smoothing: float) -> None:
    logits, labels = 9 * random(50, 10, dtype="float64"), RNG.integers(0, 10, 50)
    targets = (1 - smoothing) * np.eye(10)[labels] + smoothing / 10

    def both(logits: tf.Tensor, labels: tf.Tensor) -> list[tf.Tensor]:
        _, expected = with_gradients(
            lambda logits: tf.nn.softmax_cross_entropy_with_logits(targets, logits), [logits], tf.ones(50, tf.float64)
        )
        return [softmax(logits), *cross_entropy(labels, logits, smoothing), tf.nn.softmax(logits), expected]

    probabilities, losses, gradient, expected, expected_gradient = compiled(both, logits, labels.astype(np.int32))
    np.testing.assert_allclose(probabilities, expected, rtol=1e-12)
    np.testing.assert_allclose(losses, -np.log(expected[np.arange(50), labels]), rtol=1e-9)
    np.testing.assert_allclose(gradient, expected_gradient, rtol=1e-9, atol=1e-12)
