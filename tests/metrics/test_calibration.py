"""Calibration: the bin of a confidence, the content of a bin, and the expected calibration error."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mnist.metrics.calibration import BINS, reliability

MILLION = 10**6


def exact_error(millionths: list[int], correct: list[bool]) -> Fraction:
    """The definition of Guo et al. 2017 (equation 3), bin by bin, in fractions."""
    error = Fraction(0)
    for number in range(1, BINS + 1):
        edges = Fraction(number - 1, BINS), Fraction(number, BINS)
        inside = [i for i, c in enumerate(millionths) if edges[0] < Fraction(c, MILLION) <= edges[1]]
        if inside:
            accuracy = Fraction(sum(correct[i] for i in inside), len(inside))
            confidence = Fraction(sum(millionths[i] for i in inside), len(inside) * MILLION)
            error += Fraction(len(inside), len(millionths)) * abs(accuracy - confidence)
    return error


def error_of(millionths: list[int], correct: list[bool]) -> float:
    """The error for confidences as written to predictions.csv."""
    confidence = np.array([float(f"{c / MILLION:.6f}") for c in millionths])
    return reliability(confidence, np.array(correct)).expected_calibration_error


@pytest.mark.parametrize(
    ("confidence", "correct", "error"),
    [
        ([1.0, 1.0], [True, True], 0),
        ([1.0, 1.0], [True, False], 0.5),
        ([0.9], [False], 0.9),
        ([0.8, 0.8, 0.8, 0.8, 0.8], [True, True, True, True, False], 0),
        ([0.95, 0.95, 0.5, 0.5], [True, True, True, False], 0.025),  # (2 * 0.05 + 2 * 0) / 4
        ([0.6, 0.65], [True, False], 0.525),  # in two bins, so the two gaps, 0.4 and 0.65, do not cancel
        ([0.61, 0.65], [True, False], 0.13),  # in one bin: |0.5 - 0.63|
    ],
)
def test_errors_computed_by_hand(confidence, correct, error):
    found = reliability(np.array(confidence), np.array(correct)).expected_calibration_error
    assert found == pytest.approx(error, abs=1e-12)


@pytest.mark.parametrize(
    ("confidence", "number"),
    [(0.0, 0), (0.066666, 0), (0.066667, 1), (0.2, 2), (0.200001, 3), (0.4, 5), (0.6, 8), (0.8, 11), (1.0, 14)],
)
def test_an_edge_belongs_to_the_bin_below_it(confidence, number):
    assert np.flatnonzero(reliability(np.array([confidence]), np.array([True])).count).tolist() == [number]


def test_a_bin_has_its_count_its_correct_ones_and_its_sum_of_confidences():
    bins = reliability(np.array([0.5, 1.0, 0.99, 0.5]), np.array([False, True, False, False]))
    assert bins.count.tolist() == [0] * 7 + [2] + [0] * 6 + [2]
    assert bins.correct.tolist() == [0] * 14 + [1]
    assert bins.confidence.tolist() == pytest.approx([0] * 7 + [1.0] + [0] * 6 + [1.99])


def test_the_points_are_those_of_the_bins_with_predictions():
    points = reliability(np.array([0.5, 0.52, 1]), np.array([True, False, True])).points
    assert [values.tolist() for values in points.values()][:2] == [[7, 14], [2, 1]]
    np.testing.assert_allclose(points["confidence"], [0.51, 1])
    np.testing.assert_allclose(points["accuracy"], [0.5, 1])
    np.testing.assert_allclose(points["low"], [0.0945, 0.2065], atol=1e-4)
    np.testing.assert_allclose(points["high"], [0.9055, 1], atol=1e-4)


@given(st.lists(st.tuples(st.integers(1, MILLION), st.booleans()), min_size=1, max_size=60))
def test_the_error_matches_its_definition(predictions):
    millionths, correct = map(list, zip(*predictions, strict=True))
    assert error_of(millionths, correct) == pytest.approx(float(exact_error(millionths, correct)), abs=1e-12)


def test_the_error_matches_its_definition_on_many_predictions():
    rng = np.random.default_rng(7)
    millionths = rng.integers(100_000, MILLION + 1, 5000).tolist()
    correct = (rng.random(5000) < 0.7).tolist()
    assert error_of(millionths, correct) == pytest.approx(float(exact_error(millionths, correct)), abs=1e-12)
