"""Temperature scaling (Guo et al. 2017): the logits divided by one number, so that confidence matches accuracy."""

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from mnist.model.network import predict
from mnist.model.weights import DenseLayer

BOUNDS = (0.05, 20.0)


def fit_temperature(layers: Sequence[DenseLayer], images: np.ndarray, labels: np.ndarray) -> tuple[float, float]:
    """Find the temperature of the smallest cross-entropy on held-out images; return both, the latter in nats per image.

    Images are float32 (n, pixels), labels integers (n,). If none of them is misclassified, no temperature is the best,
    since each lower one has a smaller cross-entropy; it is then 1, which changes nothing.
    """
    from scipy.optimize import minimize_scalar  # here, because it takes a while to import

    def loss(temperature: float) -> float:
        _, log_probabilities = predict(divide_logits(layers, temperature), images)
        return math.fsum(-log_probabilities[np.arange(len(labels)), labels])

    if np.array_equal(predict(layers, images)[0].argmax(axis=1), labels):
        return 1.0, loss(1.0) / len(labels)
    found = minimize_scalar(loss, bounds=BOUNDS, method="bounded", options={"xatol": 1e-4})
    return float(found.x), float(found.fun) / len(labels)


def divide_logits(layers: Sequence[DenseLayer], temperature: float) -> list[DenseLayer]:
    """The same network with its logits divided by the temperature, which changes no predicted class."""
    *hidden, last = layers
    kernel, bias = (array / np.float32(temperature) for array in (last.kernel, last.bias))
    return [*hidden, replace(last, kernel=kernel, bias=bias)]
