"""TPE search on a Ray cluster: Optuna samples heads, and Ray Tune trains many of them in parallel."""

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import optuna
from optuna.storages import InMemoryStorage
from ray import tune
from ray.tune.search.optuna import OptunaSearch

from headstand import heads
from headstand.heads.search import space as spaces
from headstand.heads.search import tpe
from headstand.heads.search.trial import SearchError, Trial, optuna_trial, pack_bits
from headstand.heads.search.trial_runner import SearchData, TrialRunner, build_head, with_results
from headstand.recipe import Head
from headstand.recipe.search_space import TRIALS, Job, Search
from headstand.scale.ray.search import FINISHED, HISTORY, INVALID, METRIC, RIGHT, Losses, run_trials, run_until_done


def run(search: Search, start: Head, runner: TrialRunner) -> Head:
    """Runs a TPE search as `headstand.heads.search.tpe.run`, with trials in parallel on the cluster.

    The samples depend on the order in which trials finish. A trial is pruned by the same rule as there (Optuna's
    `MedianPruner`): if its best epoch so far is worse than the median of the completed trials in the current epoch,
    earlier ones inside the job's ranges among them.
    """
    return tpe.run_jobs(search, start, runner, _job)


def _job(number: int, job: Job, start: Head, runner: TrialRunner, earlier: Sequence[Trial]) -> None:
    storage = InMemoryStorage()
    known = runner.load_journal(number)
    study, space, _ = tpe.create_study(number, job, start, earlier, storage=storage, enqueue=not known)
    count, (startup, grace) = job.trials or TRIALS, tpe.patience(job, start)
    inside = [trial for trial in earlier if spaces.point(trial.head, trial.values, space)]
    for trial in known:
        study.add_trial(optuna_trial(trial, space))

    def count_pending() -> int:
        return max(0, count - len(runner.of(number)))

    previous = time.perf_counter()

    def after(config: dict[str, Any], result: dict[str, Any]) -> None:
        nonlocal previous
        now = time.perf_counter()
        seconds, previous = now - previous, now
        values = {name: spaces.recipe_value(name, config[name], job.parameters[name]) for name in space}
        trial = Trial(
            number, 0, values, build_head(start, values), 0.0, 0.0, 1, seconds=seconds, selection=runner.data.selection
        )
        runner.record(
            replace(with_results(trial, result[HISTORY]), pruned=not result.get(FINISHED), right=result.get(RIGHT, "")),
            space,
        )

    def should_prune(history: Sequence[Mapping[str, float]]) -> bool:
        if not job.pruning or len(history) <= grace:
            return False
        curves = [trial.curve for trial in (*inside, *runner.of(number)) if not trial.pruned]
        accuracies = [curve[len(history) - 1] for curve in curves if len(curve) >= len(history)]
        best = max(metrics["val_accuracy"] for metrics in history)
        return len(curves) >= startup and bool(accuracies) and best < float(np.median(accuracies))

    def run_pending(losses: Losses) -> None:
        # OptunaSearch finds the study by its name. With `constant_liar`, unfinished trials count as bad ones, so that
        # parallel samples differ.
        seed = tpe.seed(runner.data.seed, number, len(runner.of(number)))
        sampler = optuna.samplers.TPESampler(n_startup_trials=startup, seed=seed, constant_liar=True)
        searcher = OptunaSearch(
            space, metric=METRIC, mode="max", study_name=study.study_name, storage=storage, sampler=sampler
        )
        run_trials(
            _fit_reporting_epochs,
            runner.data,
            after,
            losses,
            parameters={"start": start.model_dump(), "job": job.model_dump()},
            samples=count_pending(),
            searcher=searcher,
            should_prune=should_prune,
        )

    run_until_done(run_pending, count_pending)


def _fit_reporting_epochs(config: dict[str, Any], data: SearchData, start: dict[str, Any], job: dict[str, Any]) -> None:
    """Trains one head and reports its metrics after each epoch, so that Tune can stop it."""
    parameters = Job.model_validate(job).parameters
    try:
        values = {name: spaces.recipe_value(name, value, parameters[name]) for name, value in config.items()}
        head = build_head(Head.model_validate(start), values)
    except SearchError as error:
        tune.report({INVALID: str(error), HISTORY: [], METRIC: heads.objective({"val_loss": math.inf}, data.selection)})
        return
    history: list[dict[str, float]] = []

    def after_epoch(number: int, metrics: dict[str, float]) -> None:
        history.append(metrics)
        tune.report({HISTORY: history, METRIC: heads.objective(metrics, data.selection)})

    fit = heads.fit(head, data.train, data.validation, data.classes, data.seed, after_epoch, data.selection)
    right = pack_bits(fit.correct)
    tune.report({HISTORY: fit.history, METRIC: heads.objective(fit.best, data.selection), FINISHED: True, RIGHT: right})
