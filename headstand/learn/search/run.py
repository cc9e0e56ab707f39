"""The corridor of the search: strategy, journal, the head that won."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from headstand.learn import head as heads
from headstand.learn.search import grid, staged, tpe
from headstand.learn.search.attempts import AfterTrial, Attempts, Task
from headstand.learn.search.journal import Journal
from headstand.learn.search.trial import Trial
from headstand.recipe import Head, Search

Strategy = Callable[[Search, Head, Attempts], Head]

STRATEGIES: Mapping[str, Strategy] = {"staged": staged.run, "grid": grid.run, "tpe": tpe.run}


@dataclass(frozen=True)
class Found:
    """The trials by stage and number, and the head that won."""

    trials: tuple[Trial, ...]
    head: Head


def run(
    search: Search,
    start: Head,
    train: heads.Split,
    validation: heads.Split,
    classes: int,
    seed: int,
    journal: Path,
    after_trial: AfterTrial | None = None,
    trying: type[Attempts] = Attempts,
    strategies: Mapping[str, Strategy] = STRATEGIES,
) -> Found:
    """Search; trials that the journal already holds are not run again, and the end is the same.

    Args:
        search: what is tried, and how.
        start: the head to begin with.
        train: what is learnt from.
        validation: what ranks the trials: by accuracy, by lower loss among equals.
        classes: number of classes.
        seed: every trial begins from the same one, so that settings are compared and not luck.
        journal: Optuna's file; the search resumes from it.
        after_trial: called with each trial and whether it was remembered rather than run.
        trying: how heads are tried.
        strategies: by the recipe's word for each.

    Raises:
        SearchError: values that make no head, or an earlier run to start from that is not there.
    """
    if search.strategy == "none":
        return Found((), start)
    attempts = trying(Task(train, validation, classes, seed), Journal(journal), after_trial)
    head = strategies[search.strategy](search, start, attempts)
    return Found(tuple(attempts.trials), head)
