"""Search with the tree-structured Parzen estimator (TPE, Bergstra et al. 2011) and median pruning."""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import optuna
from optuna.trial import TrialState

from headstand.heads.search import space as spaces
from headstand.heads.search.space import Space
from headstand.heads.search.trial import Trial, best, optuna_trial, trials_of_run
from headstand.heads.search.trial_runner import TrialRunner, build_head
from headstand.recipe import Head
from headstand.recipe.search_space import TRIALS, Job, Search

STARTUP = 10
"""Trials that are sampled at random before TPE is used: Optuna's default."""

_GRACE = 4
"""A trial may be pruned only after 1/4 of the epochs, at least two."""


def run(search: Search, start: Head, runner: TrialRunner) -> Head:
    """Runs the jobs of a TPE search and returns the best head that was trained to the end; errors as `run_jobs`."""
    return run_jobs(search, start, runner, _job)


def run_jobs(
    search: Search,
    start: Head,
    runner: TrialRunner,
    run_job: Callable[[int, Job, Head, TrialRunner, Sequence[Trial]], None],
) -> Head:
    """Runs jobs in order, each warm-started as its recipe sets, and returns the best head that was not pruned.

    Args:
        search: the recipe's jobs.
        start: the recipe's head, returned if no trial was completed.
        runner: the trial runner.
        run_job: called with a job's number (from 1), the job, `start`, `runner` and the earlier trials to learn from.

    Raises:
        SearchError: the run to warm-start from does not exist, or a head cannot have the searched values.
    """
    earlier: list[Trial] = []
    for number, job in enumerate(search.plan, start=1):
        if not job.warm_start:
            earlier = []
        elif isinstance(job.warm_start, str):
            earlier = [replace(trial, selection=runner.data.selection) for trial in trials_of_run(job.warm_start)]
        run_job(number, job, start, runner, earlier)
        earlier = [*earlier, *runner.of(number)]
    winner = best(runner.trials)
    return winner.head if winner else start


def create_study(
    number: int,
    job: Job,
    start: Head,
    earlier: Sequence[Trial],
    pruner: optuna.pruners.BasePruner | None = None,
    storage: optuna.storages.BaseStorage | None = None,
    enqueue: bool = True,
) -> tuple[optuna.Study, Space, int]:
    """Creates a job's study; returns it with the search space and the number of earlier trials added to the study.

    Args:
        number: number of the job, from 1.
        job: parameters and their ranges.
        start: the recipe's head.
        earlier: trials to learn from; those outside the ranges are left out.
        pruner: Optuna's pruner of the study.
        storage: Optuna's storage of the study.
        enqueue: whether to enqueue the job's first trial, which is not sampled.
    """
    space = {name: spaces.distribution(name, dimension) for name, dimension in job.parameters.items()}
    study = optuna.create_study(study_name=f"job {number}", direction="maximize", pruner=pruner, storage=storage)
    known = 0
    for trial in earlier:
        if params := spaces.point(trial.head, trial.values, space):
            study.add_trial(optuna_trial(trial, space, params))
            known += 1
    if not enqueue:
        return study, space, known
    if winner := best(earlier):
        print(f"  job {number}: {known} of {len(earlier)} earlier trials lie in its ranges", flush=True)
        # The first trial is the best earlier one, clipped to the job's ranges.
        study.enqueue_trial(spaces.nearest(winner.head, winner.values, space))
    elif params := spaces.point(start, {}, space):
        # The first trial is the recipe's own head, so that the result is not worse.
        study.enqueue_trial(params)
    return study, space, known


def patience(job: Job, start: Head) -> tuple[int, int]:
    """Returns the number of trials that are sampled at random, and the number of epochs before a trial may be pruned.

    Pruning also starts only after that number of trials.
    """
    longest = max(job.parameters["epochs"].ends("epochs")) if "epochs" in job.parameters else start.epochs
    return min(STARTUP, -(-(job.trials or TRIALS) // 3)), max(2, longest // _GRACE)


def _job(number: int, job: Job, start: Head, runner: TrialRunner, earlier: Sequence[Trial]) -> None:
    count = job.trials or TRIALS
    startup, grace = patience(job, start)
    pruner = optuna.pruners.MedianPruner(startup, grace) if job.pruning else optuna.pruners.NopPruner()
    study, space, known = create_study(number, job, start, earlier, pruner)

    def sample(index: int) -> tuple[optuna.Trial, dict[str, Any], Head]:
        # A new sampler for each trial: its sample depends only on its number and the trials before it, so that a
        # resumed search draws the same values as an uninterrupted one.
        study.sampler = optuna.samplers.TPESampler(n_startup_trials=startup, seed=seed(runner.data.seed, number, index))
        sampled = study.ask(space)
        values = {
            name: spaces.recipe_value(name, value, job.parameters[name]) for name, value in sampled.params.items()
        }
        return sampled, values, build_head(start, values)

    def finish(sampled: optuna.Trial, trial: Trial, reported: int = 0) -> None:
        for epoch, accuracy in enumerate(trial.curve[reported:], start=reported + 1):
            sampled.report(accuracy, epoch)
        study.tell(sampled, None if trial.pruned else trial.objective, TrialState.PRUNED if trial.pruned else None)

    # Random trials do not depend on each other, so they are trained in parallel.
    batch = [sample(index) for index in range(1, min(count, max(0, startup - known)) + 1)]
    trials = runner.run_many(number, space, [(values, head) for _, values, head in batch])
    for (sampled, _, _), trial in zip(batch, trials, strict=True):
        finish(sampled, trial)
    for index in range(len(batch) + 1, count + 1):
        sampled, values, head = sample(index)
        pruning = _PruningCallback(sampled)
        finish(sampled, runner.run_one(number, space, values, head, pruning), pruning.epochs)


class _PruningCallback:
    """Callback that reports each epoch's accuracy to Optuna's pruner and returns whether to prune the trial."""

    def __init__(self, trial: optuna.Trial) -> None:
        self.epochs = 0
        self._trial = trial

    def __call__(self, epoch: int, accuracy: float) -> bool:
        self._trial.report(accuracy, epoch)
        self.epochs = epoch
        return self._trial.should_prune()


def seed(*numbers: int) -> int:
    """Returns a 32-bit seed that is a SHA-256 hash of the numbers."""
    return int.from_bytes(hashlib.sha256(repr(numbers).encode()).digest()[:4], "big")
