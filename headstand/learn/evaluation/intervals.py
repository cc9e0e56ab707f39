"""95 % intervals: Wilson's for shares, the bootstrap for everything else."""

import math
from collections.abc import Callable

import numpy as np

RESAMPLES = 1000
"""Draws of the bootstrap: the ends of an interval then move by about a twentieth of its length from seed to seed."""

Interval = tuple[float, float]


def wilson(right: int, count: int) -> Interval:
    """95 % interval of a share by Wilson's score (Wilson 1927): honest for small counts and shares near 1.

    Args:
        right: successes.
        count: trials, at least 1.
    """
    z = 1.959963984540054  # the 97.5 % point of the normal distribution
    share = right / count
    middle = share + z * z / (2 * count)
    spread = z * math.sqrt(share * (1 - share) / count + z * z / (4 * count * count))
    scale = 1 + z * z / count
    # Where all are right the upper end is 1 exactly, and rounding would leave it a little below.
    return (middle - spread) / scale if right else 0.0, (middle + spread) / scale if right < count else 1.0


def bootstrap(count: int, figures: Callable[[np.ndarray], np.ndarray], seed: int = 0) -> np.ndarray:
    """Percentile bootstrap (Efron 1979): the 2.5 % and 97.5 % points of figures over resampled photos.

    Args:
        count: photos, N.
        figures: from weights `float64 [R, N]`, how often each photo was drawn in each of R resamples, to
            `float [R, F]`; weights rather than places, so that sums over photos are one matrix product.
        seed: of the draws.

    Returns:
        `float64 [F, 2]`.
    """
    rng = np.random.default_rng(seed)
    weights = rng.multinomial(count, np.full(count, 1 / count), size=RESAMPLES).astype(np.float64)
    return np.percentile(figures(weights), [2.5, 97.5], axis=0).T
