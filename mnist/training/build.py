"""The network as it is trained, and its conversion to the dense layers that are stored."""

import numpy as np

from mnist.core.data import DataSummary
from mnist.model.backend import keras
from mnist.model.weights import DenseLayer
from mnist.training.layers import BatchNormalization, Dense, Dropout
from mnist.training.params import TrainParams


def build_network(params: TrainParams, data: DataSummary) -> keras.Sequential:
    """Build a dense network that outputs logits; weights are Glorot-uniform (Glorot and Bengio 2010), biases zero."""
    keras.utils.set_random_seed(params.seed)
    dtype = params.precision
    network = keras.Sequential([keras.Input((data.pixels,), name="pixels")])
    for n, units in enumerate(params.hidden_units, 1):
        if params.batch_normalization:
            network.add(Dense(units, use_bias=False, name=f"hidden_{n}", dtype=dtype))
            network.add(BatchNormalization(name=f"normalization_{n}", dtype=dtype))
            network.add(keras.layers.Activation(params.activation, name=f"activation_{n}", dtype=dtype))
        else:
            network.add(Dense(units, params.activation, name=f"hidden_{n}", dtype=dtype))
        if params.dropout:
            network.add(Dropout(params.dropout, name=f"dropout_{n}", dtype=dtype))
    network.add(Dense(len(data.classes), name="logits", dtype=dtype))
    return network


def fold_batch_norm(network: keras.Sequential, activation: str) -> list[DenseLayer]:
    """Convert a trained network, with this activation of the hidden layers, to dense layers for inference."""
    weights: list[np.ndarray] = []
    for layer in network.layers:
        if isinstance(layer, Dense):
            weights += layer.get_weights()
        elif isinstance(layer, BatchNormalization):  # in inference it only scales and shifts each unit
            gamma, beta, mean, variance = layer.get_weights()
            scale = gamma / np.sqrt(variance + variance.dtype.type(layer.epsilon))
            weights[-1] = weights[-1] * scale
            weights.append(beta - mean * scale)
    kernels, biases = ([array.astype(np.float32) for array in weights[part::2]] for part in (0, 1))
    activations = [*[activation] * (len(kernels) - 1), "softmax"]
    return [DenseLayer(*layer) for layer in zip(kernels, biases, activations, strict=True)]


def build_optimizer(params: TrainParams) -> keras.optimizers.Optimizer:
    """The optimiser, with decoupled weight decay (Loshchilov and Hutter 2019) of the kernels only."""
    config = {"learning_rate": params.learning_rate, "weight_decay": params.weight_decay or None}
    optimizer = keras.optimizers.get({"class_name": params.optimizer, "config": config})
    optimizer.exclude_from_weight_decay(var_names=["bias", "beta", "gamma"])
    return optimizer
