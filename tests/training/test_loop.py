"""The batches of an epoch have one shape, whatever the number of images."""

import numpy as np

from mnist.training.loop import pad_batches, shuffled


def test_the_last_batch_is_padded_with_the_first_images_of_weight_zero() -> None:
    rows, weights, sizes = pad_batches(np.arange(5, dtype=np.int32)[::-1], 3)
    assert rows.tolist() == [[4, 3, 2], [1, 0, 4]]
    assert weights.tolist() == [[1, 1, 1], [1, 1, 0]]
    assert sizes.tolist() == [3, 2]
    assert (rows.dtype, weights.dtype, sizes.dtype) == (np.int32, np.float32, np.float32)


def test_a_batch_larger_than_the_data_repeats_the_images() -> None:
    rows, weights, sizes = pad_batches(np.arange(2, dtype=np.int32), 5)
    assert rows.tolist() == [[0, 1, 0, 1, 0]]
    assert weights.tolist() == [[1, 1, 0, 0, 0]]
    assert sizes.tolist() == [2]


def test_an_order_contains_each_image_once() -> None:
    order = shuffled(100, seed=1, epoch=0)
    assert sorted(order) == list(range(100))
    assert order.dtype == np.int32
    np.testing.assert_array_equal(order, shuffled(100, seed=1, epoch=0))
    assert not np.array_equal(order, shuffled(100, seed=1, epoch=1))
    assert not np.array_equal(order, shuffled(100, seed=2, epoch=0))
