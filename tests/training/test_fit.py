"""Training does the mathematics of Keras's fit, and its seed decides the result."""

import numpy as np
import pytest
from small import IMAGES, LABELS, small_params, small_training, train, weights_of

from mnist.model.backend import keras, tf
from mnist.model.network import predict
from mnist.training.fit import Training
from mnist.training.loop import compile_steps, make_train_step
from mnist.training.schedule import learning_rates

TOLERANCE = {"float32": {"rtol": 1e-4, "atol": 1e-5}, "float64": {"rtol": 1e-7, "atol": 1e-9}}


def keras_network(training: Training) -> keras.Sequential:
    """Keras's own layers with the initial weights of a training."""
    network = keras.Sequential([keras.Input((20,))])
    for layer in training.network.layers:
        kind = next(
            kind
            for kind in (keras.layers.Dense, keras.layers.BatchNormalization, keras.layers.Activation)
            if isinstance(layer, kind)
        )
        network.add(kind.from_config(layer.get_config()))
    network.add(keras.layers.Softmax(dtype=training.precision))
    network.set_weights(training.network.get_weights())
    return network


def assert_same_weights(network: keras.Model, reference: keras.Model, precision: str) -> None:
    for mine, theirs in zip(network.get_weights(), reference.get_weights(), strict=True):
        assert mine.dtype == theirs.dtype == precision
        np.testing.assert_allclose(mine, theirs, **TOLERANCE[precision])


@pytest.mark.parametrize(
    ("optimizer", "precision"), [("adam", "float32"), ("nadam", "float32"), ("sgd", "float32"), ("adam", "float64")]
)
def test_an_epoch_equals_one_of_keras_fit_in_the_same_order(optimizer: str, precision: str) -> None:
    training = small_training(optimizer=optimizer, precision=precision)
    reference = keras_network(training)
    progress: list[int] = []
    loss, accuracy = training.train_epoch(0, progress.append)
    order = np.random.default_rng([7, 0]).permutation(len(LABELS))
    fitted = keras.optimizers.get({"class_name": optimizer, "config": {"learning_rate": 0.001}})
    reference.compile(fitted, "sparse_categorical_crossentropy", metrics=["accuracy"])
    history = reference.fit(IMAGES[order], LABELS[order], batch_size=32, shuffle=False, verbose=0).history
    assert_same_weights(training.network, reference, precision)
    assert loss == pytest.approx(history["loss"][0], rel=1e-4)
    assert accuracy == pytest.approx(history["accuracy"][0])
    assert sum(progress) == len(LABELS)


class ListedRates(keras.optimizers.schedules.LearningRateSchedule):
    def __init__(self, rates: np.ndarray) -> None:
        self.rates = rates

    def __call__(self, step):
        return keras.ops.take(self.rates, keras.ops.cast(step, "int32"))


@pytest.mark.parametrize("precision", ["float32", "float64"])
def test_all_options_of_the_recipes_together_equal_keras_fit(precision: str) -> None:
    """Batch normalisation, label smoothing, AdamW, and a cosine schedule with warm-up."""
    count = 128  # whole batches: fit normalises its last, partial one without padding
    options = {
        "batch_normalization": True,
        "precision": precision,
        "schedule": "cosine",
        "learning_rate": 0.01,
        "warmup_epochs": 1.25,
        "weight_decay": 0.1,
        "label_smoothing": 0.2,
        "epochs": 3,
    }
    training = small_training(IMAGES[:count], LABELS[:count], **options)
    reference = keras_network(training)
    assert len(train(training)) == 3
    optimizer = keras.optimizers.AdamW(ListedRates(training.rates.ravel()), weight_decay=0.1)
    optimizer.exclude_from_weight_decay(var_names=["bias", "beta", "gamma"])
    reference.compile(optimizer, keras.losses.CategoricalCrossentropy(label_smoothing=0.2, dtype=precision))
    targets = keras.utils.to_categorical(LABELS)
    for epoch in range(3):
        order = np.random.default_rng([7, epoch]).permutation(count)
        reference.fit(IMAGES[order], targets[order], batch_size=32, shuffle=False, verbose=0)
    assert_same_weights(training.network, reference, precision)


