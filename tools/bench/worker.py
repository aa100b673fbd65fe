"""What `tools.bench` measures inside a process of its own: `python -m tools.bench.worker KIND ARGUMENTS`.

KIND is a function below, ARGUMENTS its arguments as JSON; the result is printed as one line of JSON. TensorFlow is
imported by the functions, because the two sides to compare set it up differently.
"""

import gzip
import hashlib
import json
import math
import shutil
import struct
import sys
import time
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import yaml

Halves = tuple[tuple[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]

TRAIN_IMAGES, TRAIN_LABELS = "train-images-idx3-ubyte.gz", "train-labels-idx1-ubyte.gz"
TEST_IMAGES, TEST_LABELS = "t10k-images-idx3-ubyte.gz", "t10k-labels-idx1-ubyte.gz"


def load_data(raw: Path) -> Halves:
    """What Keras's `mnist.load_data()` returns, read from the published files: no network, and nothing cached."""

    def read(name: str, header: int) -> np.ndarray:
        return np.frombuffer(gzip.decompress((raw / name).read_bytes()), np.uint8, offset=header)

    return (
        (read(TRAIN_IMAGES, 16).reshape(-1, 28, 28), read(TRAIN_LABELS, 8)),
        (read(TEST_IMAGES, 16).reshape(-1, 28, 28), read(TEST_LABELS, 8)),
    )


def durations(start: float, ends: list[float]) -> list[float]:
    """The seconds of each epoch, from when the first one starts and each one ends."""
    return [end - begin for begin, end in zip([start, *ends], ends, strict=False)]


def fit(
    *,
    checkout: str,
    hidden_units: list[int],
    batch_size: int,
    epochs: int,
    seed: int,
    images: int,
    validate: bool,
    compile_with: dict[str, Any] | None = None,
) -> dict[str, Any]:
    """Train as the tutorial does, with TensorFlow as it comes: none of the settings in mnist.model.backend.

    Args:
        checkout: a checkout whose data/raw holds MNIST.
        hidden_units: of each layer; the tutorial's are 128 and 64.
        batch_size: images a step; the tutorial's is 32.
        epochs: passes over the images; the tutorial's are 10.
        seed: Keras's seed; the tutorial sets none.
        images: train on the first so many.
        validate: on the test images after each epoch, as the tutorial does.
        compile_with: further arguments of `compile`; the tutorial has none.

    Returns:
        Seconds of each epoch, the first with compilation, and if it validates the last accuracy on the test images.
    """
    import keras

    (train_images, train_labels), (test_images, test_labels) = load_data(Path(checkout, "data/raw"))
    train_images = (train_images[:images] / 255.0).reshape(-1, 28 * 28)
    test_images = (test_images / 255.0).reshape(-1, 28 * 28)
    keras.utils.set_random_seed(seed)
    network = keras.Sequential([keras.Input((784,))])
    for units in hidden_units:
        network.add(keras.layers.Dense(units, activation="relu"))
    network.add(keras.layers.Dense(10, activation="softmax"))
    network.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"], **(compile_with or {}))
    ends: list[float] = []
    start = time.perf_counter()
    history = network.fit(
        train_images,
        train_labels[:images],
        validation_data=(test_images, test_labels) if validate else None,
        epochs=epochs,
        batch_size=batch_size,
        verbose=0,
        callbacks=[keras.callbacks.LambdaCallback(on_epoch_end=lambda *_: ends.append(time.perf_counter()))],
    )
    accuracy = history.history["val_accuracy"][-1] if validate else None
    return {"epochs": durations(start, ends), "accuracy": accuracy}


def loop(
    *, checkout: str, hidden_units: list[int], batch_size: int, epochs: int, seed: int, images: int, validate: bool
) -> dict[str, Any]:
    """Train as stages/train.py does; arguments and result as of `fit`.

    The checkout's data/processed must hold all training images in train, and the test images in validation.
    """
    from mnist.core.files import read_array
    from mnist.core.params import read_params
    from mnist.model.backend import ComputeParams, keras, use_threads
    from mnist.model.network import Predictor, build_network
    from mnist.training.loop import learning_rates, train_epochs

    use_threads(read_params(ComputeParams).threads)
    processed = Path(checkout, "data/processed")
    train_images, test_images = (
        read_array(processed / f"{split}_images.npy", np.float32, (None, 784)) for split in ("train", "validation")
    )
    train_labels, test_labels = (
        read_array(processed / f"{split}_labels.npy", np.uint8, (None,)) for split in ("train", "validation")
    )
    network = build_network(784, hidden_units, 10, activation="relu", seed=seed, name="mnist", for_training=True)
    predict = Predictor(network)
    steps = math.ceil(len(train_labels[:images]) / batch_size)
    accuracy = None
    ends: list[float] = []
    start = time.perf_counter()
    for _ in train_epochs(
        network,
        keras.optimizers.Adam(0.001),
        train_images[:images],
        train_labels[:images],
        batch_size=batch_size,
        rates=learning_rates(0.001, "constant", epochs=epochs, warmup_epochs=0, steps=steps),
        seed=seed,
        progress=lambda _: None,
    ):
        if validate:
            probabilities, losses = predict(test_images, test_labels)
            math.fsum(losses)  # the stage's val_loss: part of its time
            accuracy = float(np.mean(probabilities.argmax(axis=1) == test_labels))
        ends.append(time.perf_counter())
    return {"epochs": durations(start, ends), "accuracy": accuracy}


def products(*, layers: list[int], batch_size: int, seconds: float) -> dict[str, Any]:
    """Multiply, with numpy alone, the matrices that a training step of dense layers multiplies.

    Args:
        layers: sizes, input to output.
        batch_size: images a step.
        seconds: repeat for so long.

    Returns:
        Steps a second.
    """
    random = np.random.default_rng(0)
    pairs = []
    for number, (inputs, outputs) in enumerate(pairwise(layers)):
        values, weights, gradients = (
            random.random(shape, np.float32)
            for shape in ((batch_size, inputs), (inputs, outputs), (batch_size, outputs))
        )
        pairs += [(values, weights), (values.T, gradients)]
        if number:  # nothing needs the gradient of the images
            pairs.append((gradients, weights.T))
    results = [np.empty((a.shape[0], b.shape[1]), np.float32) for a, b in pairs]

    def step() -> None:
        for (a, b), result in zip(pairs, results, strict=True):
            np.matmul(a, b, out=result)

    step()  # wakes the threads
    steps, start = 0, time.perf_counter()
    while (elapsed := time.perf_counter() - start) < seconds:
        step()
        steps += 1
    return {"steps_per_second": steps / elapsed}


def tile(*, raw: str, checkout: str, images: int) -> dict[str, Any]:
    """Write MNIST with its training images repeated up to a number, as data set `tiled` of a checkout."""
    source, target = Path(raw), Path(checkout, "data/raw")
    target.mkdir(parents=True, exist_ok=True)
    for name in (TEST_IMAGES, TEST_LABELS):
        shutil.copy(source / name, target / name)
    for name, values in zip((TRAIN_IMAGES, TRAIN_LABELS), load_data(source)[0], strict=True):
        with gzip.open(target / name, "wb", compresslevel=1) as file:
            shape = (images, *values.shape[1:])
            file.write(struct.pack(f">BBBB{len(shape)}I", 0, 0, 8, len(shape), *shape))
            for start in range(0, images, len(values)):
                file.write(values[: images - start].tobytes())
    files = {path.name: {"size": path.stat().st_size, "sha256": sha256(path)} for path in target.iterdir()}
    entry = {"title": f"MNIST, {images:,} images", "mirrors": [], "files": files, "classes": list("0123456789")}
    with Path(checkout, "mnist/dataset/datasets.yaml").open("a", encoding="utf-8") as catalogue:
        catalogue.write("\n" + yaml.safe_dump({"tiled": entry}))
    return {}


def sha256(path: Path) -> str:
    """The SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


if __name__ == "__main__":
    kinds = {function.__name__: function for function in (fit, loop, products, tile)}
    print(json.dumps(kinds[sys.argv[1]](**json.loads(sys.argv[2]))))
