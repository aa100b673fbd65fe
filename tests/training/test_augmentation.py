"""Augmentation: each bound transforms as named, differently per image and step, and the same for the same seed.

The transformation is measured from outside: in an image whose brightness is the column number, each resampled pixel
shows the column that it comes from.
"""

import math
from collections.abc import Callable

import numpy as np
import pytest
from conftest import Checkout
from scipy.ndimage import gaussian_filter

from mnist.model.backend import tf
from mnist.training.augmentation import EXAMPLES, Augmentation, augmented_examples
from mnist.training.params import AugmentationParams

HEIGHT, WIDTH = SHAPE = (26, 30)
COUNT = 400
NONE = {"rotation": 0.0, "scaling": 0.0, "shear": 0.0, "shift": 0.0, "elastic_alpha": 0.0, "elastic_sigma": 6.0}
ALL = {"rotation": 15.0, "scaling": 0.15, "shear": 10.0, "shift": 2.0, "elastic_alpha": 37.0, "elastic_sigma": 6.0}


def augmentation(seed: int = 1, half_from: int | None = None, **bounds: float) -> Augmentation:
    return Augmentation(AugmentationParams(**NONE | bounds, half_strength_epochs=0), SHAPE, seed, half_from)


def augmented(images: np.ndarray, augment: Augmentation, step: int = 0) -> np.ndarray:
    flat = tf.constant(images.reshape(len(images), -1).astype(np.float32))
    return augment(flat, tf.constant(step)).numpy().reshape(images.shape)


