"""The compiled training loop does the mathematics of Keras's fit, and is decided by its seed."""

import numpy as np
import pytest

from stages.lib.backend import keras, use_threads
from stages.lib.network import Predictor, build_network
from stages.lib.training import train_epochs

use_threads(2)
RNG = np.random.default_rng(0)
IMAGES = RNG.random((150, 20), np.float32)  # with batches of 32, the last one is partial
LABELS = RNG.integers(0, 3, 150).astype(np.uint8)


def small_network(seed: int = 1) -> keras.Sequential:
    return build_network(20, [16, 8], 3, activation="relu", seed=seed, name="small")


def trained(network: keras.Sequential, **changes) -> list[tuple[float, float]]:
    options = {"batch_size": 32, "epochs": 2, "seed": 7, "progress": lambda images: None} | changes
    return list(train_epochs(network, keras.optimizers.Adam(0.01), IMAGES, LABELS, **options))


@pytest.mark.parametrize("optimizer", ["adam", "sgd", "rmsprop"])
def test_an_epoch_equals_one_of_fit_on_the_same_order(optimizer: str) -> None:
    ours, reference = small_network(), small_network()
    seen: list[int] = []
    [(loss, accuracy)] = train_epochs(
        ours, keras.optimizers.get(optimizer), IMAGES, LABELS, batch_size=32, epochs=1, seed=7, progress=seen.append
    )
    order = np.random.default_rng([7, 0]).permutation(len(LABELS))
    reference.compile(keras.optimizers.get(optimizer), "sparse_categorical_crossentropy", metrics=["accuracy"])
    history = reference.fit(IMAGES[order], LABELS[order], batch_size=32, shuffle=False, verbose=0).history
    for mine, theirs in zip(ours.get_weights(), reference.get_weights(), strict=True):
        np.testing.assert_allclose(mine, theirs, rtol=1e-4, atol=1e-5)
    assert loss == pytest.approx(history["loss"][0], rel=1e-4)
    assert accuracy == pytest.approx(history["accuracy"][0])
    assert sum(seen) == len(LABELS)


def test_every_image_is_met_once_an_epoch_whatever_the_batch_size() -> None:
    # With a rate of 0 the network stays as it is, so that the loss of an epoch is the mean over all images.
    network = small_network()
    _, losses = Predictor(network)(IMAGES, LABELS)
    for batch_size in (1, 32, 150, 4096):
        options = {"batch_size": batch_size, "epochs": 1, "seed": 7, "progress": lambda images: None}
        [(loss, _)] = train_epochs(network, keras.optimizers.SGD(0.0), IMAGES, LABELS, **options)
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
    options = {"batch_size": 100, "epochs": 2, "seed": 7, "progress": lambda images: None}
    first, second = train_epochs(frozen, keras.optimizers.SGD(0.1), IMAGES, LABELS, **options)
    assert first[0] != second[0]


def test_prediction_does_not_depend_on_the_number_of_images() -> None:
    network = small_network()
    images = RNG.random((1203, 20), np.float32)
    labels = np.zeros(1203, np.uint8)
    together, losses = Predictor(network)(images, labels)
    np.testing.assert_array_equal(together[1000:], Predictor(network)(images[1000:], labels[1000:])[0])
    np.testing.assert_allclose(together, network.predict(images, verbose=0), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(losses, -np.log(together[:, 0]), rtol=1e-5, atol=1e-6)
