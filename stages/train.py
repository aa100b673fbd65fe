"""Train: fit a feed-forward network to the training images, and validate it after each epoch.

Reads data/processed/{train,validation}_{images,labels}.npy and reports/data.json;
writes models/model.keras, reports/history.csv, reports/validation.json (the last epoch's figures on the validation
images) and data/augmented/examples.npy (an image of each class, deformed as training meets it).

With train.workers above 1, as many machines train together (stages/lib/join.py, stages/lib/cluster.py): all run this
stage, the first one writes. A run that was ended goes on after its last whole epoch (stages/lib/checkpoint.py).
"""

import math
from collections.abc import Sequence
from functools import partial
from typing import Annotated, Literal

import numpy as np
from pydantic import Field
from tqdm import tqdm

from stages.lib.augmentation import Augmentation, AugmentationParams, augmented_examples
from stages.lib.backend import ComputeParams, keras, use_threads
from stages.lib.checkpoint import Checkpoint, fingerprint, identity_of, program
from stages.lib.cluster import Cluster
from stages.lib.data import Data, read_data
from stages.lib.errors import UserError, run_stage
from stages.lib.files import write_array, write_csv, write_json
from stages.lib.join import join
from stages.lib.network import Predictor, build_network, copy_weights, save_network
from stages.lib.params import Params, read_params
from stages.lib.paths import AUGMENTED, HISTORY, MODEL, VALIDATION
from stages.lib.training import learning_rates, train_epochs

COLUMNS = ["loss", "accuracy", "val_loss", "val_accuracy"]


class TrainParams(Params):
    """The network, and how it is trained."""

    section = "train"
    hidden_units: list[Annotated[int, Field(ge=1, le=16384)]]
    activation: Literal["elu", "gelu", "leaky_relu", "relu", "selu", "sigmoid", "silu", "tanh"]
    batch_normalization: bool
    dropout: Annotated[float, Field(ge=0, le=0.9)]
    optimizer: Literal["adam", "nadam", "sgd"]
    learning_rate: Annotated[float, Field(gt=0, le=10)]
    schedule: Literal["constant", "cosine"]
    warmup_epochs: Annotated[float, Field(ge=0)]
    weight_decay: Annotated[float, Field(ge=0, le=1)]
    label_smoothing: Annotated[float, Field(ge=0, le=0.9)]
    batch_size: Annotated[int, Field(ge=1, le=65536)]
    epochs: Annotated[int, Field(ge=1, le=10000)]
    precision: Literal["float32", "float64"]
    workers: Annotated[int, Field(ge=1, le=1024)]
    seed: Annotated[int, Field(ge=0, lt=2**32)]


def build_optimizer(params: TrainParams) -> keras.optimizers.Optimizer:
    """The optimiser, with decoupled weight decay (Loshchilov and Hutter 2019) of the matrices, not of the biases."""
    config = {"learning_rate": params.learning_rate, "weight_decay": params.weight_decay or None}
    optimizer = keras.optimizers.get({"class_name": params.optimizer, "config": config})
    optimizer.exclude_from_weight_decay(var_names=["bias", "beta", "gamma"])
    return optimizer


def described(row: Sequence[float]) -> str:
    """The figures of an epoch in words."""
    return ", ".join(f"{name} {value:.4f}" for name, value in zip(COLUMNS, row, strict=True))


def validate(predict: Predictor, images: np.ndarray, labels: np.ndarray, cluster: Cluster) -> tuple[float, float]:
    """Mean cross-entropy, in nats, and accuracy on the validation images, of which each worker takes its share."""
    share = cluster.share(len(labels))
    probabilities, losses = predict(images[share], labels[share])
    hits = np.count_nonzero(probabilities.argmax(axis=1) == labels[share])
    loss_sum, correct = cluster.sum_values(np.array([math.fsum(losses), hits]))
    return float(loss_sum / len(labels)), float(correct / len(labels))


