"""The uncertainty of a measured proportion, such as an accuracy."""

import numpy as np
from numpy.typing import ArrayLike

Z = 1.959963984540054  # 97.5th percentile of the standard normal distribution: 95 % lie within plus and minus Z


def wilson_interval(hits: ArrayLike, trials: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    """The lower and upper bound of the 95 % score interval of hits / trials (Wilson 1927); 0 and 1 for 0 trials."""
    # Written out because importing scipy.stats takes a second, longer than `make gate` otherwise runs.
    hits, trials = np.asarray(hits), np.asarray(trials)
    centre = (hits + Z**2 / 2) / (trials + Z**2)
    half = Z / (trials + Z**2) * np.sqrt(hits * (trials - hits) / np.maximum(trials, 1) + Z**2 / 4)
    return np.maximum(centre - half, 0), np.minimum(centre + half, 1)
