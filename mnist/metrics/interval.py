"""How sure a measured share is: the interval that a share of so many images leaves for the true one."""

import numpy as np
from numpy.typing import ArrayLike

Z = 1.959963984540054  # the normal distribution's 97.5th percentile: 95 % lie within plus and minus this


def wilson_interval(hits: ArrayLike, trials: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    """The 95 % score interval of a binomial share (Wilson 1927), which is good near 0 and 1 too.

    Args:
        hits: integers of any shape, how often it was so.
        trials: integers of the same shape, out of how many; of 0 trials the interval is 0 to 1.

    Returns:
        The lower and the upper bounds, float, of that shape.
    """
    # Written out, for scipy.stats takes a second to import: longer than the plot stage or `make gate` otherwise run.
    hits, trials = np.asarray(hits), np.asarray(trials)
    centre = (hits + Z**2 / 2) / (trials + Z**2)
    half = Z / (trials + Z**2) * np.sqrt(hits * (trials - hits) / np.maximum(trials, 1) + Z**2 / 4)
    return np.maximum(centre - half, 0), np.minimum(centre + half, 1)
