"""The uncertainty of a measured proportion, such as an accuracy."""

import numpy as np
from numpy.typing import ArrayLike

Z = 1.959963984540054  # 97.5th percentile of the standard normal distribution: 95 % lie within plus and minus Z


def wilson_interval(successes: ArrayLike, trials: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    """The bounds of the 95 % score interval of successes / trials (Wilson 1927); 0 and 1 for 0 trials."""
    # Written out because importing scipy.stats takes a second, longer than `make gate` otherwise runs.
    successes, trials = np.asarray(successes), np.asarray(trials)
    centre = (successes + Z**2 / 2) / (trials + Z**2)
    half = Z / (trials + Z**2) * np.sqrt(successes * (trials - successes) / np.maximum(trials, 1) + Z**2 / 4)
    return np.maximum(centre - half, 0), np.minimum(centre + half, 1)
