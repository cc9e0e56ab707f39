"""Trial runner of the search: takes finished trials from the journal, trains and records the others."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import optuna

from headstand import heads
from headstand.heads.search.space import Space
from headstand.heads.search.trial import SearchError, Trial, TrialJournal, pack_bits
from headstand.recipe import Head
from headstand.recipe.search_space import with_overrides

AfterTrial = Callable[[Trial, bool], None]
"""Called with a finished trial and whether it comes from the journal."""

AfterFit = Callable[[int, Sequence[Mapping[str, float]], str], None]
"""Called with a head's index, the metrics of its epochs, and which validation photos it got right (`pack_bits`)."""

Stop = Callable[[int, float], bool]
"""Called with the epoch (from 1) and its validation accuracy; returns whether to prune the trial."""


@dataclass(frozen=True)
class SearchData:
    """Training split, validation split, number of classes and seed, the same for all trials of a search.

    All trials share one seed, so that they differ in their settings only. `selection` ranks trials and epochs.
    """

    train: heads.FeatureSplit
    validation: heads.FeatureSplit
    classes: int
    seed: int
    selection: heads.Selection = "accuracy"


class TrialRunner:
    """Runs the trials of a search and keeps them in `trials`."""

    def __init__(self, data: SearchData, journal: TrialJournal, after_trial: AfterTrial | None) -> None:
        self.data = data
        self.trials: list[Trial] = []
        self._journal, self._after_trial = journal, after_trial
        self._by_head: dict[str, Trial] = {}

    def of(self, stage: int) -> list[Trial]:
        """Returns the trials of a stage or job so far."""
        return [trial for trial in self.trials if trial.stage == stage]

    def load_journal(self, stage: int) -> list[Trial]:
        """Adds the journal's trials of a stage or job to `trials` and returns them."""
        known = self._journal.of(stage)
        for trial in known:
            self._report(trial, True)
        self.trials += known
        return known

    def record(self, trial: Trial, space: Space) -> None:
        """Records a trial that another process trained, under the next number of its stage or job."""
        self.trials.append(self._add(replace(trial, number=len(self.of(trial.stage)) + 1), space))

    def run_many(self, stage: int, space: Space, candidates: Sequence[tuple[Mapping[str, Any], Head]]) -> list[Trial]:
        """Trains several heads in parallel and returns their trials.

        Args:
            stage: number of the stage or job, from 1.
            space: the searched parameters.
            candidates: the values of each trial, and the head with these values.

        Returns:
            The trials, in the order of `candidates`.
        """
        first = len(self.of(stage)) + 1
        trials: dict[int, Trial] = {}
        untrained: dict[str, list[int]] = {}
        for index, (values, head) in enumerate(candidates):
            if known := self._known(stage, first + index, values, head, space):
                trials[index] = known
            else:
                untrained.setdefault(_key(head), []).append(index)
        groups = list(untrained.values())
        previous = time.perf_counter()

        def after_fit(group: int, history: Sequence[Mapping[str, float]], right: str) -> None:
            nonlocal previous
            now = time.perf_counter()
            seconds, previous = now - previous, now
            for index in groups[group]:  # identical heads: without inner layers, `units` has no effect
                values, head = candidates[index]
                trial = self._trial(stage, first + index, values, head)
                trial = replace(trial, seconds=seconds, right=right)
                trials[index] = self._add(with_results(trial, history), space)
                seconds = 0.0

        if groups:
            self._fit_many([candidates[indices[0]][1] for indices in groups], after_fit)
        ordered = [trials[index] for index in range(len(candidates))]
        self.trials += ordered
        return ordered

    def _fit_many(self, selected: Sequence[Head], after_fit: AfterFit) -> None:
        """Trains heads in parallel and calls `after_fit` for each as soon as it is trained."""
        data = self.data
        heads.fit_many(
            selected, data.train, data.validation, data.classes, data.seed,
            lambda index, fit: after_fit(index, fit.history, pack_bits(fit.correct)), data.selection,
        )  # fmt: skip

    def run_one(self, stage: int, space: Space, values: Mapping[str, Any], head: Head, stop: Stop) -> Trial:
        """Trains one head, prunes it when `stop` returns True, and returns its trial.

        Args:
            stage: number of the stage or job, from 1.
            space: the searched parameters.
            values: the trial's values.
            head: the head with these values.
            stop: called after each epoch but the last with its number (from 1) and validation accuracy.
        """
        number = len(self.of(stage)) + 1
        trial = self._known(stage, number, values, head, space)
        if trial is None:
            trial = self._add(self._fit(self._trial(stage, number, values, head), stop), space)
        self.trials.append(trial)
        return trial

    def _trial(self, stage: int, number: int, values: Mapping[str, Any], head: Head) -> Trial:
        """Returns a trial without results."""
        return Trial(stage, number, dict(values), head, 0.0, 0.0, 1, selection=self.data.selection)

    def _fit(self, trial: Trial, stop: Stop) -> Trial:
        data, start = self.data, time.perf_counter()
        history: list[dict[str, float]] = []

        def after_epoch(number: int, metrics: dict[str, float]) -> None:
            history.append(metrics)
            # Pruning after the last epoch would save no time.
            if number < trial.head.epochs and stop(number, metrics["val_accuracy"]):
                raise optuna.TrialPruned

        try:
            fit = heads.fit(
                trial.head, data.train, data.validation, data.classes, data.seed, after_epoch, data.selection
            )
            history, pruned, right = fit.history, False, pack_bits(fit.correct)
        except optuna.TrialPruned:
            pruned, right = True, ""
        seconds = time.perf_counter() - start
        return replace(with_results(trial, history), pruned=pruned, right=right, seconds=seconds)

    def _known(self, stage: int, number: int, values: Mapping[str, Any], head: Head, space: Space) -> Trial | None:
        """Returns the trial from the journal or a copy of one with an identical head; None if neither exists.

        Training is deterministic, so identical heads have identical results.
        """
        if trial := self._journal.find(stage, number, head):
            trial = replace(trial, values=dict(values))
            self._report(trial, True)
            return trial
        if identical := self._by_head.get(_key(head)):
            return self._add(replace(identical, stage=stage, number=number, values=dict(values), seconds=0.0), space)
        return None

    def _add(self, trial: Trial, space: Space) -> Trial:
        self._journal.add(trial, space)
        self._report(trial, False)
        return trial

    def _report(self, trial: Trial, from_journal: bool) -> None:
        if not trial.pruned:
            self._by_head.setdefault(_key(trial.head), trial)
        if self._after_trial:
            self._after_trial(trial, from_journal)


def with_results(trial: Trial, history: Sequence[Mapping[str, float]]) -> Trial:
    """Returns the trial with the metrics of its best epoch and its validation accuracy curve."""
    ranks = [heads.rank(metrics, trial.selection) for metrics in history]
    best = ranks.index(max(ranks))
    return replace(
        trial,
        val_accuracy=history[best]["val_accuracy"],
        val_loss=history[best]["val_loss"],
        epoch=best + 1,
        curve=tuple(metrics["val_accuracy"] for metrics in history),
    )


def build_head(start: Head, values: Mapping[str, Any]) -> Head:
    """Returns the head `start` with the given values changed.

    Raises:
        SearchError: a head cannot have these values; the message has the values and the reason.
    """
    try:
        return with_overrides(start, values)
    except ValueError as error:
        reason = "; ".join(item["msg"] for item in error.errors()) if hasattr(error, "errors") else str(error)
        settings = " ".join(f"{name}={value}" for name, value in values.items())
        raise SearchError(
            f"the search came to invalid head settings ({settings}): {reason}; narrow its parameters"
        ) from error


def _key(head: Head) -> str:
    return head.model_dump_json()
