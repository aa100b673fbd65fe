"""Train: fit a feed-forward network to the training images, and validate it after each epoch.

Reads data/processed/{train,validation}_{images,labels}.npy and reports/data.json;
writes models/model.keras and reports/history.csv.
"""

import math
from typing import Annotated, Literal

import numpy as np
from pydantic import Field
from tqdm import tqdm

from stages.lib.backend import ComputeParams, keras, use_threads
from stages.lib.data import read_data
from stages.lib.errors import UserError, run_stage
from stages.lib.files import write_csv
from stages.lib.network import Predictor, build_network, save_network
from stages.lib.params import Params, read_params
from stages.lib.paths import HISTORY, MODEL
from stages.lib.training import train_epochs

COLUMNS = ["loss", "accuracy", "val_loss", "val_accuracy"]


class TrainParams(Params):
    """The network, and how it is trained."""

    section = "train"
    hidden_units: list[Annotated[int, Field(ge=1, le=16384)]]
    activation: Literal["elu", "gelu", "leaky_relu", "relu", "selu", "sigmoid", "silu", "tanh"]
    optimizer: Literal["adam", "adamw", "nadam", "rmsprop", "sgd"]
    learning_rate: Annotated[float, Field(gt=0, le=10)]
    batch_size: Annotated[int, Field(ge=1, le=65536)]
    epochs: Annotated[int, Field(ge=1, le=10000)]
    seed: Annotated[int, Field(ge=0, lt=2**32)]


def described(row: list[float]) -> str:
    """The figures of an epoch in words."""
    return ", ".join(f"{name} {value:.4f}" for name, value in zip(COLUMNS, row, strict=True))


def main() -> None:
    """Run the stage."""
    params = read_params(TrainParams)
    use_threads(read_params(ComputeParams).threads)
    data = read_data()
    images, labels = data.split("train")
    validation_images, validation_labels = data.split("validation")
    network = build_network(
        data.pixels,
        params.hidden_units,
        len(data.classes),
        activation=params.activation,
        seed=params.seed,
        name=data.dataset,
    )
    optimizer = keras.optimizers.get(
        {"class_name": params.optimizer, "config": {"learning_rate": params.learning_rate}}
    )
    predict = Predictor(network)
    history = []
    with tqdm(total=len(labels), unit=" images", leave=False, disable=None) as bar:
        epochs = train_epochs(
            network,
            optimizer,
            images,
            labels,
            batch_size=params.batch_size,
            epochs=params.epochs,
            seed=params.seed,
            progress=bar.update,
        )
        for epoch, (loss, accuracy) in enumerate(epochs, 1):
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
    save_network(network, MODEL)
    write_csv(HISTORY, ["epoch", *COLUMNS], history)
    print(f"train: {network.count_params():,} weights, validation accuracy {history[-1][-1]:.4f}")


if __name__ == "__main__":
    run_stage(main)
