"""Search on a Ray cluster: Ray Tune trains the heads, and each machine holds one copy of the features."""

import logging
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import ray
from ray import tune

from headstand import heads
from headstand.heads import search as local
from headstand.heads.search.trial import SearchError, pack_bits
from headstand.heads.search.trial_runner import AfterFit, AfterTrial, SearchData, TrialRunner
from headstand.recipe import Head, Search
from headstand.scale.ray.connection import ClusterError, cluster_failure, size

RETRIES = 3
"""How often a trial is restarted after its worker died: preemptible machines can disappear at any time."""

SAME_FAILURE = 30.0
"""Seconds within which all worker deaths of a trial count as one.

A cluster detects a dead machine only after a while, and sends the trial to it again until then.
"""

_PAUSE = 0.5
"""Seconds to wait before a trial is restarted."""

INVALID, FINISHED = "invalid", "finished"
"""Keys of a trial's report: why its head is invalid, and whether it was trained to the end."""

HISTORY, METRIC, RIGHT = "history", "objective", "right"

Train = Callable[..., None]
ShouldPrune = Callable[[Sequence[Mapping[str, float]]], bool]
After = Callable[[dict[str, Any], dict[str, Any]], None]


def run(
    search: Search,
    start: Head,
    train: heads.FeatureSplit,
    validation: heads.FeatureSplit,
    classes: int,
    seed: int,
    journal: Path,
    after_trial: AfterTrial | None = None,
) -> local.SearchResult:
    """Searches for the best head as `headstand.heads.search.run`, on the Ray cluster this process is connected to.

    Staged and grid searches train the same heads as on one machine and have the same result. TPE samples as many heads
    at a time as there are processors, each from the trials finished by then, so its trials differ from a sequential
    search.

    Raises:
        SearchError: a head cannot have the searched values, or the run to warm-start from does not exist.
        ClusterError: the workers of a trial died more than `RETRIES` times.
    """
    from headstand.scale.ray import cluster_tpe

    return local.run(
        search, start, train, validation, classes, seed, journal, after_trial,
        ClusterTrialRunner, {**local.STRATEGIES, "tpe": cluster_tpe.run},
    )  # fmt: skip


class ClusterTrialRunner(TrialRunner):
    """Trial runner (`TrialRunner`) that trains heads in parallel on all machines of the cluster."""

    def _fit_many(self, selected: Sequence[Head], after_fit: AfterFit) -> None:
        pending = list(range(len(selected)))

        def after(config: dict[str, Any], result: dict[str, Any]) -> None:
            pending.remove(config["index"])
            after_fit(config["index"], result[HISTORY], result[RIGHT])

        def run_pending(losses: Losses) -> None:
            space = {"index": tune.grid_search(list(pending))}
            run_trials(_fit, self.data, after, losses, config=space, parameters={"selected": list(selected)})

        run_until_done(run_pending, lambda: len(pending))


