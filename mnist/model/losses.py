"""The softmax of logits, and the loss that training minimises and evaluation reports."""

from mnist.model.arithmetic import pairwise_sum
from mnist.model.backend import tf


def softmax(logits: tf.Tensor) -> tf.Tensor:
    """The probability of each class, (n, classes)."""
    _, powers, total = _exponentials(logits)
    return powers / total


def log_softmax(logits: tf.Tensor) -> tf.Tensor:
    """The natural logarithm of the probability of each class, (n, classes)."""
    shifted, _, total = _exponentials(logits)
    return shifted - tf.math.log(total)


def cross_entropy(labels: tf.Tensor, logits: tf.Tensor, smoothing: float) -> tuple[tf.Tensor, tf.Tensor]:
    """The cross-entropy of each image, (n,), in nats, without smoothing, and its gradient with it, (n, classes).

    Labels are integers, (n,). `smoothing` is the fraction of each label that is spread evenly over all classes (Szegedy
    et al. 2016).
    """
    shifted, powers, total = _exponentials(logits)
    classes = logits.shape[1]
    spread = smoothing / classes
    targets = tf.one_hot(labels, classes, 1 - smoothing + spread, spread, dtype=logits.dtype)
    return tf.math.log(total)[:, 0] - tf.gather(shifted, labels, batch_dims=1), powers / total - targets


def _exponentials(logits: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """The logits less the largest one of each image, their exponentials, and the sum of these, (n, 1)."""
    shifted = logits - tf.reduce_max(logits, axis=1, keepdims=True)
    powers = tf.exp(shifted)
    return shifted, powers, pairwise_sum(powers, axis=1)[:, None]
