"""Search with the tree-structured Parzen estimator (Bergstra et al. 2011), hopeless trials stopped early."""

import hashlib
from collections.abc import Callable, Sequence
from typing import Any

import optuna
from optuna.trial import TrialState

from headstand.learn.search import space as spaces
from headstand.learn.search.attempts import Attempts, made
from headstand.learn.search.journal import frozen, of_run
from headstand.learn.search.space import Space
from headstand.learn.search.trial import Trial, best
from headstand.recipe import Head
from headstand.space import TRIALS, Job, Search

STARTUP = 10
"""Heads that are drawn at random before the estimator has anything to say: Optuna's own number."""

_GRACE = 4
"""Every trial gets this part of the epochs, one in four and at least two, before it is compared with the others."""


def run(search: Search, start: Head, attempts: Attempts) -> Head:
    """Job by job; the best head of all that were trained to the end; errors as `jobs`."""
    return jobs(search, start, attempts, _job)


def jobs(
    search: Search,
    start: Head,
    attempts: Attempts,
    run_job: Callable[[int, Job, Head, Attempts, Sequence[Trial]], None],
) -> Head:
    """Run jobs, each with what it is to learn from.

    Raises:
        SearchError: a run to start from that is not there, or values that make no head.
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
    """A job's study with what is known already, its space, and how many trials that is.

    Args:
        place: of the job, from 1.
        job: its ranges.
        start: the recipe's head.
        learnt: trials to learn from.
        pruner: ends hopeless trials.
        storage: where the study is kept.
        first: whether the job's first trial, which is not drawn, is yet to come.
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
        # The best of them goes first, moved into the ranges where these are narrower.
        study.enqueue_trial(spaces.nearest(model.head, model.values, space))
    elif params := spaces.place(start, {}, space):
        # The recipe's own head goes first, where it can: what is found is then no worse.
        study.enqueue_trial(params)
    return study, space, known


def patience(job: Job, start: Head) -> tuple[int, int]:
    """How many trials are drawn at random and not compared, and after how many epochs one is compared at all."""
    longest = max(job.parameters["epochs"].ends("epochs")) if "epochs" in job.parameters else start.epochs
    return min(STARTUP, -(-(job.trials or TRIALS) // 3)), max(2, longest // _GRACE)


def _job(place: int, job: Job, start: Head, attempts: Attempts, learnt: Sequence[Trial]) -> None:
    count = job.trials or TRIALS
    startup, grace = patience(job, start)
    pruner = optuna.pruners.MedianPruner(startup, grace) if job.pruning else optuna.pruners.NopPruner()
    study, space, known = opened(place, job, start, learnt, pruner)

    def ask(number: int) -> tuple[optuna.Trial, dict[str, Any], Head]:
        # A sampler for each trial: what it draws hangs on the trials before it and its number, so that a resumed
        # search draws the same as an uninterrupted one.
        study.sampler = optuna.samplers.TPESampler(
            n_startup_trials=startup, seed=seed(attempts.task.seed, place, number)
        )
        asked = study.ask(space)
        values = {name: spaces.meant(name, value, job.parameters[name]) for name, value in asked.params.items()}
        return asked, values, made(start, values)

    def tell(asked: optuna.Trial, trial: Trial, reported: int = 0) -> None:
        for epoch, accuracy in enumerate(trial.curve[reported:], start=reported + 1):
            asked.report(accuracy, epoch)
        study.tell(asked, None if trial.pruned else trial.objective, TrialState.PRUNED if trial.pruned else None)

    # Those drawn at random do not wait for each other.
    batch = [ask(number) for number in range(1, min(count, max(0, startup - known)) + 1)]
    trials = attempts.many(place, space, [(values, head) for _, values, head in batch])
    for (asked, _, _), trial in zip(batch, trials, strict=True):
        tell(asked, trial)
    for number in range(len(batch) + 1, count + 1):
        asked, values, head = ask(number)
        watch = _Watch(asked)
        tell(asked, attempts.one(place, space, values, head, watch), watch.epochs)


class _Watch:
    """Reports a trial's epochs to the pruner and hears whether to go on."""

    def __init__(self, asked: optuna.Trial) -> None:
        self.epochs = 0
        self._asked = asked

    def __call__(self, epoch: int, accuracy: float) -> bool:
        self._asked.report(accuracy, epoch)
        self.epochs = epoch
        return self._asked.should_prune()


def seed(*numbers: int) -> int:
    """Unlike numbers give unlike seeds; the same ones the same."""
    return int.from_bytes(hashlib.sha256(repr(numbers).encode()).digest()[:4], "big")
