"""Search on a cluster: heads are trained by Ray Tune's trials, over features that each machine holds once."""

import logging
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import ray
from ray import tune

from headstand.cluster.connection import ClusterError, gave_up, size
from headstand.learn import head as heads
from headstand.learn import search as local
from headstand.learn.search.attempts import AfterFit, AfterTrial, Attempts, Task, correct
from headstand.learn.search.trial import SearchError
from headstand.recipe import Head, Search

RETRIES = 3
"""How often a trial is begun again whose worker died: machines that are lent for a while go at any moment."""

APART = 30.0
"""Seconds within which all of a trial's losses count as one. A cluster notices only after a while that a machine is
dead, and sends it the trial again until then."""

_PAUSE = 0.5
"""Seconds before it is sent again."""

REFUSED, FINISHED = "refused", "finished"
"""What a trial reports that cannot be: why; and one that was trained to the end."""

HISTORY, METRIC, RIGHT = "history", "objective", "right"

Train = Callable[..., None]
Hopeless = Callable[[Sequence[Mapping[str, float]]], bool]
After = Callable[[dict[str, Any], dict[str, Any]], None]


def run(
    search: Search,
    start: Head,
    train: heads.Split,
    validation: heads.Split,
    classes: int,
    seed: int,
    journal: Path,
    after_trial: AfterTrial | None = None,
) -> local.Found:
    """As `headstand.learn.search.run`, on the cluster that this process is connected to.

    Stages and grids try the same heads in the same order as on one machine, and end alike. The estimator draws as many
    heads at once as there are processors, each knowing only what was finished by then: it finds others than one by one.

    Raises:
        SearchError: values that make no head, or an earlier run to start from that is not there.
        ClusterError: a trial was lost more than `RETRIES` times.
    """
    from headstand.cluster import tpe

    return local.run(
        search, start, train, validation, classes, seed, journal, after_trial,
        ClusterAttempts, {**local.STRATEGIES, "tpe": tpe.run},
    )  # fmt: skip


class ClusterAttempts(Attempts):
    """As `Attempts`, side by side all over the cluster."""

    def _fit_many(self, chosen: Sequence[Head], after_fit: AfterFit) -> None:
        left = list(range(len(chosen)))

        def after(config: dict[str, Any], result: dict[str, Any]) -> None:
            left.remove(config["place"])
            after_fit(config["place"], result[HISTORY], result[RIGHT])

        def attempt(losses: Losses) -> None:
            space = {"place": tune.grid_search(list(left))}
            trials(_whole, self.task, after, losses, config=space, given={"chosen": list(chosen)})

        until(attempt, lambda: len(left))