class _FinishedCallback(tune.Callback):
    """Tune callback that passes each trial that ended to `after` and counts worker deaths in `losses`.

    `error` is the first exception, which ends the search.
    """

    def __init__(self, after: After, losses: "Losses") -> None:
        self._after, self._losses = after, losses
        self.error: Exception | None = None

    def __getstate__(self) -> dict[str, Any]:
        # Tune pickles its state in order to resume; here the run's journal does that.
        return {}

    def on_trial_complete(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        if self.error:
            return
        if INVALID in trial.last_result:
            self.error = SearchError(trial.last_result[INVALID])
            return
        try:
            self._after(trial.config, trial.last_result)
        except Exception as error:  # Tune would attribute it to the trial and restart that
            self.error = error

    def on_trial_recover(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        self.on_trial_error(iteration, trials, trial, **info)

    def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        if self.error:
            return
        try:
            self._losses.add(str(trial.config))
        except ClusterError as error:
            self.error = error


class Losses:
    """Counter of worker deaths by trial."""

    def __init__(self) -> None:
        self._times: dict[str, list[float]] = {}

    def add(self, trial: str) -> None:
        """Counts a worker death of a trial and waits before the restart.

        Raises:
            ClusterError: the trial's workers died more than `RETRIES` times.
        """
        now, times = time.monotonic(), self._times.setdefault(trial, [])
        if not times or now - times[-1] > SAME_FAILURE:
            times.append(now)
        if len(times) > RETRIES:
            raise ClusterError(
                f"the workers of a trial died {len(times)} times: look for the reason in Ray's logs (often "
                "memory), and run the same command again to continue"
            )
        time.sleep(_PAUSE)


def run_until_done(run_pending: Callable[[Losses], None], count_pending: Callable[[], int]) -> None:
    """Calls `run_pending` until no trial is pending; Tune drops a trial whose worker dies just before it starts.

    Raises:
        ClusterError: as `Losses.add`.
    """
    losses = Losses()
    while before := count_pending():
        run_pending(losses)
        if count_pending() == before:
            losses.add("all trials")


class _Stop(tune.Stopper):
    """Tune stopper that prunes trials, and ends the whole search after an error in `_FinishedCallback`."""

    def __init__(self, finished: _FinishedCallback, should_prune: ShouldPrune | None) -> None:
        self._finished, self._should_prune = finished, should_prune

    def __getstate__(self) -> dict[str, Any]:
        return {}

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
        return bool(self._should_prune and not result.get(FINISHED) and self._should_prune(result[HISTORY]))

    def stop_all(self) -> bool:
        return self._finished.error is not None


def run_trials(
    train: Train,
    data: SearchData,
    after: After,
    losses: Losses,
    config: Mapping[str, Any] | None = None,
    parameters: Mapping[str, Any] | None = None,
    samples: int = 1,
    searcher: Any = None,
    should_prune: ShouldPrune | None = None,
) -> None:
    """Runs trials with Ray Tune, one per processor, until all have ended; Tune may drop some (see `run_until_done`).

    Args:
        train: trains one trial; reports `HISTORY` and `METRIC`, or `INVALID`. An exception counts as a worker death.
        data: the training data; put into the object store once, from where each machine fetches it once.
        after: called with the configuration and the last report of each trial that ended.
        losses: the worker deaths so far.
        config: Tune's search space, if there is no searcher.
        parameters: further arguments of `train`.
        samples: number of trials, if there is a searcher.
        searcher: Tune search algorithm that samples configurations.
        should_prune: returns whether to stop a trial, given the metrics of its epochs so far.

    Raises:
        SearchError: a head cannot have the searched values.
        ClusterError: the workers of a trial died too often, or the cluster failed.
    """
    logging.getLogger("ray.tune").setLevel(logging.CRITICAL)
    finished = _FinishedCallback(after, losses)
    with tempfile.TemporaryDirectory(prefix="headstand-tune-") as folder:
        tuner = tune.Tuner(
            tune.with_resources(tune.with_parameters(train, data=_plain(data), **(parameters or {})), {"cpu": 1}),
            param_space=dict(config or {}),
            tune_config=tune.TuneConfig(
                num_samples=samples,
                metric=METRIC,
                mode="max",
                search_alg=searcher,
                max_concurrent_trials=size()[0],
                # A new worker takes seconds to load TensorFlow, and longer to trace the graph of an epoch.
                reuse_actors=True,
            ),
            run_config=tune.RunConfig(
                storage_path=folder,
                name="search",
                verbose=0,
                callbacks=[finished],
                stop=_Stop(finished, should_prune),
                failure_config=tune.FailureConfig(max_failures=-1),
            ),
        )
        try:
            tuner.fit()
        except (ray.exceptions.RayError, tune.TuneError) as error:
            raise cluster_failure(error) from None
    if finished.error:
        raise finished.error


def _plain(data: SearchData) -> SearchData:
    """Returns the data with plain arrays instead of memory-mapped files, which other machines do not have."""

    def plain(split: heads.FeatureSplit) -> heads.FeatureSplit:
        views = None if split.views is None else np.asarray(split.views).view(np.ndarray)
        copied = heads.FeatureSplit(np.asarray(split.features).view(np.ndarray), split.labels, views)
        if "components" in vars(split):  # they take long with many photos; otherwise each trial would compute them
            vars(copied)["components"] = split.components
        return copied

    return SearchData(plain(data.train), plain(data.validation), data.classes, data.seed, data.selection)


def _fit(config: dict[str, Any], data: SearchData, selected: Sequence[Head]) -> None:
    """Trains one head to the end and reports its metrics once."""
    head = selected[config["index"]]
    fit = heads.fit(head, data.train, data.validation, data.classes, data.seed, selection=data.selection)
    right = pack_bits(fit.correct)
    tune.report({HISTORY: fit.history, METRIC: heads.objective(fit.best, data.selection), RIGHT: right})
