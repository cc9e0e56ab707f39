"""Storage of trials on disk, in Optuna's journal format: each is appended as soon as it is finished."""

import os
from pathlib import Path
from typing import Any

import optuna
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import FrozenTrial, TrialState
from pydantic import ValidationError

from headstand.heads.search import space as spaces
from headstand.heads.search.trial import SearchError, Trial
from headstand.recipe import Head
from headstand.runs import JOURNAL, REPORT


class TrialJournal:
    """Journal file of a search, with one Optuna study per stage or job."""

    def __init__(self, path: Path) -> None:
        """Opens the journal and creates it if it is missing; only one process may have it open."""
        _mend(path)
        self._storage = JournalStorage(JournalFileBackend(str(path)))
        self._studies: dict[int, optuna.Study] = {}
        self._trials = {(trial.stage, trial.number): trial for trial in _trials(self._storage)}

    def find(self, stage: int, number: int, head: Head) -> Trial | None:
        """Returns the finished trial with this number and this head; None if there is none."""
        trial = self._trials.get((stage, number))
        return trial if trial and trial.head == head else None

    def of(self, stage: int) -> list[Trial]:
        """Returns the finished trials of a stage or job, sorted by number."""
        return [trial for _, trial in sorted(self._trials.items(), key=lambda item: item[0]) if trial.stage == stage]

    def add(self, trial: Trial, space: spaces.Space) -> None:
        """Appends a finished trial to the journal."""
        if trial.stage not in self._studies:
            self._studies[trial.stage] = optuna.create_study(
                study_name=str(trial.stage), direction="maximize", storage=self._storage, load_if_exists=True
            )
        # One line per trial: a kill cannot leave an incomplete trial that a resumed run would load.
        self._studies[trial.stage].add_trial(frozen(trial, space))


def frozen(trial: Trial, space: spaces.Space, params: dict[str, Any] | None = None) -> FrozenTrial:
    """Returns a trial as an Optuna `FrozenTrial`; its user attributes hold the fields that Optuna has no attribute for.

    Args:
        trial: the trial.
        space: the searched parameters.
        params: the parameter values as Optuna stores them; by default those of the trial.
    """
    return optuna.trial.create_trial(
        state=TrialState.PRUNED if trial.pruned else TrialState.COMPLETE,
        params={name: spaces.stored(trial.values[name]) for name in space} if params is None else params,
        distributions=space,
        value=trial.objective,
        intermediate_values=dict(enumerate(trial.curve, start=1)),
        user_attrs={
            "number": trial.number,
            "head": trial.head.model_dump(mode="json"),
            "values": trial.values,
            "val_accuracy": trial.val_accuracy,
            "val_loss": trial.val_loss,
            "epoch": trial.epoch,
            "seconds": trial.seconds,
            "right": trial.right,
        },
    )


def of_run(folder: str) -> list[Trial]:
    """Returns the trials of a finished run.

    Raises:
        SearchError: the run does not exist, is not finished, or has no trials.
    """
    path = Path(folder).expanduser()
    if not (path / REPORT).is_file():
        reason = "is not finished" if path.is_dir() else "is not there"
        raise SearchError(
            f"search.warm_start: the run {folder} {reason}; name the folder of a finished one, runs/RECIPE/TIME"
        )
    file = path / JOURNAL
    trials = _trials(JournalStorage(JournalFileBackend(str(file)))) if file.is_file() else []
    if not trials:
        raise SearchError(f"search.warm_start: the run {folder} has no trials to learn from")
    return trials


def _trials(storage: JournalStorage) -> list[Trial]:
    trials = []
    for study in storage.get_all_studies():
        for stored in storage.get_all_trials(study._study_id, deepcopy=False):
            said = stored.user_attrs
            try:
                head = Head.model_validate(said["head"])
            except (KeyError, ValidationError):  # written by another version
                continue
            trials.append(
                Trial(
                    stage=int(study.study_name),
                    number=said["number"],
                    values={name: tuple(v) if isinstance(v, list) else v for name, v in said["values"].items()},
                    head=head,
                    val_accuracy=said["val_accuracy"],
                    val_loss=said["val_loss"],
                    epoch=said["epoch"],
                    curve=tuple(stored.intermediate_values[step] for step in sorted(stored.intermediate_values)),
                    pruned=stored.state == TrialState.PRUNED,
                    seconds=said["seconds"],
                    right=said.get("right", ""),
                )
            )
    return sorted(trials, key=lambda trial: (trial.stage, trial.number))


def _mend(journal: Path) -> None:
    """Removes what a kill or a full disk leaves in a journal: a stale lock file and an incomplete last line.

    Optuna reads nothing behind an incomplete line.
    """
    # The lock is stale, because the run's own lock excludes other processes. Optuna would wait half a minute for it.
    journal.with_name(journal.name + ".lock").unlink(missing_ok=True)
    if journal.is_file():
        data = journal.read_bytes()
        whole = data.rfind(b"\n") + 1
        if whole < len(data):
            os.truncate(journal, whole)
