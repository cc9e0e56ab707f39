"""Entry point of the search: runs the recipe's strategy and returns all trials and the best head."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from headstand import heads as heads
from headstand.heads.search import grid, staged, tpe
from headstand.heads.search.journal import TrialJournal
from headstand.heads.search.trial import Trial
from headstand.heads.search.trial_runner import AfterTrial, SearchData, TrialRunner
from headstand.recipe import Head, Search

Strategy = Callable[[Search, Head, TrialRunner], Head]

STRATEGIES: Mapping[str, Strategy] = {"staged": staged.run, "grid": grid.run, "tpe": tpe.run}


@dataclass(frozen=True)
class SearchResult:
    """Result of a search: the trials in order of stage and number, and the best head."""

    trials: tuple[Trial, ...]
    head: Head


def run(
    search: Search,
    start: Head,
    train: heads.FeatureSplit,
    validation: heads.FeatureSplit,
    classes: int,
    seed: int,
    journal: Path,
    after_trial: AfterTrial | None = None,
    trying: type[TrialRunner] = TrialRunner,
    strategies: Mapping[str, Strategy] = STRATEGIES,
) -> SearchResult:
    """Searches for the best head and returns all trials.

    Trials in the journal are not trained again; a resumed search has the same result as an uninterrupted one.

    Args:
        search: the recipe's section: strategy, parameters and values.
        start: the head that the search starts from.
        train: training split.
        validation: the split that ranks the trials: by accuracy, then by lower loss.
        classes: number of classes.
        seed: seed of every trial, so that trials differ in their settings only.
        journal: Optuna's journal file, from which an interrupted search resumes.
        after_trial: called with each trial and whether it comes from the journal.
        trying: the trial runner.
        strategies: strategies by their name in recipes.

    Raises:
        SearchError: a head cannot have the searched values, or the run to warm-start from does not exist.
    """
    if search.strategy == "none":
        return SearchResult((), start)
    attempts = trying(SearchData(train, validation, classes, seed), TrialJournal(journal), after_trial)
    head = strategies[search.strategy](search, start, attempts)
    return SearchResult(tuple(attempts.trials), head)
