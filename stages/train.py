"""Train: fit a feed-forward network to the training images, and validate it after each epoch.

Reads data/processed/{train,validation}_{images,labels}.npy and reports/data.json;
writes models/model.keras, reports/history.csv, reports/validation.json (the last epoch's figures on the validation
images) and data/augmented/examples.npy (an image of each class, deformed as training meets it).
"""

import math
from functools import partial
from typing import Annotated, Literal

import numpy as np
from pydantic import Field
from tqdm import tqdm

from stages.lib.augmentation import Augmentation, AugmentationParams, augmented_examples
from stages.lib.backend import ComputeParams, keras, use_threads
from stages.lib.data import read_data
from stages.lib.errors import UserError, run_stage
from stages.lib.files import write_array, write_csv, write_json
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
    seed: Annotated[int, Field(ge=0, lt=2**32)]


def build_optimizer(params: TrainParams) -> keras.optimizers.Optimizer:
    """The optimiser, with decoupled weight decay (Loshchilov and Hutter 2019) of the matrices, not of the biases."""
    config = {"learning_rate": params.learning_rate, "weight_decay": params.weight_decay or None}
    optimizer = keras.optimizers.get({"class_name": params.optimizer, "config": config})
    optimizer.exclude_from_weight_decay(var_names=["bias", "beta", "gamma"])
    return optimizer


def described(row: list[float]) -> str:
    """The figures of an epoch in words."""
    return ", ".join(f"{name} {value:.4f}" for name, value in zip(COLUMNS, row, strict=True))


def main() -> None:
    """Run the stage."""
    params = read_params(TrainParams)
    augmentation = read_params(AugmentationParams)
    if params.warmup_epochs >= params.epochs:
        raise UserError(
            f"params.yaml: train.warmup_epochs is {params.warmup_epochs}, but should be less than train.epochs, "
            f"{params.epochs}"
        )
    use_threads(read_params(ComputeParams).threads)
    data = read_data()
    images, labels = data.split("train")
    validation_images, validation_labels = data.split("validation")
    build = partial(
        build_network,
        data.pixels,
        params.hidden_units,
        len(data.classes),
        activation=params.activation,
        seed=params.seed,
        name=data.dataset,
    )
    network = build(batch_normalization=params.batch_normalization, dropout=params.dropout)
    plain = build()  # what validates and is saved: see copy_weights
    augment = Augmentation(augmentation, data.image_shape, params.seed)
    predict = Predictor(plain)
    history = []
    with tqdm(total=len(labels), unit=" images", leave=False, disable=None) as bar:
        epochs = train_epochs(
            network,
            build_optimizer(params),
            images,
            labels,
            batch_size=params.batch_size,
            rates=learning_rates(
                params.learning_rate,
                params.schedule,
                epochs=params.epochs,
                warmup_epochs=params.warmup_epochs,
                steps=math.ceil(len(labels) / params.batch_size),
            ),
            label_smoothing=params.label_smoothing,
            augment=augment if augmentation.enabled else None,
            seed=params.seed,
            progress=bar.update,
        )
        for epoch, (loss, accuracy) in enumerate(epochs, 1):
            copy_weights(network, plain)
            probabilities, losses = predict(validation_images, validation_labels)
            val_loss = math.fsum(losses) / len(losses)
            val_accuracy = float(np.mean(probabilities.argmax(axis=1) == validation_labels))
            row = [round(value, 6) for value in (loss, accuracy, val_loss, val_accuracy)]
            if not all(map(math.isfinite, row)):
                raise UserError(
                    f"the loss is {loss} in epoch {epoch}: training diverged; "
                    f"params.yaml: lower train.learning_rate, now {params.learning_rate}"
                )
            history.append([epoch, *row])
            bar.write(f"epoch {epoch}/{params.epochs}: " + described(row))
            bar.reset()
    save_network(plain, MODEL)
    write_array(AUGMENTED, augmented_examples(augment, images, labels, len(data.classes)))
    write_csv(HISTORY, ["epoch", *COLUMNS], history)
    last = dict(zip(COLUMNS, history[-1][1:], strict=True))
    write_json(VALIDATION, {name: last[name] for name in ("val_accuracy", "val_loss")})
    print(f"train: {plain.count_params():,} weights, validation accuracy {last['val_accuracy']:.4f}")


if __name__ == "__main__":
    run_stage(main)