def fit(
    params: TrainParams, augmentation: AugmentationParams, threads: int, data: Data, cluster: Cluster
) -> tuple[keras.Model, list[list[float]], Checkpoint]:
    """Train a network, and validate it after each epoch.

    Returns:
        The network, without what only training needs; a row of COLUMNS for each epoch; the checkpoint of the last one.

    Raises:
        UserError: the loss is no longer finite.
    """
    images, labels = data.split("train")
    validation = data.split("validation")
    build = partial(
        build_network,
        data.pixels,
        params.hidden_units,
        len(data.classes),
        activation=params.activation,
        seed=params.seed,
        name=data.dataset,
    )
    network = build(
        batch_normalization=params.batch_normalization,
        dropout=params.dropout,
        precision=params.precision,
        for_training=True,
    )
    plain = build()  # what validates and is saved: see copy_weights
    optimizer = build_optimizer(params)
    optimizer.build(network.trainable_variables)
    steps = math.ceil(len(labels) / params.batch_size)
    augment = None
    if augmentation.enabled:
        gentle_from = steps * (params.epochs - augmentation.gentle_epochs) if augmentation.gentle_epochs else None
        augment = Augmentation(augmentation, data.image_shape, params.seed, gentle_from)
    predict = Predictor(plain)
    identity = identity_of((params, augmentation, threads, *program()), (images, labels, *validation), cluster)
    checkpoint = Checkpoint(identity, [*network.variables, *optimizer.variables], cluster)
    history = checkpoint.load()
    copy_weights(network, plain)
    with tqdm(total=len(labels), unit=" images", leave=False, disable=None if cluster.chief else True) as bar:
        if history:
            bar.write(f"going on after epoch {len(history)}/{params.epochs}, which an earlier run had reached")
        epochs = train_epochs(
            network,
            optimizer,
            images,
            labels,
            batch_size=params.batch_size,
            rates=learning_rates(
                params.learning_rate,
                params.schedule,
                epochs=params.epochs,
                warmup_epochs=params.warmup_epochs,
                steps=steps,
            ),
            label_smoothing=params.label_smoothing,
            augment=augment,
            seed=params.seed,
            first_epoch=len(history),
            cluster=cluster,
            progress=bar.update,
        )
        for epoch, (loss, accuracy) in enumerate(epochs, len(history) + 1):
            copy_weights(network, plain)
            row = [round(value, 6) for value in (loss, accuracy, *validate(predict, *validation, cluster))]
            if not all(map(math.isfinite, row)):
                checkpoint.delete()
                raise UserError(
                    f"the loss is {loss} in epoch {epoch}: training diverged; "
                    f"params.yaml: lower train.learning_rate, now {params.learning_rate}"
                )
            history.append(row)
            checkpoint.save(history)
            if cluster.chief:
                bar.write(f"epoch {epoch}/{params.epochs}: " + described(row))
            bar.reset()
    return plain, history, checkpoint


def main() -> None:
    """Run the stage."""
    params = read_params(TrainParams)
    augmentation = read_params(AugmentationParams)
    threads = read_params(ComputeParams).threads
    if params.warmup_epochs >= params.epochs:
        raise UserError(
            f"params.yaml: train.warmup_epochs is {params.warmup_epochs}, but should be less than train.epochs, "
            f"{params.epochs}"
        )
    if augmentation.gentle_epochs > params.epochs:
        raise UserError(
            f"params.yaml: augmentation.gentle_epochs is {augmentation.gentle_epochs}, but should be at most "
            f"train.epochs, {params.epochs}"
        )
    use_threads(threads)
    data = read_data()
    if params.workers > data.sizes["train"]:
        raise UserError(f"params.yaml: train.workers is {params.workers}, more than there are training images")
    cluster = join(params.workers)
    with cluster.losses_named():
        network, history, checkpoint = fit(params, augmentation, threads, data, cluster)
        cluster.agree(fingerprint(*network.get_weights()), "has not the same weights as worker 0 in the end")
    last = dict(zip(COLUMNS, history[-1], strict=True))
    if cluster.chief:
        save_network(network, MODEL)
        augment = Augmentation(augmentation, data.image_shape, params.seed)
        write_array(AUGMENTED, augmented_examples(augment, *data.split("train"), len(data.classes)))
        write_csv(HISTORY, ["epoch", *COLUMNS], ([epoch, *row] for epoch, row in enumerate(history, 1)))
        write_json(VALIDATION, {name: last[name] for name in ("val_accuracy", "val_loss")})
        checkpoint.delete()
    print(f"train: {network.count_params():,} weights, validation accuracy {last['val_accuracy']:.4f}")


if __name__ == "__main__":
    run_stage(main)
