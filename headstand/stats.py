"""Confidence intervals of accuracies and of their differences, and the one definition of "within noise".

Two accuracies are within noise of each other if the 95 % interval of their difference contains zero. The interval is a
paired one if both models classified the same photos and it is known which photos each got right; else it is that of two
independent samples. Reports, the search, the diagnosis, comparisons and exports all use this definition.
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from scipy.stats import binomtest, norm

LEVEL = 0.95
"""Confidence level of every interval and bound."""

Z = float(norm.ppf(0.5 + LEVEL / 2))
"""Quantile of the standard normal distribution for a two-sided interval, 1.96."""

RESAMPLES = 1000
"""Bootstrap resamples: the ends of an interval then vary by about a twentieth of its length between seeds."""

BLOCK = 1_000_000
"""Values that a simulation over photos holds at once (8 MB of float64): its memory does not grow with the photos."""

Interval = tuple[float, float]


def wilson(right: int, count: int) -> Interval:
    """95 % interval of a proportion by Wilson's score method (Wilson 1927), also for small counts and shares near 1.

    Args:
        right: successes.
        count: trials, at least 1.
    """
    interval = binomtest(int(right), int(count)).proportion_ci(LEVEL, method="wilson")
    # Rounding would leave the ends a little inside 0 and 1.
    return float(interval.low) if right else 0.0, float(interval.high) if right < count else 1.0


def lower_bound(right: int, count: int, level: float = LEVEL) -> float:
    """One-sided lower confidence bound of a proportion (Clopper & Pearson 1934); 0 without trials.

    The true proportion is below the bound in at most `1 - level` of all samples, whatever the sample size.
    """
    if not count:
        return 0.0
    test = binomtest(int(right), int(count), alternative="greater")
    return float(test.proportion_ci(level, method="exact").low)


def bootstrap(count: int, figures: Callable[[np.ndarray], np.ndarray], seed: int = 0) -> np.ndarray:
    """95 % percentile bootstrap intervals (Efron 1979) of figures that are computed from weighted photos.

    Args:
        count: photos, N.
        figures: maps weights `float64 [R, N]`, how often each of R resamples drew each photo, to `float [R, F]`.
            With weights instead of indices a sum over photos is one matrix product for all resamples.
        seed: seed of the resampling.

    Returns:
        `float64 [F, 2]`: lower and upper end of each figure.
    """
    rng, shares = np.random.default_rng(seed), np.full(count, 1 / count)
    rows = [figures(rng.multinomial(count, shares, size=size).astype(np.float64)) for size in blocks(RESAMPLES, count)]
    tail = 50 * (1 - LEVEL)
    return np.percentile(np.concatenate(rows), [tail, 100 - tail], axis=0).T


def blocks(draws: int, count: int) -> Iterator[int]:
    """Divide simulated draws over `count` photos into blocks of at most `BLOCK` values; yields each block's draws."""
    most = max(1, BLOCK // max(1, count))
    for start in range(0, draws, most):
        yield min(most, draws - start)


@dataclass(frozen=True, eq=False)
class Outcomes:
    """How many of `count` photos were classified correctly, and which: `correct`, `bool [N]`, None if unknown."""

    right: int
    count: int
    correct: np.ndarray | None = None

    @classmethod
    def of(cls, correct: np.ndarray) -> "Outcomes":
        """Outcomes of known photos.

        Args:
            correct: `bool [N]`.
        """
        return cls(int(correct.sum()), len(correct), correct)

    @classmethod
    def counted(cls, accuracy: float, count: int) -> "Outcomes":
        """Outcomes of which only the accuracy over `count` photos is known."""
        return cls(round(accuracy * count), count)

    @property
    def accuracy(self) -> float:
        return self.right / self.count if self.count else math.nan


@dataclass(frozen=True)
class Difference:
    """Difference of two accuracies with its 95 % interval; positive if the first is higher."""

    value: float
    interval: Interval
    paired: bool

    @property
    def within_noise(self) -> bool:
        """Whether chance alone explains the difference: the interval contains zero."""
        low, high = self.interval
        return low <= 0 <= high


def difference(first: Outcomes, second: Outcomes) -> Difference:
    """First minus second accuracy, paired if the correct photos of both are known.

    Outcomes of different photos must be passed without `correct` (see `Outcomes.counted`).
    """
    if first.correct is not None and second.correct is not None:
        return paired(first.correct, second.correct)
    return unpaired(first, second)


def paired(first: np.ndarray, second: np.ndarray) -> Difference:
    """Difference of two models' accuracies on the same photos (Bonett & Price 2012, adjusted Wald interval).

    Only photos that exactly one model got right contribute, so that smaller differences show than in two separate
    intervals.

    Args:
        first: whether the first model was right, `bool [N]`.
        second: the same of the second model.
    """
    if len(first) != len(second):
        raise ValueError(f"{len(first)} and {len(second)} outcomes are not those of the same photos")
    count = len(first)
    only_first, only_second = int((first & ~second).sum()), int((second & ~first).sum())
    # One photo more of each kind keeps few photos without a difference from an interval of width zero.
    one, two = (only_first + 1) / (count + 2), (only_second + 1) / (count + 2)
    spread = Z * math.sqrt((one + two - (one - two) ** 2) / (count + 2))
    value = (only_first - only_second) / count if count else 0.0
    return Difference(value, (one - two - spread, one - two + spread), True)


def unpaired(first: Outcomes, second: Outcomes) -> Difference:
    """Difference of accuracies on independent samples of photos (Agresti & Caffo 2000, adjusted Wald interval)."""
    one, two = ((each.right + 1) / (each.count + 2) for each in (first, second))
    variance = one * (1 - one) / (first.count + 2) + two * (1 - two) / (second.count + 2)
    spread = Z * math.sqrt(variance)
    return Difference(first.accuracy - second.accuracy, (one - two - spread, one - two + spread), False)


def photos_needed(first: float, second: float) -> int:
    """Photos, as many in either sample, from which on a difference of these accuracies is beyond noise."""
    mean = (first + second) / 2
    return math.ceil(2 * mean * (1 - mean) * (Z / (first - second)) ** 2)
