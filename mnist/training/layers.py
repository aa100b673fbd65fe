"""Keras's layers for the compiled training step, with gradients and statistics that are bit-identical across CPUs."""

from collections.abc import Callable

from mnist.model.arithmetic import add_bias, materialize, matmul, pairwise_sum
from mnist.model.backend import keras, tf


class Dense(keras.layers.Dense):
    """Keras's layer with products and sums that are bit-identical across CPUs."""

    def call(self, inputs: tf.Tensor, training: bool | None = None) -> tf.Tensor:  # noqa: ARG002
        """Map (n, inputs) to (n, units)."""
        products = matmul(inputs, tf.convert_to_tensor(self.kernel))
        return self.activation(add_bias(products, tf.convert_to_tensor(self.bias)) if self.use_bias else products)


class BatchNormalization(keras.layers.BatchNormalization):
    """Keras's layer (Ioffe and Szegedy 2015) with sums that are bit-identical across CPUs."""

    def call(self, inputs: tf.Tensor, training: bool | None = None, mask: None = None) -> tf.Tensor:  # noqa: ARG002
        """Normalise (n, units) by the batch's statistics in training, by the moving statistics in inference."""
        gamma, beta = tf.convert_to_tensor(self.gamma), tf.convert_to_tensor(self.beta)
        epsilon = tf.constant(self.epsilon, inputs.dtype)
        if not training:
            return (inputs - self.moving_mean) * _inverse_root(self.moving_variance + epsilon) * gamma + beta
        outputs, mean, variance = normalize(inputs, gamma, beta, epsilon)
        for moving, value in ((self.moving_mean, mean), (self.moving_variance, variance)):
            moving.assign(moving + (value - moving) * (1 - self.momentum))
        return outputs


@tf.custom_gradient
def normalize(inputs: tf.Tensor, gamma: tf.Tensor, beta: tf.Tensor, epsilon: tf.Tensor) -> tuple[tuple, Callable]:
    """Normalise each column of (n, units), scale it by gamma and shift it by beta, (units,).

    Returns the outputs, and the mean and the variance of each column, which have no gradient.
    """

    def mean_of(values: tf.Tensor) -> tf.Tensor:
        return materialize(pairwise_sum(values) * (1 / inputs.shape[0]))

    mean = mean_of(inputs)
    centered = inputs - mean
    variance = mean_of(centered * centered)
    inverse = _inverse_root(variance + epsilon)
    normalized = centered * inverse

    def gradient(upstream: tf.Tensor, *_: tf.Tensor) -> tuple[tf.Tensor | None, ...]:
        products = upstream * normalized
        of_inputs = gamma * inverse * (upstream - mean_of(upstream) - normalized * mean_of(products))
        return of_inputs, pairwise_sum(products), pairwise_sum(upstream), None

    return (normalized * gamma + beta, mean, variance), gradient


def _inverse_root(values: tf.Tensor) -> tf.Tensor:
    """1 / sqrt(values), which XLA would approximate as each CPU does (`rsqrtss`)."""
    return tf.exp(-0.5 * tf.math.log(values))


class Dropout(keras.layers.Dropout):
    """Keras's layer (Srivastava et al. 2014) with random numbers of ThreeFry (Salmon et al. 2011).

    Keras names no generator, so XLA compiles every one: an epoch of 2048-1024-512 units took eight times as long.
    """

    def call(self, inputs: tf.Tensor, training: bool = False) -> tf.Tensor:
        """Drop units of (n, units) in training, and scale up the others; only inside XLA."""
        if not training:
            return inputs
        seed = tf.cast(self.seed_generator.next(), tf.int32)
        kept = tf.random.stateless_uniform(tf.shape(inputs), seed, alg="threefry") >= self.rate
        return inputs * (tf.cast(kept, inputs.dtype) / (1 - self.rate))
