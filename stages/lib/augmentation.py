"""Augmentation: training images a little deformed, anew each time they are met, inside the compiled training step.

Keras's layers for it (RandomRotation, RandomElasticTransform, ...) cannot be compiled by XLA, for which their sampling
(`ImageProjectiveTransformV3`) has no kernel; and each of them samples the image again, so that five blur it five times.
Here all displacements are added up, and the image is sampled once.
"""

import math
from collections.abc import Callable
from typing import Annotated

import numpy as np
from pydantic import Field

from stages.lib.backend import tf
from stages.lib.params import Params

EXAMPLES = 7  # deformations of an image that the pipeline shows


class AugmentationParams(Params):
    """How far the training images are deformed; each image draws its own deformation, uniformly up to these bounds.

    Rotation, scaling and elastic distortion of these sizes are Ciresan's (Ciresan et al. 2010, "Deep, big, simple
    neural nets for handwritten digit recognition"); elastic distortion is Simard's (Simard et al. 2003, "Best practices
    for convolutional neural networks applied to visual document analysis").
    """

    section = "augmentation"
    rotation: Annotated[float, Field(ge=0, le=45)]
    scaling: Annotated[float, Field(ge=0, le=0.5)]
    shear: Annotated[float, Field(ge=0, le=45)]
    shift: Annotated[float, Field(ge=0, le=100)]
    elastic_alpha: Annotated[float, Field(ge=0, le=1000)]
    elastic_sigma: Annotated[float, Field(ge=1, le=100)]
    gentle_epochs: Annotated[int, Field(ge=0, le=10000)]

    @property
    def enabled(self) -> bool:
        """Whether images are deformed at all."""
        return any((self.rotation, self.scaling, self.shear, self.shift, self.elastic_alpha))


