"""Finding a head: each stage tries the values of one parameter while the others stay at their best."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import optuna
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend

from headstand.learn import head as heads
from headstand.recipe import Head, Search
from headstand.sections import Stage


@dataclass(frozen=True)
class Trial:
    """One head that was tried: its stage (from 1), its settings, and its best epoch's figures."""

    stage: int
    parameter: str
    head: Head
    val_accuracy: float
    val_loss: float
    epoch: int


@dataclass(frozen=True)
class Found:
    """The trials in the order in which they ran, and the head that won."""

    trials: tuple[Trial, ...]
    head: Head


def run(
    search: Search,
    start: Head,
    train: heads.Split,
    validation: heads.Split,
    classes: int,
    seed: int,
    journal: Path,
    after_trial: Callable[[Trial, bool], None] | None = None,
) -> Found:
    """Search stage by stage; trials that the journal already holds are not run again.

    Args:
        search: the stages.
        start: the head to begin with.
        train: what is learnt from.
        validation: what ranks the trials: by accuracy, by lower loss among equals.
        classes: number of classes.
        seed: every trial begins from the same one, so that settings are compared and not luck.
        journal: Optuna's file; the search resumes from it.
        after_trial: called with each trial and whether it was remembered rather than run.
    """
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    _mend(journal)
    study = optuna.create_study(
        study_name="head",
        direction="maximize",
        storage=JournalStorage(JournalFileBackend(str(journal))),
        load_if_exists=True,
    )
    space = _space(search, start)
    trials: list[Trial] = []

    def attempt(place: int, stage: Stage, head: Head) -> Trial:
        known = _remembered(study, place, head)
        if known is None:
            fit = heads.fit(head, train, validation, classes, seed)
            # Added whole, in one line of the journal: a kill leaves no half trial that a resumed run would take up.
            study.add_trial(
                optuna.trial.create_trial(
                    params=_parameters(head),
                    distributions=space,
                    value=fit.best["val_accuracy"],
                    user_attrs={"stage": place, "val_loss": fit.best["val_loss"], "epoch": fit.best_epoch},
                )
            )
        remembered = known or _remembered(study, place, head)
        assert remembered is not None
        attributes = remembered.user_attrs
        trial = Trial(
            place, stage.parameter, head, float(remembered.value or 0), attributes["val_loss"], attributes["epoch"]
        )
        trials.append(trial)
        if after_trial:
            after_trial(trial, known is not None)
        return trial

    best = start
    for place, stage in enumerate(search.stages, start=1):
        tried = [attempt(place, stage, changed(best, stage.parameter, value)) for value in stage.values]
        tried.sort(key=_rank, reverse=True)
        if stage.finalists:
            longer = [changed(trial.head, "epochs", stage.finalist_epochs) for trial in tried[: stage.finalists]]
            again = [attempt(place, stage, head) for head in longer]
            # The finalists' longer run decides which value wins; how long the head trains stays as the recipe says.
            again.sort(key=_rank, reverse=True)
            best = changed(again[0].head, "epochs", best.epochs)
        else:
            best = tried[0].head
    return Found(tuple(trials), best)


def changed(head: Head, parameter: str, value: Any) -> Head:
    """The head with one value changed, validated like a recipe's."""
    return Head.model_validate({**head.model_dump(), parameter: value})


def _mend(journal: Path) -> None:
    """Cut off the half line that a full disk leaves at the end; Optuna would write on behind it and read no more."""
    if journal.is_file():
        data = journal.read_bytes()
        whole = data.rfind(b"\n") + 1
        if whole < len(data):
            os.truncate(journal, whole)


def _rank(trial: Trial) -> tuple[bool, float, float]:
    return heads.rank({"val_accuracy": trial.val_accuracy, "val_loss": trial.val_loss})


def _parameters(head: Head) -> dict[str, Any]:
    """A head's values in types that Optuna stores: a list of sizes becomes text."""
    values = {key: getattr(head, key) for key in heads.KEYS}
    return {key: str(list(value)) if isinstance(value, tuple) else value for key, value in values.items()}


def _space(search: Search, start: Head) -> dict[str, optuna.distributions.BaseDistribution]:
    """Every value that any stage may try, so that all trials of the study share one space."""
    values: dict[str, list[Any]] = {key: [value] for key, value in _parameters(start).items()}
    for stage in search.stages:
        heads_tried = [changed(start, stage.parameter, value) for value in stage.values]
        if stage.finalist_epochs:
            heads_tried.append(changed(start, "epochs", stage.finalist_epochs))
        for head in heads_tried:
            for key, value in _parameters(head).items():
                if value not in values[key]:
                    values[key].append(value)
    return {key: optuna.distributions.CategoricalDistribution(tuple(choices)) for key, choices in values.items()}


def _remembered(study: optuna.Study, place: int, head: Head) -> optuna.trial.FrozenTrial | None:
    wanted = _parameters(head)
    for trial in study.get_trials(deepcopy=False, states=(optuna.trial.TrialState.COMPLETE,)):
        if trial.user_attrs.get("stage") == place and trial.params == wanted:
            return trial
    return None
