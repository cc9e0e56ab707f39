"""Selects the entry to train: the most accurate within the limits, or a smaller and faster indistinguishable one."""

from collections.abc import Sequence
from dataclasses import dataclass

from headstand.compare.result import ModelSize, Result
from headstand.recipe.variants import Compare
from headstand.stats import difference


@dataclass(frozen=True)
class Choice:
    """Result of the selection.

    Attributes:
        selected: the selected entry.
        best: the most accurate entry within the limits.
        indistinguishable: all entries within noise of the best (see `headstand.stats`), the best included.
    """

    selected: Result
    best: Result
    indistinguishable: tuple[Result, ...]


def fits(size: ModelSize | None, limits: Compare) -> bool:
    """Returns whether size and latency are measured and within the limits; always true without limits."""
    if limits.under_ms is None and limits.under_mb is None:
        return True
    return size is not None and (
        (limits.under_ms is None or size.milliseconds <= limits.under_ms)
        and (limits.under_mb is None or size.megabytes <= limits.under_mb)
    )


def choose(results: Sequence[Result], limits: Compare) -> Choice | None:
    """Returns the entry to train; None if no entry within the limits has a measured accuracy.

    The most accurate entry within the limits (among equals the one with the lower validation loss) is compared with
    each other one on the same validation photos. Of the entries within noise of it, including itself, the one with the
    lowest product of size and latency is selected; among equals the most accurate one. An entry without size and
    latency can only be selected if it is the most accurate one.
    """
    ranked = sorted((result for result in results if result.score and fits(result.model_size, limits)), key=order)
    if not ranked:
        return None
    best = ranked[0]
    assert best.score
    indistinguishable = [
        result
        for result in ranked
        if result is best
        or (result.score and result.model_size and difference(best.score.outcomes, result.score.outcomes).within_noise)
    ]
    return Choice(min(indistinguishable, key=_cost), best, tuple(indistinguishable))


def order(result: Result) -> tuple[float, ...]:
    """Returns the leaderboard's sort key: descending accuracy, then loss, then latency; unmeasured entries last."""
    latency = result.model_size.milliseconds if result.model_size else float("inf")
    if result.score is None:
        return 1, latency
    return 0, -result.score.val_accuracy, result.score.val_loss, latency


def _cost(result: Result) -> float:
    # `min` returns the first of equal entries, which is the most accurate one.
    return result.model_size.megabytes * result.model_size.milliseconds if result.model_size else float("inf")
