"""The compiled training loop does the mathematics of Keras's fit, and is decided by its seed."""

import math

import numpy as np
import pytest

from mnist.model.backend import keras, tf, use_threads
from mnist.model.network import Dropout, Predictor, build_network, matrix_product
from mnist.training.loop import learning_rates, train_epochs

use_threads(2)
RNG = np.random.default_rng(0)
IMAGES = RNG.random((150, 20), np.float32)  # with batches of 32, the last one is partial
LABELS = RNG.integers(0, 3, 150).astype(np.uint8)


TOLERANCE = {"float32": {"rtol": 1e-4, "atol": 1e-5}, "float64": {"rtol": 1e-7, "atol": 1e-9}}
QUIET = {"progress": lambda images: None}


def small_network(seed: int = 1, **changes) -> keras.Sequential:
    options = {"activation": "relu", "seed": seed, "name": "small", "for_training": True} | changes
    return build_network(20, [16, 8], 3, **options)


def constant(rate: float, *, batch_size: int, epochs: int = 1) -> np.ndarray:
    return learning_rates(rate, "constant", epochs=epochs, warmup_epochs=0, steps=math.ceil(len(LABELS) / batch_size))


def trained(network: keras.Sequential, seed: int = 7) -> list[tuple[float, float]]:
    rates = constant(0.01, batch_size=32, epochs=2)
    return list(
        train_epochs(network, keras.optimizers.Adam(), IMAGES, LABELS, batch_size=32, rates=rates, seed=seed, **QUIET)
    )


def assert_same_weights(network: keras.Model, reference: keras.Model, precision: str = "float32") -> None:
    for mine, theirs in zip(network.get_weights(), reference.get_weights(), strict=True):
        assert mine.dtype == theirs.dtype == precision
        np.testing.assert_allclose(mine, theirs, **TOLERANCE[precision])


@pytest.mark.parametrize(
    ("optimizer", "precision"), [("adam", "float32"), ("nadam", "float32"), ("sgd", "float32"), ("adam", "float64")]
)
def test_an_epoch_equals_one_of_fit_on_the_same_order(optimizer: str, precision: str) -> None:
    ours, reference = (small_network(precision=precision, for_training=ours) for ours in (True, False))
    seen: list[int] = []
    rates = constant(0.001, batch_size=32)
    [(loss, accuracy)] = train_epochs(
        ours, keras.optimizers.get(optimizer), IMAGES, LABELS, batch_size=32, rates=rates, seed=7, progress=seen.append
    )
    order = np.random.default_rng([7, 0]).permutation(len(LABELS))
    fitted = keras.optimizers.get({"class_name": optimizer, "config": {"learning_rate": 0.001}})
    reference.compile(fitted, "sparse_categorical_crossentropy", metrics=["accuracy"])
    history = reference.fit(IMAGES[order], LABELS[order], batch_size=32, shuffle=False, verbose=0).history
    assert_same_weights(ours, reference, precision)
    assert loss == pytest.approx(history["loss"][0], rel=1e-4)
    assert accuracy == pytest.approx(history["accuracy"][0])
    assert sum(seen) == len(LABELS)


@pytest.mark.parametrize("precision", ["float32", "float64"])
def test_what_the_best_networks_use_equals_keras_in_fit(precision: str) -> None:
    """Batch normalisation, label smoothing, AdamW, and a cosine schedule with warm-up, all together."""
    count, epochs, steps, warmup = 128, 3, 4, 5  # whole batches: fit's last, partial one is normalised by itself
    options = {"batch_normalization": True, "precision": precision}
    ours, reference = (small_network(**options, for_training=ours) for ours in (True, False))
    rates = learning_rates(0.01, "cosine", epochs=epochs, warmup_epochs=warmup / steps, steps=steps)
    optimizer = keras.optimizers.Adam(weight_decay=0.1)
    losses = train_epochs(
        ours,
        optimizer,
        IMAGES[:count],
        LABELS[:count],
        batch_size=32,
        rates=rates,
        seed=7,
        label_smoothing=0.2,
        **QUIET,
    )
    assert len(list(losses)) == epochs
    orders = [np.random.default_rng([7, epoch]).permutation(count) for epoch in range(epochs)]
    targets = keras.utils.to_categorical(LABELS)
    reference.compile(
        keras.optimizers.AdamW(ListedRates(rates.ravel()), weight_decay=0.1),
        keras.losses.CategoricalCrossentropy(label_smoothing=0.2, dtype=precision),
    )
    for order in orders:
        reference.fit(IMAGES[order], targets[order], batch_size=32, shuffle=False, verbose=0)
    assert_same_weights(ours, reference, precision)


