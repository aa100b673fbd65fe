"""Small data and parameters for tests that train or store a network."""

import numpy as np

from mnist.core.data import DataSummary
from mnist.core.params import read_params
from mnist.training.fit import Training
from mnist.training.params import AugmentationParams, TrainParams

RNG = np.random.default_rng(0)
IMAGES = RNG.random((150, 20), np.float32)  # with batches of 32, the last one is partial
LABELS = RNG.integers(0, 3, 150).astype(np.uint8)
DATA = DataSummary("small", "Small", ["a", "b", "c"], (4, 5), True, 4, False, "test images", {"train": 150})
PARAMS = read_params(TrainParams).model_copy(update={"hidden_units": [16, 8], "epochs": 1, "seed": 7})
NO_AUGMENTATION = read_params(AugmentationParams)


def small_params(**changes) -> TrainParams:
    """The parameters of params.yaml for a small network, with changes."""
    return PARAMS.model_copy(update=changes)


def small_training(
    images: np.ndarray = IMAGES, labels: np.ndarray = LABELS, data: DataSummary = DATA, **changes
) -> Training:
    """A training on the small data, validated on its first images."""
    split = images, labels
    return Training(small_params(**changes), NO_AUGMENTATION, data, split, (IMAGES[:30], LABELS[:30]))


def weights_of(training: Training) -> bytes:
    return b"".join(weights.tobytes() for weights in training.network.get_weights())


def train(training: Training) -> list[tuple[float, float]]:
    """Train to the end, without checkpoint and validation; return loss and accuracy of each epoch."""
    return [training.train_epoch(epoch) for epoch in range(training.params.epochs)]
