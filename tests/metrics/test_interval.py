"""The 95 % interval of a proportion: published values, those of SciPy, and properties of all of them."""

import numpy as np
import pytest
from scipy.stats import binomtest

from mnist.metrics.interval import wilson_interval


@pytest.mark.parametrize(
    ("successes", "trials", "published"),
    [(81, 263, (0.2553, 0.3662)), (15, 148, (0.0624, 0.1605)), (0, 20, (0, 0.1611)), (1, 29, (0.0061, 0.1718))],
)
def test_it_equals_newcombe_1998_table_1_method_3(successes, trials, published):
    assert wilson_interval(successes, trials) == pytest.approx(published, abs=5e-5)


@pytest.mark.parametrize("trials", [1, 2, 10, 974, 10_000, 1_000_000])
def test_it_equals_scipys(trials):
    successes = np.unique(np.linspace(0, trials, 12).astype(int))
    theirs = [binomtest(int(count), trials).proportion_ci(method="wilson") for count in successes]
    np.testing.assert_allclose(
        np.transpose(wilson_interval(successes, np.full_like(successes, trials))), theirs, atol=1e-12
    )


@pytest.mark.parametrize("trials", [*range(1, 60), 9_733])
def test_it_contains_the_proportion_and_stays_within_0_and_1(trials):
    successes = np.arange(trials + 1)
    low, high = wilson_interval(successes, trials)
    assert low.min() >= 0
    assert high.max() <= 1
    assert np.all(low <= successes / trials + 1e-12)
    assert np.all(successes / trials - 1e-12 <= high)


def test_without_trials_it_is_0_to_1():
    assert wilson_interval(0, 0) == pytest.approx((0, 1), abs=1e-12)
