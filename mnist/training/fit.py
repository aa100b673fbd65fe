"""Fitting the network of params.yaml: build, train, validate after each epoch, resume after an interruption."""

import math
from collections.abc import Sequence

import numpy as np
from tqdm import tqdm

from mnist.core.data import DataSummary
from mnist.core.errors import UserError
from mnist.model.backend import keras
from mnist.model.network import NetworkConfig, build_network, fold_batch_norm, predict
from mnist.model.weights import DenseLayer
from mnist.training.augmentation import Augmentation
from mnist.training.checkpoint import Checkpoint, code_and_versions, fingerprint
from mnist.training.loop import LoopConfig, Trainer
from mnist.training.params import AugmentationParams, TrainParams
from mnist.training.schedule import learning_rates

COLUMNS = ["loss", "accuracy", "val_loss", "val_accuracy"]


def build_optimizer(params: TrainParams) -> keras.optimizers.Optimizer:
    """The optimiser, with decoupled weight decay (Loshchilov and Hutter 2019) of the kernels, not of the biases."""
    config = {"learning_rate": params.learning_rate, "weight_decay": params.weight_decay or None}
    optimizer = keras.optimizers.get({"class_name": params.optimizer, "config": config})
    optimizer.exclude_from_weight_decay(var_names=["bias", "beta", "gamma"])
    return optimizer


def format_epoch(row: Sequence[float]) -> str:
    """The metrics of an epoch as text."""
    return ", ".join(f"{name} {value:.4f}" for name, value in zip(COLUMNS, row, strict=True))


def sum_validation(layers: list[DenseLayer], images: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """The sum of the cross-entropy, in nats, and the number of correct predictions; float64 (2,)."""
    probabilities, losses = predict(layers, images, labels)
    return np.array([math.fsum(losses), np.count_nonzero(probabilities.argmax(axis=1) == labels)])


class Training:
    """A training of the network that params.yaml describes."""

    is_chief = True

    def __init__(self, params: TrainParams, augmentation: AugmentationParams, threads: int, data: DataSummary) -> None:
        """Build the network and the loop; `threads` is part of what decides the result."""
        self.params, self.decided_by = params, (params, augmentation, threads)
        self.images, self.labels = data.load_split("train")
        self.validation = data.load_split("validation")
        network = NetworkConfig(
            name=data.dataset,
            pixels=data.pixels,
            classes=len(data.classes),
            hidden_units=params.hidden_units,
            activation=params.activation,
            seed=params.seed,
            batch_normalization=params.batch_normalization,
            dropout=params.dropout,
            precision=params.precision,
        )
        self.network = build_network(network)
        steps = math.ceil(len(self.labels) / params.batch_size)
        loop = LoopConfig(
            batch_size=params.batch_size,
            rates=learning_rates(
                params.learning_rate,
                params.schedule,
                epochs=params.epochs,
                warmup_epochs=params.warmup_epochs,
                steps=steps,
            ),
            seed=params.seed,
            label_smoothing=params.label_smoothing,
            augment=self._augmentation(augmentation, data, steps) if augmentation.enabled else None,
        )
        self.trainer = self.make_trainer(build_optimizer(params), loop)

    def _augmentation(self, augmentation: AugmentationParams, data: DataSummary, steps: int) -> Augmentation:
        half_from = None
        if augmentation.half_strength_epochs:
            half_from = steps * (self.params.epochs - augmentation.half_strength_epochs)
        return Augmentation(augmentation, data.image_shape, self.params.seed, half_from)

    def make_trainer(self, optimizer: keras.optimizers.Optimizer, config: LoopConfig) -> Trainer:
        """The loop."""
        return Trainer(self.network, optimizer, self.images, self.labels, config)

    def make_checkpoint(self) -> Checkpoint:
        """The checkpoint of this training and of no other."""
        decided_by = fingerprint(*self.decided_by, *code_and_versions())
        run_fingerprint = fingerprint(decided_by, self.images, self.labels, *self.validation)
        return Checkpoint(run_fingerprint, self.variables)

    @property
    def variables(self) -> list[keras.Variable]:
        """All variables that a step reads and changes."""
        return [*self.network.variables, *self.trainer.optimizer.variables]

    @property
    def layers(self) -> list[DenseLayer]:
        """The network as it is used for inference."""
        return fold_batch_norm(self.network, self.params.activation)

    def validate(self) -> tuple[float, float]:
        """Mean cross-entropy, in nats, and accuracy on the validation images."""
        loss, correct = sum_validation(self.layers, *self.validation) / len(self.validation[1])
        return float(loss), float(correct)

    def resume(self) -> list[list[float]]:
        """Load the checkpoint of an interrupted training; return its history, empty if there is none."""
        self.checkpoint = self.make_checkpoint()
        return self.checkpoint.load()

    def run(self) -> list[list[float]]:
        """Train to the last epoch; return the history, a row of COLUMNS per epoch.

        Raises:
            UserError: the loss is no longer finite.
        """
        epochs = self.params.epochs
        history = self.resume()
        with tqdm(total=len(self.labels), unit=" images", leave=False, disable=None) as bar:
            if history:
                bar.write(f"resuming after epoch {len(history)}/{epochs}")
            for epoch in range(len(history), epochs):
                history.append(self.run_epoch(epoch, bar))
                self.checkpoint.save(history)
                bar.write(f"epoch {epoch + 1}/{epochs}: {format_epoch(history[-1])}")
                bar.reset()
        return history

    def run_epoch(self, epoch: int, bar: tqdm) -> list[float]:
        """Train and validate for one epoch, numbered from 0; return its row of COLUMNS."""
        loss, accuracy = self.trainer.train_epoch(epoch, bar.update)
        row = [round(value, 6) for value in (loss, accuracy, *self.validate())]
        if not all(map(math.isfinite, row)):
            self.checkpoint.delete()
            raise UserError(
                f"the loss is {loss} in epoch {epoch + 1}: training diverged; "
                f"params.yaml: lower train.learning_rate, now {self.params.learning_rate}"
            )
        return row
