"""Which entry to take: the best within the limits, or one that is as good for all that can be told, and cheaper."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import scipy.stats

from headstand.compare.result import Result
from headstand.variants import Compare

LEVEL = 0.05
"""Two entries are within noise of each other where McNemar's p is no less."""


@dataclass(frozen=True)
class Choice:
    """The pick, the most accurate one within the limits, and who else is within its noise (the pick among them)."""

    picked: Result
    best: Result
    alike: tuple[Result, ...]


def fits(result: Result, limits: Compare) -> bool:
    """Whether size and latency are known to be within the limits."""
    if limits.under_ms is None and limits.under_mb is None:
        return True
    weight = result.weight
    return weight is not None and (
        (limits.under_ms is None or weight.milliseconds <= limits.under_ms)
        and (limits.under_mb is None or weight.megabytes <= limits.under_mb)
    )


def mcnemar(one: str, other: str) -> float:
    """How likely so uneven a share of the differing answers is by chance: McNemar's exact test (McNemar 1947).

    Both answered the same photos, so that only those count on which one is right and the other wrong; that tells much
    smaller differences apart than two intervals do.

    Args:
        one: a "1" for each photo that was answered rightly, a "0" for each other.
        other: the same photos in the same order.
    """
    first, second = (np.frombuffer(text.encode(), np.uint8) == ord("1") for text in (one, other))
    only_first, only_second = int((first & ~second).sum()), int((second & ~first).sum())
    if not only_first + only_second:
        return 1.0
    return float(scipy.stats.binomtest(only_first, only_first + only_second, 0.5).pvalue)


def choose(results: Sequence[Result], limits: Compare) -> Choice | None:
    """The entry to train; None where nothing measured is within the limits.

    Of those within the limits the most accurate one (the lower validation loss among equals) is compared with each
    other (`mcnemar`). Of those within its noise, itself among them, the one with the lowest size times latency is
    picked; where that is equal too, the most accurate. Without size and latency an entry is only picked as the best.
    """
    ranked = sorted((result for result in results if result.score and fits(result, limits)), key=order)
    if not ranked:
        return None
    best = ranked[0]
    assert best.score
    alike = [
        result
        for result in ranked
        if result is best or (result.score and result.weight and mcnemar(best.score.right, result.score.right) >= LEVEL)
    ]
    return Choice(min(alike, key=_cost), best, tuple(alike))


def order(result: Result) -> tuple[float, ...]:
    """Sorts: measured ones first, the most accurate first, the lower loss among equals, the rest by latency."""
    latency = result.weight.milliseconds if result.weight else float("inf")
    if result.score is None:
        return 1, latency
    return 0, -result.score.val_accuracy, result.score.val_loss, latency


def _cost(result: Result) -> float:
    # `min` keeps the first among equals, which is the most accurate.
    return result.weight.megabytes * result.weight.milliseconds if result.weight else float("inf")