class ListedRates(keras.optimizers.schedules.LearningRateSchedule):
    def __init__(self, rates: np.ndarray) -> None:
        self.rates = rates

    def __call__(self, step):
        return keras.ops.take(self.rates, keras.ops.cast(step, "int32"))


def summed_in_turn(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """A product whose parts are added one after the other by fused multiply-add, in blocks of 512."""
    blocks = []
    for start in range(0, left.shape[1], 512):
        block = np.zeros((len(left), right.shape[1]), np.float32)
        for column, row in zip(left.T[start : start + 512], right[start : start + 512], strict=True):
            # Of float32 numbers a product is exact in float64, so that only the sum is rounded.
            block = (np.outer(column.astype(np.float64), row) + block).astype(np.float32)
        blocks.append(block)
    return sum(blocks[1:], blocks[0])


@pytest.mark.parametrize("size", [(128, 784, 128), (33, 64, 10), (600, 300, 77), (128, 900, 64)])
def test_matrix_products_are_summed_in_an_order_that_no_processor_chooses(size: tuple[int, int, int]) -> None:
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
    np.testing.assert_array_equal(product, summed_in_turn(left, right))
    np.testing.assert_array_equal(of_left, summed_in_turn(upstream, right.T))
    np.testing.assert_array_equal(of_right, summed_in_turn(left.T, upstream))


def test_the_learning_rates_are_those_of_keras_cosine_decay() -> None:
    found = learning_rates(0.01, "cosine", epochs=4, warmup_epochs=0.5, steps=10)
    assert found.shape == (4, 10)
    assert found.dtype == np.float32
    found = found.ravel()
    keras_decay = keras.optimizers.schedules.CosineDecay(0.01, decay_steps=35)
    np.testing.assert_allclose(found[5:], [float(keras_decay(step)) for step in range(35)], rtol=1e-4)
    np.testing.assert_allclose(found[:5], [0.01 * step / 6 for step in range(1, 6)], rtol=1e-6)
    constant_rates = learning_rates(0.01, "constant", epochs=2, warmup_epochs=0.1, steps=10)
    np.testing.assert_allclose(constant_rates.ravel(), [0.005] + [0.01] * 19, rtol=1e-6)


def test_a_partial_batch_is_normalised_with_real_images() -> None:
    # The last of the two batches is 1 image, filled up: by copies of one image, its spread would be 0.
    network = small_network(batch_normalization=True)
    images, labels = IMAGES[:33], LABELS[:33]
    sums = images @ network.layers[0].get_weights()[0]
    order = np.random.default_rng([7, 0]).permutation(33)
    rates = constant(0.0, batch_size=32)[:, :2]
    list(train_epochs(network, keras.optimizers.SGD(), images, labels, batch_size=32, rates=rates, seed=7, **QUIET))
    moving = np.ones(16)
    for batch in np.resize(order, (2, 32)):
        moving = 0.99 * moving + 0.01 * sums[batch].var(axis=0)
    np.testing.assert_allclose(network.layers[1].moving_variance.numpy(), moving, rtol=1e-4)


def test_dropout_is_decided_by_the_seed() -> None:
    def weights(**changes) -> bytes:
        network = small_network(**changes)
        trained(network)
        return b"".join(layer.tobytes() for layer in network.get_weights())

    assert weights(dropout=0.5) == weights(dropout=0.5)
    assert weights(dropout=0.5) != weights(dropout=0.0)


def test_dropout_leaves_out_other_units_each_time_and_scales_up_the_others() -> None:
    layer = Dropout(0.3, seed=42)
    drop = tf.function(layer, jit_compile=True)
    first, second = (drop(np.ones((1000, 100), np.float32), training=True).numpy() for _ in range(2))
    np.testing.assert_allclose(np.unique(first), [0, 1 / 0.7], rtol=1e-6)
    assert np.mean(first == 0) == pytest.approx(0.3, abs=0.01)
    assert np.mean((first == 0) & (second == 0)) == pytest.approx(0.09, abs=0.01)  # they are independent
    assert np.abs(np.mean(first == 0, axis=0) - 0.3).max() < 0.08  # and so are units and images
    assert np.abs(np.mean(first == 0, axis=1) - 0.3).max() < 0.25
    np.testing.assert_array_equal(layer(IMAGES, training=False), IMAGES)


def test_images_are_deformed_anew_in_each_step() -> None:
    met: list[int] = []

    def augment(batch: tf.Tensor, step: tf.Tensor) -> tf.Tensor:
        return batch * 0 + tf.cast(step, tf.float32)  # all images of a step show its number

    # With a rate of 0 and a network that adds up what it sees, the loss tells the steps' numbers.
    network = small_network()
    rates = constant(0.0, batch_size=50, epochs=2)
    options = {"batch_size": 50, "rates": rates, "seed": 7, "progress": met.append, "augment": augment}
    losses = [loss for loss, _ in train_epochs(network, keras.optimizers.SGD(), IMAGES, LABELS, **options)]
    orders = [np.random.default_rng([7, epoch]).permutation(150).reshape(3, 50) for epoch in (0, 1)]
    for epoch, loss in enumerate(losses):
        seen = [(np.full((50, 20), 3 * epoch + n, np.float32), LABELS[batch]) for n, batch in enumerate(orders[epoch])]
        expected = [Predictor(network)(images, labels)[1].mean() for images, labels in seen]
        assert loss == pytest.approx(np.mean(expected), rel=1e-4)


def test_every_image_is_met_once_an_epoch_whatever_the_batch_size() -> None:
    # With a rate of 0 the network stays as it is, so that the loss of an epoch is the mean over all images.
    network = small_network()
    _, losses = Predictor(network)(IMAGES, LABELS)
    for batch_size in (1, 32, 150, 4096):
        options = {"batch_size": batch_size, "rates": constant(0.0, batch_size=batch_size), "seed": 7, **QUIET}
        [(loss, _)] = train_epochs(network, keras.optimizers.SGD(), IMAGES, LABELS, **options)
        assert loss == pytest.approx(losses.mean(), rel=1e-5)


def test_the_seed_decides_weights_and_order() -> None:
    def result(network_seed: int, order_seed: int) -> bytes:
        network = small_network(network_seed)
        trained(network, seed=order_seed)
        return b"".join(weights.tobytes() for weights in network.get_weights())

    assert result(1, 7) == result(1, 7)
    assert result(1, 7) != result(2, 7)
    assert result(1, 7) != result(1, 8)


def test_each_epoch_has_an_order_of_its_own() -> None:
    frozen = small_network()
    options = {"batch_size": 100, "rates": constant(0.1, batch_size=100, epochs=2), "seed": 7, **QUIET}
    first, second = train_epochs(frozen, keras.optimizers.SGD(), IMAGES, LABELS, **options)
    assert first[0] != second[0]


def test_prediction_does_not_depend_on_the_number_of_images() -> None:
    network = small_network()
    images = RNG.random((1203, 20), np.float32)
    labels = np.zeros(1203, np.uint8)
    together, losses = Predictor(network)(images, labels)
    np.testing.assert_array_equal(together[1000:], Predictor(network)(images[1000:], labels[1000:])[0])
    np.testing.assert_allclose(together, network.predict(images, verbose=0), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(losses, -np.log(together[:, 0]), rtol=1e-5, atol=1e-6)
