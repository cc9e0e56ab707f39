"""Confidence intervals of accuracies and of their differences, and the one definition of "within noise".

Two accuracies are within noise of each other if the 95 % interval of their difference contains zero. The interval is
paired if both models classified the same photos and the correct predictions of each are known; otherwise it is that of
two independent samples. Reports, the search, the diagnosis, comparisons and exports all use this definition.
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from scipy.special import betaincinv
from scipy.stats import binomtest, norm

LEVEL = 0.95
"""Confidence level of every interval and bound."""

Z = float(norm.ppf(0.5 + LEVEL / 2))
"""Quantile of the standard normal distribution for a two-sided interval, 1.96."""

RESAMPLES = 1000
"""Bootstrap resamples: the ends of an interval then vary by about a twentieth of its length between seeds."""

BLOCK = 1_000_000
"""Maximum number of values in one block of a simulation (8 MB of float64), which bounds its memory for any N."""

Interval = tuple[float, float]
"""Lower and upper end of a confidence interval."""


def wilson(right: int, count: int) -> Interval:
    """Returns the 95 % Wilson score interval of a proportion (Wilson 1927), also for small counts and shares near 1.

    Args:
        right: number of successes.
        count: number of trials, at least 1.
    """
    interval = binomtest(int(right), int(count)).proportion_ci(LEVEL, method="wilson")
    # Rounding errors would otherwise move the ends slightly inside 0 and 1.
    return float(interval.low) if right else 0.0, float(interval.high) if right < count else 1.0


def lower_bound(right: int, count: int, level: float = LEVEL) -> float:
    """Returns the one-sided lower confidence bound of a proportion (Clopper & Pearson 1934).

    The true proportion is below the bound in at most `1 - level` of all samples, whatever the sample size.

    Args:
        right: number of successes.
        count: number of trials; the bound is 0 without trials.
        level: confidence level.
    """
    return float(betaincinv(right, count - right + 1, 1 - level)) if right else 0.0


def bootstrap(count: int, metrics: Callable[[np.ndarray], np.ndarray], seed: int = 0) -> np.ndarray:
    """Returns 95 % percentile bootstrap intervals (Efron 1979) of metrics that are computed from weighted photos.

    Args:
        count: number of photos, N.
        metrics: function that maps weights `float64 [R, N]` (how often each of R resamples contains each photo) to
            metrics `float [R, F]`. With weights instead of indices, a sum over photos is one matrix product for all
            resamples.
        seed: seed of the resampling.

    Returns:
        `float64 [F, 2]`: lower and upper end of the interval of each metric.
    """
    rng, shares = np.random.default_rng(seed), np.full(count, 1 / count)
    rows = [metrics(rng.multinomial(count, shares, size=size).astype(np.float64)) for size in blocks(RESAMPLES, count)]
    tail = 50 * (1 - LEVEL)
    return np.percentile(np.concatenate(rows), [tail, 100 - tail], axis=0).T


def blocks(draws: int, count: int) -> Iterator[int]:
    """Yields block sizes that divide `draws` simulations over `count` photos into blocks of at most `BLOCK` values."""
    most = max(1, BLOCK // max(1, count))
    for start in range(0, draws, most):
        yield min(most, draws - start)


@dataclass(frozen=True, eq=False)
class Outcomes:
    """Number of correct predictions of a model on `count` photos, and which photos they are.

    Attributes:
        right: number of correct predictions.
        count: number of photos.
        correct: whether each prediction is correct, `bool [N]`; None if unknown.
    """

    right: int
    count: int
    correct: np.ndarray | None = None

    @classmethod
    def of(cls, correct: np.ndarray) -> "Outcomes":
        """Returns the outcomes for a mask of correct predictions, `bool [N]`."""
        return cls(int(correct.sum()), len(correct), correct)

    @classmethod
    def counted(cls, accuracy: float, count: int) -> "Outcomes":
        """Returns the outcomes for an accuracy over `count` photos, without the mask of correct predictions."""
        return cls(round(accuracy * count), count)

    @property
    def accuracy(self) -> float:
        """Share of correct predictions; NaN without photos."""
        return self.right / self.count if self.count else math.nan


@dataclass(frozen=True)
class Difference:
    """Difference of two accuracies with its 95 % interval; positive if the first is higher.

    `paired` is true if the interval is that of a paired comparison on the same photos.
    """

    value: float
    interval: Interval
    paired: bool

    @property
    def within_noise(self) -> bool:
        """Whether the interval contains zero, so that chance alone can explain the difference."""
        low, high = self.interval
        return low <= 0 <= high


def difference(first: Outcomes, second: Outcomes) -> Difference:
    """Returns first minus second accuracy with its interval, paired if `correct` is known for both.

    Outcomes on different photos must be passed without `correct` (see `Outcomes.counted`).
    """
    if first.correct is not None and second.correct is not None:
        return paired(first.correct, second.correct)
    return unpaired(first, second)


def paired(first: np.ndarray, second: np.ndarray) -> Difference:
    """Returns the difference of two accuracies on the same photos (Bonett & Price 2012, adjusted Wald interval).

    Only photos that exactly one model classifies correctly contribute, so that the paired interval detects smaller
    differences than two separate intervals do.

    Args:
        first: correct predictions of the first model, `bool [N]`.
        second: correct predictions of the second model, `bool [N]`.

    Raises:
        ValueError: the two masks have different lengths.
    """
    if len(first) != len(second):
        raise ValueError(f"{len(first)} and {len(second)} outcomes: a paired difference needs the same photos")
    count = len(first)
    only_first, only_second = int((first & ~second).sum()), int((second & ~first).sum())
    # One added photo of each kind prevents an interval of width zero for few photos without a difference.
    one, two = (only_first + 1) / (count + 2), (only_second + 1) / (count + 2)
    spread = Z * math.sqrt((one + two - (one - two) ** 2) / (count + 2))
    value = (only_first - only_second) / count if count else 0.0
    return Difference(value, (one - two - spread, one - two + spread), True)


def unpaired(first: Outcomes, second: Outcomes) -> Difference:
    """Returns the difference of two accuracies on independent photos (Agresti & Caffo 2000, adjusted Wald interval)."""
    one, two = ((each.right + 1) / (each.count + 2) for each in (first, second))
    variance = one * (1 - one) / (first.count + 2) + two * (1 - two) / (second.count + 2)
    spread = Z * math.sqrt(variance)
    return Difference(first.accuracy - second.accuracy, (one - two - spread, one - two + spread), False)


def photos_needed(first: float, second: float) -> int:
    """Returns the photos that each of two independent samples needs for these accuracies to differ beyond noise."""
    mean = (first + second) / 2
    return math.ceil(2 * mean * (1 - mean) * (Z / (first - second)) ** 2)
