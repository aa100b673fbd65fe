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


def cross_entropy(labels: tf.Tensor, logits: tf.Tensor) -> tf.Tensor:
    """The negative log of the true class's probability, (n,), in nats; labels are integers (n,)."""
    return -tf.gather(log_softmax(logits), labels, batch_dims=1)


def cross_entropy_gradient(labels: tf.Tensor, logits: tf.Tensor, smoothing: float) -> tf.Tensor:
    """The gradient of each image's cross-entropy with respect to its logits, (n, classes).

    `smoothing` is the fraction of each label that is spread evenly over all classes (Szegedy et al. 2016).
    """
    classes = logits.shape[1]
    spread = smoothing / classes
    return softmax(logits) - tf.one_hot(labels, classes, 1 - smoothing + spread, spread, dtype=logits.dtype)


def _exponentials(logits: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """The logits less the largest one of each image, their exponentials, and the sum of these, (n, 1)."""
    shifted = logits - tf.reduce_max(logits, axis=1, keepdims=True)
    powers = tf.exp(shifted)
    return shifted, powers, pairwise_sum(powers, axis=1)[:, None]
