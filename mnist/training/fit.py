"""Fitting a network: train an epoch, validate, save a checkpoint, until the last epoch."""

import math
from collections.abc import Callable

import numpy as np
from tqdm import tqdm

from mnist.core.data import DataSummary
from mnist.core.errors import UserError
from mnist.model.backend import keras, tf
from mnist.model.network import predict
from mnist.model.weights import DenseLayer
from mnist.training.augmentation import Augmentation
from mnist.training.build import build_network, build_optimizer, fold_batch_norm
from mnist.training.checkpoint import Checkpoint, code_and_versions, fingerprint
from mnist.training.loop import compile_steps, make_train_step, pad_batches, shuffled
from mnist.training.params import AugmentationParams, TrainParams
from mnist.training.schedule import learning_rates

COLUMNS = ["loss", "accuracy", "val_loss", "val_accuracy"]
CALL_IMAGES = 16384  # images per compiled call, about; progress and Ctrl-C are handled between calls

Split = tuple[np.ndarray, np.ndarray]  # images, float32 (n, pixels), 0 to 1, and labels, integers (n,)


class Training:
    """A training of the network that params.yaml describes; the images may be memory-mapped, and are not copied."""

    is_chief = True

    def __init__(
        self, params: TrainParams, augmentation: AugmentationParams, data: DataSummary, train: Split, validation: Split
    ) -> None:
        self.params, self.decided_by = params, (params, augmentation, data.image_shape, len(data.classes))
        self.train, self.validation, self.count = train, validation, len(train[1])
        self.network, self.optimizer = build_network(params, data), build_optimizer(params)
        self.optimizer.build(self.network.trainable_variables)
        self.precision = self.network.trainable_variables[0].dtype
        steps = math.ceil(self.count / params.batch_size)
        self.rates = learning_rates(params, steps)
        half_epochs = augmentation.half_strength_epochs
        half_from = steps * (params.epochs - half_epochs) if half_epochs else None
        self.augment = Augmentation(augmentation, data.image_shape, params.seed, half_from)
        self.run_steps = self.make_run_steps()

    def make_run_steps(self) -> Callable[..., tuple]:
        """Compile the training step."""
        augment = self.augment if self.augment.params.enabled else None
        train_step = make_train_step(self.network, self.optimizer, self.params.label_smoothing, augment)
        return compile_steps(train_step, self.precision)

    def make_batches(self, epoch: int) -> tuple[np.ndarray, ...]:
        """The batches of an epoch, numbered from 0."""
        return pad_batches(shuffled(self.count, self.params.seed, epoch), self.params.batch_size)

    def make_checkpoint(self) -> Checkpoint:
        """The checkpoint of this training and of no other."""
        decided_by = fingerprint(*self.decided_by, *code_and_versions())
        return Checkpoint(fingerprint(decided_by, *self.train, *self.validation), self.variables)

    @property
    def variables(self) -> list[keras.Variable]:
        """All variables that a training step reads and changes."""
        return [*self.network.variables, *self.optimizer.variables]

    @property
    def layers(self) -> list[DenseLayer]:
        """The network for inference."""
        return fold_batch_norm(self.network, self.params.activation)

    def train_epoch(self, epoch: int, progress: Callable[[int], object] | None = None) -> tuple[float, float]:
        """Train for one epoch, numbered from 0; `progress` is called with the number of images after each part of it.

        Returns mean loss in nats, without label smoothing, and accuracy, of the images as augmented and with dropout.
        """
        images = tf.experimental.dlpack.from_dlpack(self.train[0].__dlpack__())  # shares the memory
        labels = tf.constant(self.train[1].astype(np.int32))
        batches = tuple(tf.constant(part) for part in self.make_batches(epoch))
        steps, batch_size = self.rates.shape[1], self.params.batch_size
        rates, steps_before = tf.constant(self.rates[epoch]), tf.constant(epoch * steps)
        steps_per_call = max(1, CALL_IMAGES // batch_size)
        sums = np.zeros(2)
        for first in range(0, steps, steps_per_call):
            last = min(first + steps_per_call, steps)
            bounds = tf.constant(first), tf.constant(last)
            parts = self.run_steps(images, labels, batches, rates, steps_before, *bounds)
            sums += [math.fsum(part.numpy()) for part in parts]
            if progress:
                progress(min(last * batch_size, self.count) - first * batch_size)
        loss, accuracy = (sums / self.count).tolist()
        return loss, accuracy

    def sum_validation(self, images: np.ndarray, labels: np.ndarray) -> np.ndarray:
        """The sum of the cross-entropy, in nats, and the number of correct predictions, float64 (2,)."""
        probabilities, log_probabilities = predict(self.layers, images)
        losses = -log_probabilities[np.arange(len(labels)), labels]
        return np.array([math.fsum(losses), np.count_nonzero(probabilities.argmax(axis=1) == labels)])

    def validate(self) -> tuple[float, float]:
        """Mean cross-entropy, in nats, and accuracy on the validation images."""
        loss, correct = self.sum_validation(*self.validation) / len(self.validation[1])
        return float(loss), float(correct)

    def resume(self) -> list[list[float]]:
        """Load the checkpoint of an interrupted training; return its history, empty if there is none."""
        self.checkpoint = self.make_checkpoint()
        return self.checkpoint.load()

    def run(self) -> list[list[float]]:
        """Train to the last epoch; return the history, a row of COLUMNS per epoch. UserError if the loss diverges."""
        epochs = self.params.epochs
        history = self.resume()
        with tqdm(total=self.count, unit=" images", leave=False, disable=None) as bar:
            if history:
                bar.write(f"resuming after epoch {len(history)}/{epochs}")
            for epoch in range(len(history), epochs):
                row = [round(value, 6) for value in (*self.train_epoch(epoch, bar.update), *self.validate())]
                for name, value in zip(COLUMNS, row, strict=True):
                    if not math.isfinite(value):
                        self.checkpoint.delete()
                        remedy = f"params.yaml: lower train.learning_rate, now {self.params.learning_rate}"
                        raise UserError(f"{name} is {value} in epoch {epoch + 1}: training diverged; {remedy}")
                history.append(row)
                self.checkpoint.save(history)
                metrics = ", ".join(f"{name} {value:.4f}" for name, value in zip(COLUMNS, row, strict=True))
                bar.write(f"epoch {epoch + 1}/{epochs}: {metrics}")
                bar.reset()
        return history