class _Finished(tune.Callback):
    """Tells of each trial that came to its end."""

    def __init__(self, after: After, losses: "Losses") -> None:
        self._after, self._losses = after, losses
        self.error: Exception | None = None

    def __getstate__(self) -> dict[str, Any]:
        # Tune keeps itself on the disk, to be resumed from there; the run's journal does that.
        return {}

    def on_trial_complete(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        if self.error:
            return
        if REFUSED in trial.last_result:
            self.error = SearchError(trial.last_result[REFUSED])
            return
        try:
            self._after(trial.config, trial.last_result)
        except Exception as error:  # which Tune would take for the trial's, and begin that again
            self.error = error

    def on_trial_recover(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        self.on_trial_error(iteration, trials, trial, **info)

    def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        try:
            self._losses.add(str(trial.config))
        except ClusterError as error:
            self.error = error


class Losses:
    """Counts how often a trial's worker died."""

    def __init__(self) -> None:
        self._times: dict[str, list[float]] = {}

    def add(self, trial: str) -> None:
        """Count another one, and wait a moment.

        Raises:
            ClusterError: it is too many.
        """
        now, times = time.monotonic(), self._times.setdefault(trial, [])
        if not times or now - times[-1] > APART:
            times.append(now)
        if len(times) > RETRIES:
            raise ClusterError(
                f"the workers of a trial died {len(times)} times: look for the reason in Ray's logs (often "
                "memory), and run it again to go on"
            )
        time.sleep(_PAUSE)


def until(attempt: Callable[[Losses], None], left: Callable[[], int]) -> None:
    """Attempt until nothing is left: Tune lets a trial go whose worker dies just as it is to begin.

    Raises:
        ClusterError: as `Losses.add`.
    """
    losses = Losses()
    while left():
        before = left()
        attempt(losses)
        if left() == before:
            losses.add("all of them")


class _Stop(tune.Stopper):
    """Ends hopeless trials, and the search when there is nobody who could keep them."""

    def __init__(self, finished: _Finished, hopeless: Hopeless | None) -> None:
        self._finished, self._hopeless = finished, hopeless

    def __getstate__(self) -> dict[str, Any]:
        return {}

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
        return bool(self._hopeless and not result.get(FINISHED) and self._hopeless(result[HISTORY]))

    def stop_all(self) -> bool:
        return self._finished.error is not None


def trials(
    train: Train,
    task: Task,
    after: After,
    losses: Losses,
    config: Mapping[str, Any] | None = None,
    given: Mapping[str, Any] | None = None,
    samples: int = 1,
    searcher: Any = None,
    hopeless: Hopeless | None = None,
) -> None:
    """Run trials, one a processor, until all have ended, but for some that were lost (see `until`).

    Args:
        train: a trial; reports `HISTORY` and `METRIC`, or `REFUSED`. What it raises counts as the worker's death.
        task: what it learns from; put into the object store once, from where each machine takes it once.
        after: called with the configuration and the last report of each trial that ended.
        losses: those so far.
        config: Tune's space, where there is no searcher.
        given: more arguments of `train`.
        samples: how many trials, where there is.
        searcher: draws configurations.
        hopeless: whether to stop a trial, by the figures of its epochs so far.

    Raises:
        SearchError: a head that cannot be.
        ClusterError: a trial was lost too often.
    """
    logging.getLogger("ray.tune").setLevel(logging.CRITICAL)
    finished = _Finished(after, losses)
    with tempfile.TemporaryDirectory(prefix="headstand-tune-") as folder:
        tuner = tune.Tuner(
            tune.with_resources(tune.with_parameters(train, task=_plain(task), **(given or {})), {"cpu": 1}),
            param_space=dict(config or {}),
            tune_config=tune.TuneConfig(
                num_samples=samples,
                metric=METRIC,
                mode="max",
                search_alg=searcher,
                max_concurrent_trials=size()[0],
                # A worker takes seconds to load TensorFlow, and more to trace the graph of a head's epoch.
                reuse_actors=True,
            ),
            run_config=tune.RunConfig(
                storage_path=folder,
                name="search",
                verbose=0,
                callbacks=[finished],
                stop=_Stop(finished, hopeless),
                failure_config=tune.FailureConfig(max_failures=-1),
            ),
        )
        try:
            tuner.fit()
        except (ray.exceptions.RayError, tune.TuneError) as error:
            raise gave_up(error) from None
    if finished.error:
        raise finished.error


def _plain(task: Task) -> Task:
    """The same with arrays in memory: mapped files are another machine's."""

    def split(given: heads.Split) -> heads.Split:
        views = None if given.views is None else np.asarray(given.views).view(np.ndarray)
        return heads.Split(np.asarray(given.features).view(np.ndarray), given.labels, views)

    return Task(split(task.train), split(task.validation), task.classes, task.seed)


def _whole(config: dict[str, Any], task: Task, chosen: Sequence[Head]) -> None:
    """A head from beginning to end."""
    fit = heads.fit(chosen[config["place"]], task.train, task.validation, task.classes, task.seed)
    right = correct(fit.model, task.validation)
    tune.report({HISTORY: fit.history, METRIC: heads.objective(fit.best), RIGHT: right})
