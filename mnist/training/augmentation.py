"""Augmentation: random geometric transformations of the training images, inside the compiled training step.

XLA cannot compile Keras's layers for it (no kernel for `ImageProjectiveTransformV3`); and each of them resamples the
image, so that five blur it five times. Here all displacements are added up, and the image is resampled once.
"""

import math
from collections.abc import Callable

import numpy as np

from mnist.model.arithmetic import materialize, matmul
from mnist.model.backend import tf
from mnist.training.params import AugmentationParams

EXAMPLES = 7  # augmented versions of an image in the figure


class Augmentation:
    """Augments flattened images inside a compiled function, bit-identically across CPUs.

    The random numbers depend only on the seed and the step (Philox, Salmon et al. 2011), and no sine, cosine or other
    function of the system's library is computed. From the step `half_from` on augmentation has half its strength, so
    that the last epochs are closer to the original images (He et al. 2019, "Data augmentation revisited").
    """

    def __init__(
        self, params: AugmentationParams, image_shape: tuple[int, int], seed: int, half_from: int | None = None
    ) -> None:
        self.params, self.image_shape, self.seed, self.half_from = params, image_shape, seed, half_from

    def __call__(
        self, images: tf.Tensor, step: tf.Tensor, positions: tf.Tensor | None = None, batch_size: int | None = None
    ) -> tf.Tensor:
        """Augment images, float32 (n, height * width), in a training step; pixels from outside of an image are 0.

        For a worker's shard of a batch: `positions`, integers (n,), of its images in the whole batch of `batch_size`.
        """
        count = images.shape[0]

        def draw(numbers: int, shape: tuple[int, ...], stream: int) -> tf.Tensor:
            seed = tf.stack([tf.constant(self.seed, tf.uint32), tf.cast(2 * step + stream, tf.uint32)])
            shape = numbers, batch_size or count, *shape
            drawn = tf.random.stateless_uniform(shape, tf.bitcast(seed, tf.int32), -1.0, 1.0, alg="philox")
            if self.half_from is not None:
                drawn *= tf.where(step < self.half_from, 1.0, 0.5)
            return drawn if positions is None else tf.gather(drawn, positions, axis=1)

        x, y = self._affine(draw(6, (1, 1), 0))
        if self.params.elastic_alpha:
            along_x, along_y = self._elastic(count, draw)
            x, y = x + along_x, y + along_y
        return self._sample(images, x, y)

    def _affine(self, draws: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """The source of each pixel, x and y in pixels, each float32 (n, height, width), of draws (6, n, 1, 1)."""
        height, width = self.image_shape
        middle_x, middle_y = (width - 1) / 2, (height - 1) / 2
        column, row = np.arange(width, dtype=np.float32) - middle_x, np.arange(height, dtype=np.float32) - middle_y
        rotation, shearing = (math.radians(angle) for angle in (self.params.rotation, self.params.shear))
        scaling, shift = self.params.scaling, self.params.shift
        bounds = np.array([math.tan(rotation / 2), math.tan(shearing), scaling, scaling, shift, shift], np.float32)
        half, shear, wider, higher, right, down = tf.unstack(materialize(draws * bounds[:, None, None, None]))
        # Sine and cosine from the tangent of half the angle, which is the number drawn: sums and quotients are rounded
        # the same everywhere, the system's sine is not. Up to 15 degrees the angles are uniform to 2 %.
        square = materialize(half * half)
        cosine, sine = (1 - square) / (1 + square), 2 * half / (1 + square)
        skewed_cosine, skewed_sine = cosine + materialize(shear * sine), materialize(shear * cosine) - sine
        # Rounded first: a compiler may multiply columns before its loop over the rows, where nothing is added to them.
        x = materialize((1 + wider) * skewed_cosine * column) + materialize((1 + wider) * skewed_sine * row[:, None])
        y = materialize((1 + higher) * sine * column) + materialize((1 + higher) * cosine * row[:, None])
        return x + (middle_x + right), y + (middle_y + down)

    def _elastic(self, count: int, draw: Callable[..., tf.Tensor]) -> tuple[tf.Tensor, tf.Tensor]:
        """Elastic displacements along x and y, in pixels, each float32 (count, height, width)."""
        blur_rows, blur_columns = (blur_matrix(size, self.params.elastic_sigma) for size in self.image_shape)
        (height, coarse_height), (width, coarse_width) = blur_rows.shape, blur_columns.shape
        noise = tf.reshape(draw(2, (coarse_width, coarse_height), 1), (-1, coarse_height))
        blurred = tf.reshape(matmul(noise, self.params.elastic_alpha * blur_rows.T), (-1, coarse_width, height))
        rows = tf.reshape(tf.transpose(blurred, (0, 2, 1)), (-1, coarse_width))
        field = tf.reshape(matmul(rows, blur_columns.T), (2 * count, height, width))
        return field[:count], field[count:]

    def _sample(self, images: tf.Tensor, x: tf.Tensor, y: tf.Tensor) -> tf.Tensor:
        """The images at the positions x and y, with bilinear interpolation."""
        height, width = self.image_shape
        # Positions outside are clipped to a border of one black pixel; one more is the right neighbour of the last.
        padded = tf.pad(tf.reshape(images, (-1, height, width)), [[0, 0], [1, 2], [1, 2]])
        flat = tf.reshape(padded, (images.shape[0], -1))
        x, y = tf.clip_by_value(x, -1, width), tf.clip_by_value(y, -1, height)
        left, top = tf.floor(x), tf.floor(y)
        x_part, y_part = x - left, y - top
        corner = tf.cast(top + 1, tf.int32) * (width + 3) + tf.cast(left + 1, tf.int32)

        def row(offset: int) -> tf.Tensor:
            first, second = (tf.gather(flat, corner + offset + n, batch_dims=1) for n in (0, 1))
            return first + (second - first) * x_part

        upper, lower = row(0), row(width + 3)
        return tf.reshape(upper + (lower - upper) * y_part, images.shape)


def augmented_examples(augment: Augmentation, images: np.ndarray, labels: np.ndarray, classes: int) -> np.ndarray:
    """The first image of each class, its original and EXAMPLES augmented versions if any: (classes, n, pixels)."""
    originals = np.zeros((classes, images.shape[1]), np.float32)  # black for a class without images
    present, first = np.unique(labels, return_index=True)
    originals[present] = images[first]
    if not augment.params.enabled:
        return originals[:, None]
    draw = tf.function(augment, jit_compile=True, autograph=False)
    drawn = [draw(tf.constant(originals), tf.constant(step)).numpy() for step in range(EXAMPLES)]
    return np.stack([originals, *drawn], axis=1)


def blur_matrix(size: int, sigma: float) -> np.ndarray:
    """A Gaussian blur along one axis, float32 (size, ceil(size / spacing)), of random numbers on a coarse grid.

    Simard draws one per pixel. Numbers sigma/2 pixels apart, scaled up, give the same spread and smoothness faster.
    """
    spacing = max(1, int(sigma / 2))
    factor = math.sqrt(spacing) / (sigma * math.sqrt(2 * math.pi))
    rows = [[math.exp(-(((x - point) / sigma) ** 2) / 2) for point in range(0, size, spacing)] for x in range(size)]
    return (factor * np.array(rows)).astype(np.float32)  # NumPy's own exponential depends on the CPU
