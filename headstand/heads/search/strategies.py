"""Entry point of the search, and the strategies: staged search and grid search here, TPE in its own module."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from headstand import heads
from headstand.heads.search import space as spaces
from headstand.heads.search import tpe
from headstand.heads.search.trial import Trial, TrialJournal, best
from headstand.heads.search.trial_runner import AfterTrial, SearchData, TrialRunner, build_head
from headstand.recipe import Head
from headstand.recipe.search_space import Dimension, Search


@dataclass(frozen=True)
class SearchResult:
    """Result of a search: the trials in order of stage and number, and the best head."""

    trials: tuple[Trial, ...]
    head: Head


def staged(search: Search, start: Head, runner: TrialRunner) -> Head:
    """Runs the stages in order and returns the head with the best value of each stage.

    Each stage varies one parameter and keeps the others at their best values so far.

    Args:
        search: the recipe's stages.
        start: the head that the first stage starts from.
        runner: the trial runner.
    """
    current = start
    for number, stage in enumerate(search.stages, start=1):
        name = stage.parameter
        space: spaces.Space = {name: spaces.distribution(name, Dimension.model_construct(values=stage.values))}
        candidates = [({name: value}, build_head(current, {name: value})) for value in stage.values]
        ranked = sorted(runner.run_many(number, space, candidates), key=lambda trial: trial.rank, reverse=True)
        if not stage.finalists:
            current = ranked[0].head
            continue
        longer = {"epochs": stage.finalist_epochs}
        finalists = [
            ({**trial.values, **longer}, build_head(trial.head, longer)) for trial in ranked[: stage.finalists]
        ]
        winner = max(runner.run_many(number, space, finalists), key=lambda trial: trial.rank)
        # The finalists' longer training selects the value; the number of epochs stays that of the recipe.
        current = build_head(winner.head, {"epochs": current.epochs})
    return current


def grid(search: Search, start: Head, runner: TrialRunner) -> Head:
    """Trains every combination of the values of every grid and returns the best head."""
    for number, job in enumerate(search.plan, start=1):
        space = {
            name: spaces.distribution(name, Dimension.model_construct(values=dimension.listed(name)))
            for name, dimension in job.parameters.items()
        }
        runner.run_many(number, space, [(values, build_head(start, values)) for values in job.grid()])
    winner = best(runner.trials)
    return winner.head if winner else start


Strategy = Callable[[Search, Head, TrialRunner], Head]

STRATEGIES: Mapping[str, Strategy] = {"staged": staged, "grid": grid, "tpe": tpe.run}


def run(
    search: Search,
    start: Head,
    train: heads.FeatureSplit,
    validation: heads.FeatureSplit,
    classes: int,
    seed: int,
    journal: Path,
    after_trial: AfterTrial | None = None,
    runner_class: type[TrialRunner] = TrialRunner,
    strategies: Mapping[str, Strategy] = STRATEGIES,
) -> SearchResult:
    """Searches for the best head and returns all trials.

    Trials in the journal are not trained again; a resumed search has the same result as an uninterrupted one.

    Args:
        search: the recipe's section: strategy, parameters and values.
        start: the head that the search starts from.
        train: training split.
        validation: the split that ranks the trials, by `search.selection`.
        classes: number of classes.
        seed: seed of every trial, so that trials differ in their settings only.
        journal: Optuna's journal file, from which an interrupted search resumes.
        after_trial: called with each trial and whether it comes from the journal.
        runner_class: class of the trial runner.
        strategies: strategies by their name in recipes.

    Raises:
        SearchError: a head cannot have the searched values, or the run to warm-start from does not exist.
    """
    if search.strategy == "none":
        return SearchResult((), start)
    runner = runner_class(
        SearchData(train, validation, classes, seed, search.selection), TrialJournal(journal), after_trial
    )
    head = strategies[search.strategy](search, start, runner)
    return SearchResult(tuple(runner.trials), head)