class Augmentation:
    """Deforms flattened images inside a compiled function.

    The random numbers come from the seed and the step alone (Philox, Salmon et al. 2011), and no sine, cosine or
    other function of the system's library is computed with them: the same bits on every processor.
    """

    def __init__(
        self, params: AugmentationParams, image_shape: tuple[int, int], seed: int, gentle_from: int | None = None
    ) -> None:
        """Prepare deformations of images.

        Args:
            params: how far.
            image_shape: height and width of an image.
            seed: decides all that is drawn.
            gentle_from: the training step from which on images are deformed half as far, so that the last epochs are
                closer to the images as they are (He et al. 2019, "Data augmentation revisited: rethinking the
                distribution gap between clean and augmented data"); None: no step is.
        """
        self.params = params
        self.image_shape = image_shape
        self.seed = seed
        self.gentle_from = gentle_from

    def __call__(
        self, images: tf.Tensor, step: tf.Tensor, places: tf.Tensor | None = None, batch_size: int | None = None
    ) -> tf.Tensor:
        """Deform each image.

        Args:
            images: float32 (n, height * width); n is known when the function is compiled.
            step: integer, the number of the training step: another one gives other deformations.
            places: integers (n,), where in the whole batch each image stands, if these are a part of it: it is deformed
                as the image at that place of the whole batch would be.
            batch_size: images of the whole batch.

        Returns:
            float32 (n, height * width); what comes from outside of an image is 0.
        """
        count = images.shape[0]

        def draw(numbers: int, shape: tuple[int, int], stream: int) -> tf.Tensor:
            drawn = self._uniform((numbers, batch_size or count, *shape), stream, step)
            if self.gentle_from is not None:
                drawn *= tf.where(step < self.gentle_from, 1.0, 0.5)
            return drawn if places is None else tf.gather(drawn, places, axis=1)

        x, y = self._affine(draw(6, (1, 1), 0))
        if self.params.elastic_alpha:
            along_x, along_y = self._elastic(count, draw)
            x, y = x + along_x, y + along_y
        return self._sample(images, x, y)

    def _uniform(self, shape: tuple[int, ...], stream: int, step: tf.Tensor) -> tf.Tensor:
        """Random numbers from -1 to 1."""
        seed = tf.stack([tf.constant(self.seed, tf.uint32), tf.cast(2 * step + stream, tf.uint32)])
        return tf.random.stateless_uniform(shape, tf.bitcast(seed, tf.int32), -1.0, 1.0, alg="philox")

    def _affine(self, draws: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Where each pixel comes from: x and y, in pixels, each float32 (n, height, width).

        `draws` is float32 (6, n, 1, 1), from -1 to 1.
        """
        height, width = self.image_shape
        # Sine and cosine from the tangent of half the angle, which is the number drawn: sums and quotients are rounded
        # the same everywhere, the system's sine is not. Up to 15 degrees the angles are uniform to 2 %.
        half = draws[0] * math.tan(math.radians(self.params.rotation) / 2)
        cosine, sine = (1 - half**2) / (1 + half**2), 2 * half / (1 + half**2)
        shear = draws[1] * math.tan(math.radians(self.params.shear))
        wide, tall = (1 + draws[n] * self.params.scaling for n in (2, 3))
        middle_x, middle_y = (width - 1) / 2, (height - 1) / 2
        column = tf.reshape(tf.range(width, dtype=tf.float32), (1, 1, width)) - middle_x
        row = tf.reshape(tf.range(height, dtype=tf.float32), (1, height, 1)) - middle_y
        turned_x, turned_y = cosine * column - sine * row, sine * column + cosine * row
        x = middle_x + wide * (turned_x + shear * turned_y) + draws[4] * self.params.shift
        y = middle_y + tall * turned_y + draws[5] * self.params.shift
        return x, y

    def _elastic(self, count: int, draw: Callable[..., tf.Tensor]) -> tuple[tf.Tensor, tf.Tensor]:
        """Elastic displacements along x and y, in pixels, each float32 (count, height, width)."""
        blur_rows, blur_columns = (blur_matrix(size, self.params.elastic_sigma) for size in self.image_shape)
        grid = blur_rows.shape[1], blur_columns.shape[1]
        noise = tf.reshape(draw(2, grid, 1), (2 * count, *grid))
        field = tf.einsum("hi,nij,wj->nhw", self.params.elastic_alpha * blur_rows, noise, blur_columns)
        return field[:count], field[count:]

    def _sample(self, images: tf.Tensor, x: tf.Tensor, y: tf.Tensor) -> tf.Tensor:
        """The images at the places x and y, between four pixels (bilinear)."""
        height, width = self.image_shape
        count = images.shape[0]
        # One black pixel around the image (and one more for the right neighbour of the last): places farther out
        # are moved there.
        framed = tf.pad(tf.reshape(images, (count, height, width)), [[0, 0], [1, 2], [1, 2]])
        flat = tf.reshape(framed, (count, -1))
        x, y = tf.clip_by_value(x, -1, width), tf.clip_by_value(y, -1, height)
        left, top = tf.floor(x), tf.floor(y)
        x_part, y_part = x - left, y - top
        corner = tf.cast(top + 1, tf.int32) * (width + 3) + tf.cast(left + 1, tf.int32)

        def row(offset: int) -> tf.Tensor:
            first, second = (tf.gather(flat, corner + offset + n, batch_dims=1) for n in (0, 1))
            return first + (second - first) * x_part

        upper, lower = row(0), row(width + 3)
        return tf.reshape(upper + (lower - upper) * y_part, (count, -1))


def augmented_examples(augment: Augmentation, images: np.ndarray, labels: np.ndarray, classes: int) -> np.ndarray:
    """The first image of each class, as it is and as training may meet it.

    Args:
        augment: the deformations.
        images: float32 (n, pixels).
        labels: integers (n,).
        classes: how many.

    Returns:
        float32 (classes, 1 + EXAMPLES, pixels), the image itself first; (classes, 1, pixels) without augmentation.
        Black for a class that has no image.
    """
    originals = np.zeros((classes, images.shape[1]), np.float32)
    present, first = np.unique(labels, return_index=True)
    originals[present] = images[first]
    if not augment.params.enabled:
        return originals[:, None]
    draw = tf.function(augment, jit_compile=True)
    drawn = [draw(tf.constant(originals), tf.constant(step)).numpy() for step in range(EXAMPLES)]
    return np.stack([originals, *drawn], axis=1)


def blur_matrix(size: int, sigma: float) -> np.ndarray:
    """A Gaussian blur along one axis, from random numbers on a coarse grid to displacements of each pixel.

    Simard draws a number for each pixel. As what the blur leaves is smooth, numbers sigma/2 pixels apart, as much
    larger as they are fewer, give fields of the same spread and smoothness in a fraction of the time.

    Returns:
        float32 (size, ceil(size / spacing)).
    """
    spacing = max(1, int(sigma / 2))
    distance = np.arange(size)[:, None] - np.arange(0, size, spacing)
    density = np.exp(-((distance / sigma) ** 2) / 2) / (sigma * math.sqrt(2 * math.pi))
    return (density * math.sqrt(spacing)).astype(np.float32)