def test_the_learning_rates_are_those_of_keras_cosine_decay() -> None:
    params = small_params(learning_rate=0.01, schedule="cosine", epochs=4, warmup_epochs=0.5)
    rates = learning_rates(params, steps=10)
    assert rates.shape == (4, 10)
    assert rates.dtype == np.float32
    keras_decay = keras.optimizers.schedules.CosineDecay(0.01, decay_steps=35)
    np.testing.assert_allclose(rates.ravel()[5:], [float(keras_decay(step)) for step in range(35)], rtol=1e-4)
    np.testing.assert_allclose(rates.ravel()[:5], [0.01 * step / 6 for step in range(1, 6)], rtol=1e-6)
    constant = learning_rates(small_params(learning_rate=0.01, epochs=2, warmup_epochs=0.1), steps=10)
    np.testing.assert_allclose(constant.ravel(), [0.005] + [0.01] * 19, rtol=1e-6)


def losses_of(training: Training, images: np.ndarray) -> np.ndarray:
    return -predict(training.layers, images)[1][np.arange(len(LABELS)), LABELS]


def frozen(training: Training) -> Training:
    """The training with a learning rate of 0, so that the loss of an epoch is that of the initial weights."""
    training.rates = np.zeros_like(training.rates)
    return training


def test_a_padded_batch_is_normalised_with_real_images() -> None:
    # The last of the two batches is 1 image, padded: with copies of one image, its variance would be 0.
    training = frozen(small_training(IMAGES[:33], LABELS[:33], batch_normalization=True))
    sums = IMAGES[:33] @ training.network.layers[0].get_weights()[0]
    training.train_epoch(0)
    moving = np.ones(16)
    for batch in np.resize(np.random.default_rng([7, 0]).permutation(33), (2, 32)):
        moving = 0.99 * moving + 0.01 * sums[batch].var(axis=0)
    np.testing.assert_allclose(training.network.layers[1].moving_variance.numpy(), moving, rtol=1e-4)


def test_each_step_is_augmented_with_its_own_number() -> None:
    training = frozen(small_training(batch_size=50, epochs=2))
    steps = tf.Variable(tf.zeros(6, tf.int32))

    def augment(batch: tf.Tensor, step: tf.Tensor) -> tf.Tensor:
        steps.assign(tf.tensor_scatter_nd_add(steps, [[step]], [1]))
        return batch * 0

    train_step = make_train_step(training.network, training.optimizer, label_smoothing=0.0, augment=augment)
    training.run_steps = compile_steps(train_step, "float32")
    losses = [loss for loss, _ in train(training)]
    assert steps.numpy().tolist() == [1] * 6
    black = losses_of(training, np.zeros_like(IMAGES)).mean()
    np.testing.assert_allclose(losses, black, rtol=1e-5)  # the augmented images are those that are trained on


@pytest.mark.parametrize("batch_size", [1, 32, 150, 4096])
def test_every_image_counts_once_per_epoch(batch_size: int) -> None:
    training = frozen(small_training(batch_size=batch_size))
    assert training.train_epoch(0)[0] == pytest.approx(losses_of(training, IMAGES).mean(), rel=1e-5)


def trained_weights(**changes) -> bytes:
    training = small_training(epochs=2, **changes)
    train(training)
    return weights_of(training)


def test_the_seed_decides_the_result() -> None:
    first, again, other = (trained_weights(seed=seed) for seed in (1, 1, 2))
    assert first == again != other


def test_the_seed_decides_the_order_of_the_images_too() -> None:
    training, other = small_training(), small_training(seed=8)
    other.network.set_weights(training.network.get_weights())
    train(training)
    train(other)
    assert weights_of(training) != weights_of(other)


def test_dropout_is_decided_by_the_seed() -> None:
    first, again, without = (trained_weights(dropout=dropout) for dropout in (0.5, 0.5, 0.0))
    assert first == again != without


def test_each_epoch_has_its_own_order() -> None:
    training = small_training(epochs=2, batch_size=100)
    assert not np.array_equal(*(training.make_batches(epoch)[0] for epoch in (0, 1)))
