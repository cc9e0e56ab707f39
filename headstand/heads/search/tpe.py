"""Search with the tree-structured Parzen estimator (TPE, Bergstra et al. 2011) and median pruning."""

import hashlib
from collections.abc import Callable, Sequence
from typing import Any

import optuna
from optuna.trial import TrialState

from headstand.heads.search import space as spaces
from headstand.heads.search.journal import frozen, of_run
from headstand.heads.search.space import Space
from headstand.heads.search.trial import Trial, best
from headstand.heads.search.trial_runner import TrialRunner, build_head
from headstand.recipe import Head
from headstand.recipe.search_space import TRIALS, Job, Search

STARTUP = 10
"""Trials that are sampled at random before TPE is used: Optuna's default."""

_GRACE = 4
"""A trial may be pruned only after 1/4 of the epochs, at least two."""


def run(search: Search, start: Head, attempts: TrialRunner) -> Head:
    """Runs the jobs of a TPE search and returns the best head that was trained to the end; errors as `jobs`."""
    return jobs(search, start, attempts, _job)


def jobs(
    search: Search,
    start: Head,
    attempts: TrialRunner,
    run_job: Callable[[int, Job, Head, TrialRunner, Sequence[Trial]], None],
) -> Head:
    """Runs jobs in order, each warm-started as its recipe sets, and returns the best head that was not pruned.

    Args:
        search: the recipe's jobs.
        start: the recipe's head, returned if no trial was completed.
        attempts: the trial runner.
        run_job: called with a job's number (from 1), the job, `start`, `attempts` and the earlier trials to learn from.

    Raises:
        SearchError: the run to warm-start from does not exist, or a head cannot have the searched values.
    """
    learnt: list[Trial] = []
    for place, job in enumerate(search.plan, start=1):
        if not job.warm_start:
            learnt = []
        elif isinstance(job.warm_start, str):
            learnt = of_run(job.warm_start)
        run_job(place, job, start, attempts, learnt)
        learnt = [*learnt, *attempts.of(place)]
    winner = best(attempts.trials)
    return winner.head if winner else start


def opened(
    place: int,
    job: Job,
    start: Head,
    learnt: Sequence[Trial],
    pruner: optuna.pruners.BasePruner | None = None,
    storage: optuna.storages.BaseStorage | None = None,
    first: bool = True,
) -> tuple[optuna.Study, Space, int]:
    """Creates a job's study; returns it with the search space and the number of earlier trials added to the study.

    Args:
        place: number of the job, from 1.
        job: parameters and their ranges.
        start: the recipe's head.
        learnt: earlier trials to learn from; those outside the ranges are left out.
        pruner: Optuna's pruner of the study.
        storage: Optuna's storage of the study.
        first: whether to enqueue the job's first trial, which is not sampled.
    """
    space = {name: spaces.distribution(name, dimension) for name, dimension in job.parameters.items()}
    study = optuna.create_study(study_name=f"job {place}", direction="maximize", pruner=pruner, storage=storage)
    known = 0
    for trial in learnt:
        if params := spaces.place(trial.head, trial.values, space):
            study.add_trial(frozen(trial, space, params))
            known += 1
    if not first:
        return study, space, known
    if model := best(learnt):
        print(f"  job {place}: {known} of {len(learnt)} earlier trials lie in its ranges", flush=True)
        # The first trial is the best earlier one, clipped to the job's ranges.
        study.enqueue_trial(spaces.nearest(model.head, model.values, space))
    elif params := spaces.place(start, {}, space):
        # The first trial is the recipe's own head, so that the result is not worse.
        study.enqueue_trial(params)
    return study, space, known


def patience(job: Job, start: Head) -> tuple[int, int]:
    """Returns the number of trials that are sampled at random, and the number of epochs before a trial may be pruned.

    Pruning also starts only after that number of trials.
    """
    longest = max(job.parameters["epochs"].ends("epochs")) if "epochs" in job.parameters else start.epochs
    return min(STARTUP, -(-(job.trials or TRIALS) // 3)), max(2, longest // _GRACE)


def _job(place: int, job: Job, start: Head, attempts: TrialRunner, learnt: Sequence[Trial]) -> None:
    count = job.trials or TRIALS
    startup, grace = patience(job, start)
    pruner = optuna.pruners.MedianPruner(startup, grace) if job.pruning else optuna.pruners.NopPruner()
    study, space, known = opened(place, job, start, learnt, pruner)

    def ask(number: int) -> tuple[optuna.Trial, dict[str, Any], Head]:
        # A new sampler for each trial: its sample depends only on its number and the trials before it, so that a
        # resumed search draws the same values as an uninterrupted one.
        study.sampler = optuna.samplers.TPESampler(
            n_startup_trials=startup, seed=seed(attempts.task.seed, place, number)
        )
        asked = study.ask(space)
        values = {name: spaces.meant(name, value, job.parameters[name]) for name, value in asked.params.items()}
        return asked, values, build_head(start, values)

    def tell(asked: optuna.Trial, trial: Trial, reported: int = 0) -> None:
        for epoch, accuracy in enumerate(trial.curve[reported:], start=reported + 1):
            asked.report(accuracy, epoch)
        study.tell(asked, None if trial.pruned else trial.objective, TrialState.PRUNED if trial.pruned else None)

    # Random trials do not depend on each other, so they are trained in parallel.
    batch = [ask(number) for number in range(1, min(count, max(0, startup - known)) + 1)]
    trials = attempts.many(place, space, [(values, head) for _, values, head in batch])
    for (asked, _, _), trial in zip(batch, trials, strict=True):
        tell(asked, trial)
    for number in range(len(batch) + 1, count + 1):
        asked, values, head = ask(number)
        watch = _PruningCallback(asked)
        tell(asked, attempts.one(place, space, values, head, watch), watch.epochs)


class _PruningCallback:
    """Callback that reports each epoch's accuracy to Optuna's pruner and returns whether to prune the trial."""

    def __init__(self, asked: optuna.Trial) -> None:
        self.epochs = 0
        self._asked = asked

    def __call__(self, epoch: int, accuracy: float) -> bool:
        self._asked.report(accuracy, epoch)
        self.epochs = epoch
        return self._asked.should_prune()


def seed(*numbers: int) -> int:
    """Returns a 32-bit seed that is a SHA-256 hash of the numbers."""
    return int.from_bytes(hashlib.sha256(repr(numbers).encode()).digest()[:4], "big")
