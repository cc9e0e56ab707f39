"""Which entry to train: the most accurate within the limits, or a smaller and faster one within noise of it."""

from collections.abc import Sequence
from dataclasses import dataclass

from headstand.compare.result import Result
from headstand.stats import difference
from headstand.variants import Compare


@dataclass(frozen=True)
class Choice:
    """The pick, the most accurate entry within the limits, and all entries within noise of it (`headstand.stats`)."""

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


def choose(results: Sequence[Result], limits: Compare) -> Choice | None:
    """The entry to train; None where nothing measured is within the limits.

    Of those within the limits the most accurate one (the lower validation loss among equals) is compared with each
    other on the same validation photos. Of those within noise of it, itself among them, the one with the lowest size
    times latency is picked; if that is equal too, the most accurate. An entry without size and latency is only picked
    as the most accurate one.
    """
    ranked = sorted((result for result in results if result.score and fits(result, limits)), key=order)
    if not ranked:
        return None
    best = ranked[0]
    assert best.score
    alike = [
        result
        for result in ranked
        if result is best
        or (result.score and result.weight and difference(best.score.outcomes, result.score.outcomes).within_noise)
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
