"""TPE search on a Ray cluster: Optuna samples heads, and Ray Tune trains many of them in parallel."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import optuna
from optuna.storages import InMemoryStorage
from ray import tune
from ray.tune.search.optuna import OptunaSearch

from headstand import heads as heads
from headstand.heads.search import space as spaces
from headstand.heads.search import tpe
from headstand.heads.search.journal import frozen
from headstand.heads.search.trial import SearchError, Trial
from headstand.heads.search.trial_runner import SearchData, TrialRunner, build_head, completed_trials, correct
from headstand.recipe import Head
from headstand.recipe.search_space import TRIALS, Job, Search
from headstand.scale.ray.search import FINISHED, HISTORY, METRIC, REFUSED, RIGHT, Losses, trials, until


def run(search: Search, start: Head, attempts: TrialRunner) -> Head:
    """Runs a TPE search as `headstand.heads.search.tpe.run`, with trials in parallel on the cluster.

    The samples depend on the order in which trials finish. A trial is pruned by the same rule as there (Optuna's
    `MedianPruner`): if its best epoch so far is worse than the median of the completed trials in the current epoch,
    earlier ones inside the job's ranges among them.
    """
    return tpe.jobs(search, start, attempts, _job)


def _job(place: int, job: Job, start: Head, attempts: TrialRunner, learnt: Sequence[Trial]) -> None:
    storage = InMemoryStorage()
    known = attempts.remembered(place)
    study, space, _ = tpe.opened(place, job, start, learnt, storage=storage, first=not known)
    count, (startup, grace) = job.trials or TRIALS, tpe.patience(job, start)
    near = [trial for trial in learnt if spaces.place(trial.head, trial.values, space)]
    for trial in known:
        study.add_trial(frozen(trial, space))

    def left() -> int:
        return max(0, count - len(attempts.of(place)))

    clock = time.perf_counter()

    def after(config: dict[str, Any], result: dict[str, Any]) -> None:
        nonlocal clock
        now = time.perf_counter()
        seconds, clock = now - clock, now
        values = {name: spaces.meant(name, config[name], job.parameters[name]) for name in space}
        begun = Trial(place, 0, values, build_head(start, values), 0.0, 0.0, 1, seconds=seconds)
        attempts.ended(
            replace(
                completed_trials(begun, result[HISTORY]), pruned=not result.get(FINISHED), right=result.get(RIGHT, "")
            ),
            space,
        )

    def hopeless(history: Sequence[Mapping[str, float]]) -> bool:
        if not job.pruning or len(history) <= grace:
            return False
        whole = [trial.curve for trial in (*near, *attempts.of(place)) if not trial.pruned]
        there = [curve[len(history) - 1] for curve in whole if len(curve) >= len(history)]
        best = max(figures["val_accuracy"] for figures in history)
        return len(whole) >= startup and bool(there) and best < float(np.median(there))

    def attempt(losses: Losses) -> None:
        # OptunaSearch finds the study by its name. With `constant_liar`, unfinished trials count as bad ones, so that
        # parallel samples differ.
        seed = tpe.seed(attempts.task.seed, place, len(attempts.of(place)))
        sampler = optuna.samplers.TPESampler(n_startup_trials=startup, seed=seed, constant_liar=True)
        searcher = OptunaSearch(
            space, metric=METRIC, mode="max", study_name=study.study_name, storage=storage, sampler=sampler
        )
        trials(
            _stepwise,
            attempts.task,
            after,
            losses,
            given={"start": start.model_dump(), "job": job.model_dump()},
            samples=left(),
            searcher=searcher,
            hopeless=hopeless,
        )

    until(attempt, left)


def _stepwise(config: dict[str, Any], task: SearchData, start: dict[str, Any], job: dict[str, Any]) -> None:
    """Trains one head and reports its metrics after each epoch, so that Tune can stop it."""
    parameters = Job.model_validate(job).parameters
    try:
        values = {name: spaces.meant(name, value, parameters[name]) for name, value in config.items()}
        head = build_head(Head.model_validate(start), values)
    except SearchError as error:
        tune.report({REFUSED: str(error), HISTORY: [], METRIC: 0.0})
        return
    history: list[dict[str, float]] = []

    def after_epoch(number: int, figures: dict[str, float]) -> None:
        history.append(figures)
        tune.report({HISTORY: history, METRIC: heads.objective(figures)})

    fit = heads.fit(head, task.train, task.validation, task.classes, task.seed, after_epoch)
    right = correct(fit.model, task.validation)
    tune.report({HISTORY: fit.history, METRIC: heads.objective(fit.best), FINISHED: True, RIGHT: right})
