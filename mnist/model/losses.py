"""The losses that training minimises and evaluation reports."""

from mnist.model.backend import keras, tf


def cross_entropy(labels: tf.Tensor, probabilities: tf.Tensor) -> tf.Tensor:
    """The negative log of the true class's probability, (n,), in nats."""
    return keras.ops.sparse_categorical_crossentropy(labels, probabilities)


def smoothed_cross_entropy(labels: tf.Tensor, probabilities: tf.Tensor, smoothing: float) -> tf.Tensor:
    """The cross-entropy with label smoothing (Szegedy et al. 2016), (n,), in nats.

    `smoothing` is the fraction of each label that is spread evenly over all classes.
    """
    classes = probabilities.shape[-1]
    targets = keras.ops.one_hot(labels, classes, dtype=probabilities.dtype) * (1 - smoothing) + smoothing / classes
    return keras.ops.categorical_crossentropy(targets, probabilities)
