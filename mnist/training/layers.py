"""Keras's layers for the compiled training step, with gradients and statistics that are bit-identical across CPUs."""

from collections.abc import Callable

from mnist.model.backend import keras, optimization_barrier, tf

# Up to these sizes, in images and in numbers, XLA's own gradient had the same bits on an Intel Sapphire Rapids and on
# emulated Haswell and EPYC, of the default network also on an AMD Zen 3. So it stays: published results have its bits.
SMALL_BATCH, SMALL_KERNEL = 32, 1 << 20


class Dense(keras.layers.Dense):
    """Keras's layer with a gradient that is bit-identical across CPUs."""

    def call(self, inputs: tf.Tensor, training: bool | None = None) -> tf.Tensor:  # noqa: ARG002
        """Map (n, inputs) to (n, units)."""
        products = matrix_product(inputs, tf.convert_to_tensor(self.kernel))
        return self.activation(products + self.bias if self.use_bias else products)


@tf.custom_gradient
def matrix_product(left: tf.Tensor, right: tf.Tensor) -> tuple[tf.Tensor, Callable[[tf.Tensor], tuple]]:
    """The product of two matrices, (n, inputs) and (inputs, units), and its gradient.

    Where XLA transposes the left operand, as for the gradient of the weights, the last bits depend on the CPU. With an
    operand that is transposed beforehand, float32 numbers are added in order, by fused multiply-add, in blocks of 512.
    """

    def gradient(upstream: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        if left.shape[0] <= SMALL_BATCH and right.shape.num_elements() <= SMALL_KERNEL:
            return tf.matmul(upstream, right, transpose_b=True), tf.matmul(left, upstream, transpose_a=True)
        # The barrier keeps XLA from moving the transposition into the product.
        [transposed] = optimization_barrier(tf.transpose(left))
        return tf.matmul(upstream, right, transpose_b=True), tf.matmul(transposed, upstream)

    return tf.matmul(left, right), gradient


class BatchNormalization(keras.layers.BatchNormalization):
    """Keras's layer (Ioffe and Szegedy 2015) without 1 / sqrt, which XLA approximates as each CPU does (`rsqrtss`)."""

    def call(self, inputs: tf.Tensor, training: bool | None = None, mask: None = None) -> tf.Tensor:  # noqa: ARG002
        """Normalise (n, units) by the batch's statistics in training, by the moving statistics in inference."""
        mean, variance = self.moving_mean, self.moving_variance
        if training:
            mean, variance = tf.nn.moments(inputs, axes=[0])
            self.moving_mean.assign(self.moving_mean * self.momentum + mean * (1 - self.momentum))
            self.moving_variance.assign(self.moving_variance * self.momentum + variance * (1 - self.momentum))
        scale = self.gamma * tf.exp(-0.5 * tf.math.log(variance + self.epsilon))
        return inputs * scale + (self.beta - mean * scale)


class Dropout(keras.layers.Dropout):
    """Keras's layer (Srivastava et al. 2014) with random numbers of ThreeFry (Salmon et al. 2011).

    Keras leaves the generator open, so XLA compiles all: an epoch of 2048-1024-512 units took eight times as long.
    """

    def call(self, inputs: tf.Tensor, training: bool = False) -> tf.Tensor:
        """Drop units of (n, units) in training, and scale up the others; only inside XLA."""
        if not training:
            return inputs
        seed = tf.cast(self.seed_generator.next(), tf.int32)
        kept = tf.random.stateless_uniform(tf.shape(inputs), seed, alg="threefry") >= self.rate
        return inputs * (tf.cast(kept, inputs.dtype) / (1 - self.rate))