def places(half_from: int | None = None, **bounds: float) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Rows and columns in the middle of COUNT images, from the centre, and the source of each, (COUNT, pixels)."""
    rows, columns = np.mgrid[:HEIGHT, :WIDTH].astype(np.float32)
    augment = augmentation(half_from=half_from, **bounds)
    middle = np.s_[:, 8:-8, 8:-8]  # out of reach of the border
    y, x = (ramp[None][middle].ravel() for ramp in (rows, columns))
    sampled = (augmented(np.repeat(ramp[None], COUNT, 0), augment)[middle] for ramp in (rows, columns))
    from_y, from_x = (places.reshape(COUNT, -1) for places in sampled)
    centre_y, centre_x = (HEIGHT - 1) / 2, (WIDTH - 1) / 2
    return y - centre_y, x - centre_x, from_y - centre_y, from_x - centre_x


def matrices(**bounds: float) -> tuple[np.ndarray, np.ndarray]:
    """The linear part, (COUNT, 2, 2), and the shift, (COUNT, 2), of each affine transformation, x before y."""
    y, x, from_y, from_x = places(**bounds)
    known = np.stack([x, y, np.ones_like(x)], axis=1)
    found = [np.linalg.lstsq(known, sampled.T, rcond=None)[0] for sampled in (from_x, from_y)]
    for coefficients, sampled in zip(found, (from_x, from_y), strict=True):
        np.testing.assert_allclose(known @ coefficients, sampled.T, atol=1e-3)
    both = np.stack(found).transpose(2, 0, 1)  # (COUNT, from x or y, x y 1)
    return both[:, :, :2], both[:, :, 2]


def assert_spread(values: np.ndarray, bound: float) -> None:
    """Uniform from -bound to bound: within it, nearly up to it on both sides, with the spread of a uniform."""
    assert np.abs(values).max() <= bound * 1.001
    assert values.min() < -0.95 * bound
    assert values.max() > 0.95 * bound
    assert values.std() == pytest.approx(bound / math.sqrt(3), rel=0.1)


def test_without_bounds_the_images_stay_unchanged() -> None:
    images = np.random.default_rng(0).random((50, *SHAPE), np.float32)
    np.testing.assert_array_equal(augmented(images, augmentation()), images)
    assert not augmentation().params.enabled


def test_rotation() -> None:
    linear, shift = matrices(rotation=15.0)
    np.testing.assert_allclose(linear @ linear.transpose(0, 2, 1), np.broadcast_to(np.eye(2), (COUNT, 2, 2)), atol=1e-4)
    assert_spread(np.degrees(np.arctan2(linear[:, 1, 0], linear[:, 0, 0])), 15)
    np.testing.assert_allclose(shift, 0, atol=1e-4)


def test_scaling_of_width_and_height_independently() -> None:
    linear, shift = matrices(scaling=0.15)
    np.testing.assert_allclose(linear[:, [0, 1], [1, 0]], 0, atol=1e-4)
    for axis in (0, 1):
        assert_spread(linear[:, axis, axis] - 1, 0.15)
    assert abs(np.corrcoef(linear[:, 0, 0], linear[:, 1, 1])[0, 1]) < 0.2
    np.testing.assert_allclose(shift, 0, atol=1e-4)


def test_shear() -> None:
    linear, _ = matrices(shear=10.0)
    np.testing.assert_allclose(linear[:, [0, 1], [0, 1]], 1, atol=1e-4)
    np.testing.assert_allclose(linear[:, 1, 0], 0, atol=1e-4)
    assert_spread(linear[:, 0, 1], math.tan(math.radians(10)))


def test_shift() -> None:
    linear, shift = matrices(shift=2.5)
    np.testing.assert_allclose(linear, np.broadcast_to(np.eye(2), (COUNT, 2, 2)), atol=1e-4)
    for axis in (0, 1):
        assert_spread(shift[:, axis], 2.5)


@pytest.mark.parametrize("sigma", [4.0, 6.0])
def test_elastic_displacements_have_the_spread_and_smoothness_of_simards(sigma: float) -> None:
    y, x, from_y, from_x = places(elastic_alpha=20.0, elastic_sigma=sigma)
    noise = np.random.default_rng(1).uniform(-1, 1, (COUNT, HEIGHT, WIDTH))
    fields = 20 * gaussian_filter(noise, (0, sigma, sigma), mode="constant", truncate=6)
    simards = fields[:, 8:-8, 8:-8].reshape(COUNT, -1)
    far = 7  # columns between two pixels of a row
    for ours in (from_x - x, from_y - y):
        assert ours.std() == pytest.approx(simards.std(), rel=0.1)
        near_and_far = [np.corrcoef(field[:, 0], field[:, far])[0, 1] for field in (ours, simards)]
        assert near_and_far[0] == pytest.approx(near_and_far[1], abs=0.1)
    assert abs(np.corrcoef((from_x - x)[:, 0], (from_y - y)[:, 0])[0, 1]) < 0.2


@pytest.mark.parametrize("bounds", [{"rotation": 15.0}, {"scaling": 0.15}, {"shift": 2.0}, {"elastic_alpha": 20.0}])
def test_from_the_half_strength_step_on_pixels_move_half_as_far(bounds: dict[str, float]) -> None:
    y, x, *full = places(**bounds)
    before, half = (places(half_from=step, **bounds)[2:] for step in (1, 0))
    np.testing.assert_array_equal(before, full)
    for place, far, near in zip((y, x), full, half, strict=True):
        np.testing.assert_allclose(near - place, (far - place) / 2, atol=0.15 if "rotation" in bounds else 1e-3)


def test_pixels_from_outside_are_black() -> None:
    white = np.ones((COUNT, *SHAPE), np.float32)
    result = augmented(white, augmentation(shift=40.0))
    assert result.min() == 0
    assert result.max() <= 1
    assert (result.reshape(COUNT, -1).max(axis=1) == 0).any()  # moved out of sight


def test_each_image_and_each_step_draws_independently_and_the_seed_decides() -> None:
    images = tf.constant(np.repeat(np.random.default_rng(0).random((1, HEIGHT * WIDTH), np.float32), 30, 0))

    def compiled(seed: int) -> Callable[[int], np.ndarray]:
        function = tf.function(augmentation(seed, **ALL), jit_compile=True)
        return lambda step: function(images, tf.constant(step)).numpy()

    draw = compiled(1)
    first = draw(0)
    assert len({image.tobytes() for image in first}) == 30
    assert not np.array_equal(first, draw(1))
    np.testing.assert_array_equal(first, compiled(1)(0))
    assert not np.array_equal(first, compiled(2**32 - 1)(0))


def test_the_examples_are_the_first_image_of_each_class_original_and_augmented() -> None:
    images = np.random.default_rng(0).random((6, HEIGHT * WIDTH), np.float32)
    labels = np.array([3, 0, 3, 0, 1, 1], np.uint8)
    originals = augmented_examples(augmentation(), images, labels, classes=4)
    assert originals.shape == (4, 1, HEIGHT * WIDTH)
    np.testing.assert_array_equal(originals[[0, 1, 3], 0], images[[1, 4, 0]])
    drawn = augmented_examples(augmentation(**ALL), images, labels, classes=4)
    assert drawn.shape == (4, 1 + EXAMPLES, HEIGHT * WIDTH)
    np.testing.assert_array_equal(drawn[:, 0], originals[:, 0])
    assert not drawn[2].any()  # a class without images
    assert len({image.tobytes() for image in drawn[0]}) == 1 + EXAMPLES


@pytest.mark.slow
def test_only_the_last_epochs_have_half_strength(checkout: Checkout) -> None:
    def history(shift: float, half_strength_epochs: int) -> list[str]:
        """A line per epoch, of two."""
        checkout.set_param("shift", str(shift))
        checkout.set_param("half_strength_epochs", str(half_strength_epochs))
        assert checkout.stage("train").returncode == 0
        return (checkout.folder / "reports/history.csv").read_text().splitlines()[1:]

    full, last_half = history(1.0, 0), history(1.0, 1)
    assert last_half[0] == full[0]
    assert last_half[1] != full[1]
    assert history(1.0, 2) == history(0.5, 0) != full
