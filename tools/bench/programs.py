"""Programs that `tools.bench` runs: `python -m tools.bench.programs FUNCTION [ARGUMENT ...]`, in a prepared clone.

Those that train print `start`, and a line with val_accuracy after each epoch.
"""
# ruff: noqa: ANN001, ANN202, of functions within functions
# mypy: disable-error-code="import-not-found, import-untyped"

import gzip
import hashlib
import json
import shutil
import sys
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits

from mnist.core.params import read_yaml


def read_inputs() -> list[Any]:
    """Section `train` of params.yaml; images, float32 (n, 784), and labels, uint8 (n,), of train and of test."""
    names = "train_images", "train_labels", "test_images", "test_labels"
    return [read_yaml(Path("params.yaml"))["train"], *(np.load(f"data/processed/{name}.npy") for name in names)]


def train_pipeline() -> None:
    """Run the train stage, and print `start` when its training starts."""
    from mnist.training.fit import Training
    from stages.train import main

    original_run = Training.run

    def run(training: Training) -> list[list[float]]:
        print("start")
        return original_run(training)

    Training.run = run  # type: ignore[assignment, method-assign]
    main()


def train_with_stock_layers() -> None:
    """Run the train stage with the products, sums and gradients of Keras's own layers, which XLA may reorder."""
    from mnist.model.backend import keras
    from mnist.training import build
    from stages.train import main

    build.Dense, build.BatchNormalization = keras.layers.Dense, keras.layers.BatchNormalization  # type: ignore[attr-defined]
    main()


def train_sklearn() -> None:
    """Train scikit-learn's classifier; its defaults are Adam and a learning rate of 0.001."""
    from sklearn.neural_network import MLPClassifier

    params, images, labels, test_images, test_labels = read_inputs()
    network = MLPClassifier((128, 64), alpha=0, batch_size=32, random_state=params["seed"])
    print("start")
    for _ in range(params["epochs"]):
        network.partial_fit(images, labels, classes=range(10))
        print(f"val_accuracy {network.score(test_images, test_labels):.4f}")


def train_torch() -> None:
    """Train with PyTorch: batches by `index_select`, Adam in one fused operation, not compiled."""
    import torch
    from torch import nn

    params, *arrays = read_inputs()
    images, labels, test_images, test_labels = map(torch.from_numpy, arrays)
    labels = labels.long()
    torch.manual_seed(params["seed"])
    layers = nn.Linear(784, 128), nn.ReLU(), nn.Linear(128, 64), nn.ReLU(), nn.Linear(64, 10)
    network, loss = nn.Sequential(*layers), nn.CrossEntropyLoss()
    optimizer = torch.optim.Adam(network.parameters(), fused=True)
    print("start")
    for _ in range(params["epochs"]):
        for rows in torch.randperm(len(labels)).split(32):
            optimizer.zero_grad()
            loss(network(images.index_select(0, rows)), labels.index_select(0, rows)).backward()
            optimizer.step()
        with torch.no_grad():
            print(f"val_accuracy {(network(test_images).argmax(1) == test_labels).float().mean():.4f}")


def train_jax() -> None:
    """Train with JAX, an epoch per jitted `lax.scan`; an incomplete last batch is left out."""
    import jax
    from jax.example_libraries import optimizers, stax

    params, *arrays = read_inputs()
    images, labels, test_images, test_labels = map(jax.numpy.asarray, arrays)
    hidden = stax.Dense(128), stax.Relu, stax.Dense(64), stax.Relu
    initialize, predict = stax.serial(*hidden, stax.Dense(10), stax.LogSoftmax)
    start, update, weights = optimizers.adam(0.001)
    gradient = jax.grad(lambda weights, images, labels: -predict(weights, images)[np.arange(32), labels].mean())

    @jax.jit
    def train_epoch(state, images, labels, batches):
        def train_step(state, batch):
            step, rows = batch
            return update(step, gradient(weights(state), images[rows], labels[rows]), state), None

        return jax.lax.scan(train_step, state, batches)[0]

    score = jax.jit(lambda state, images, labels: (predict(weights(state), images).argmax(1) == labels).mean())
    random = np.random.default_rng(params["seed"])
    state = start(initialize(jax.random.key(params["seed"]), (-1, 784))[1])
    print("start")
    for epoch in range(params["epochs"]):
        rows = random.permutation(len(labels))[: len(labels) // 32 * 32].reshape(-1, 32)
        state = train_epoch(state, images, labels, (epoch * len(rows) + np.arange(len(rows)), rows))
        print(f"val_accuracy {score(state, test_images, test_labels):.4f}")


def multiply(threads: str) -> None:
    """Compute only the matrix products of training, by NumPy on a number of threads."""
    params, _, labels, *_ = read_inputs()
    layers = list(pairwise([784, *params["hidden_units"], 10]))
    shapes = [(params["batch_size"], inputs, outputs) for inputs, outputs in layers]
    shapes += [(k, m, n) for m, k, n in shapes] + [(m, n, k) for m, k, n in shapes[1:]]  # gradients
    random = np.random.default_rng(0)
    pairs = [(random.random((m, k), np.float32), random.random((k, n), np.float32)) for m, k, n in shapes]
    results = [np.empty((m, n), np.float32) for m, _, n in shapes]
    with threadpool_limits(int(threads)):
        for _ in range(params["epochs"]):
            for _ in range(0, len(labels), params["batch_size"]):
                for (left, right), result in zip(pairs, results, strict=True):
                    np.matmul(left, right, out=result)
            print("val_accuracy 0")


def tile_mnist(source: str, target: str, images: str) -> None:
    """Write MNIST with a number of training images, its own repeated or cut off, and tiled.yaml for datasets/."""
    folder, files = Path(target), {}
    folder.mkdir()
    for path in Path(source).glob("*-ubyte.gz"):
        content = gzip.decompress(path.read_bytes())
        if path.name.startswith("train"):
            header, size = (16, 784) if "images" in path.name else (8, 1)  # bytes of the header, and per image
            values = np.resize(np.frombuffer(content, np.uint8, offset=header), int(images) * size)
            content = content[:4] + int(images).to_bytes(4) + content[8:header] + values.tobytes()
        published = gzip.compress(content, 1)
        (folder / path.name).write_bytes(published)
        files[path.name] = {"size": len(published), "sha256": hashlib.sha256(published).hexdigest()}
    entry = {"title": f"MNIST, {images} images", "mirrors": [target], "files": files, "classes": list("0123456789")}
    (folder / "tiled.yaml").write_text(json.dumps(entry))


def make_empty_pipeline() -> None:
    """Leave of a clone only git, DVC and as many stages as it had, which copy a file of one line."""
    names = [f"{n}.txt" for n in range(len(read_yaml(Path("dvc.yaml"))["stages"]) + 1)]
    for path in Path().iterdir():
        if path.name not in (".git", ".dvc"):
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    Path("0.txt").write_text("one line\n")
    stages = {f"copy{n}": {"cmd": f"cp {a} {b}", "deps": [a], "outs": [b]} for n, (a, b) in enumerate(pairwise(names))}
    Path("dvc.yaml").write_text(json.dumps({"stages": stages}))


if __name__ == "__main__":
    globals()[sys.argv[1]](*sys.argv[2:])
