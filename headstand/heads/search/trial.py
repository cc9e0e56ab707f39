"""A trial of the search: one head with its settings and results, and the journal that stores trials on disk."""

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import optuna
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import FrozenTrial, TrialState
from pydantic import ValidationError

from headstand import heads
from headstand.errors import HeadstandError
from headstand.heads.search import space as spaces
from headstand.recipe import Head
from headstand.runs import JOURNAL, REPORT
from headstand.stats import Outcomes


class SearchError(HeadstandError):
    """A search cannot continue: a head has invalid settings, or the run to warm-start from is missing."""


@dataclass(frozen=True)
class Trial:
    """One trained head with the settings and results of its training.

    Attributes:
        stage: number of the stage or job, from 1.
        number: number of the trial in its stage or job, from 1.
        values: the values that the search set, by parameter.
        head: the head with these values.
        val_accuracy: validation accuracy of the best epoch.
        val_loss: validation loss of the best epoch.
        epoch: the best epoch, from 1.
        curve: validation accuracy of every epoch.
        pruned: whether the trial was stopped early.
        seconds: training time; for heads trained in parallel, the time since the previous one was finished.
        right: which validation photos the head classified correctly, encoded by `pack_bits`; empty if unknown.
        selection: what ranks trials and epochs, as in `headstand.heads.rank`.
    """

    stage: int
    number: int
    values: dict[str, Any]
    head: Head
    val_accuracy: float
    val_loss: float
    epoch: int
    curve: tuple[float, ...] = ()
    pruned: bool = False
    seconds: float = field(default=0.0, compare=False)
    right: str = field(default="", repr=False)
    selection: heads.Selection = "accuracy"

    @property
    def rank(self) -> tuple[bool, float, float]:
        """Sort key, higher is better, as for epochs (`headstand.heads.rank`)."""
        return heads.rank({"val_accuracy": self.val_accuracy, "val_loss": self.val_loss}, self.selection)

    @property
    def objective(self) -> float:
        """The value that a search maximises (`headstand.heads.objective`)."""
        return heads.objective({"val_accuracy": self.val_accuracy, "val_loss": self.val_loss}, self.selection)

    def outcomes(self, photos: int) -> Outcomes:
        """Returns the head's outcomes on `photos` validation photos, by photo if they are known."""
        if not self.right:
            return Outcomes.counted(self.val_accuracy, photos)
        return Outcomes.of(np.unpackbits(np.frombuffer(bytes.fromhex(self.right), np.uint8), count=photos).astype(bool))

    @property
    def description(self) -> str:
        """The values that the search set, in one line."""
        return " ".join(f"{name}={value_text(value)}" for name, value in self.values.items())


def pack_bits(right: np.ndarray) -> str:
    """Returns `bool [N]` as a hexadecimal bit string with one bit per photo: 6 KB for 24,000 photos."""
    return np.packbits(right).tobytes().hex()


def value_text(value: Any) -> str:
    """Returns a searched value as text: `100+50` or `none` for a list or tuple, four significant digits for a float."""
    if isinstance(value, tuple | list):
        return "+".join(map(str, value)) or "none"
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def best(trials: Sequence[Trial]) -> Trial | None:
    """Returns the best trial that was not pruned, the first among equals; None if there is none."""
    return max((trial for trial in trials if not trial.pruned), key=lambda trial: trial.rank, default=None)


class TrialJournal:
    """File of a search's trials in Optuna's journal format, one study per stage or job.

    Each trial is appended as soon as it is finished.
    """

    def __init__(self, path: Path) -> None:
        """Opens the journal and creates it if it is missing; only one process may have it open."""
        _repair(path)
        self._storage = JournalStorage(JournalFileBackend(str(path)))
        self._studies: dict[int, optuna.Study] = {}
        self._trials = {(trial.stage, trial.number): trial for trial in _load(self._storage)}

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
        self._studies[trial.stage].add_trial(optuna_trial(trial, space))


def optuna_trial(trial: Trial, space: spaces.Space, params: dict[str, Any] | None = None) -> FrozenTrial:
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
            "selection": trial.selection,
        },
    )


def trials_of_run(folder: str) -> list[Trial]:
    """Returns the trials of a finished run.

    Raises:
        SearchError: the run does not exist, is not finished, or has no trials.
    """
    path = Path(folder).expanduser()
    if not (path / REPORT).is_file():
        reason = "is not finished" if path.is_dir() else "does not exist"
        raise SearchError(
            f"search.warm_start: the run {folder} {reason}; name the folder of a finished run, runs/RECIPE/TIME"
        )
    file = path / JOURNAL
    trials = _load(JournalStorage(JournalFileBackend(str(file)))) if file.is_file() else []
    if not trials:
        raise SearchError(f"search.warm_start: the run {folder} has no trials: name another run")
    return trials


def _load(storage: JournalStorage) -> list[Trial]:
    trials = []
    for study in storage.get_all_studies():
        for stored in storage.get_all_trials(study._study_id, deepcopy=False):
            fields = stored.user_attrs
            try:
                head = Head.model_validate(fields["head"])
            except (KeyError, ValidationError):  # written by another version
                continue
            trials.append(
                Trial(
                    stage=int(study.study_name),
                    number=fields["number"],
                    values={name: tuple(v) if isinstance(v, list) else v for name, v in fields["values"].items()},
                    head=head,
                    val_accuracy=fields["val_accuracy"],
                    val_loss=fields["val_loss"],
                    epoch=fields["epoch"],
                    curve=tuple(stored.intermediate_values[step] for step in sorted(stored.intermediate_values)),
                    pruned=stored.state == TrialState.PRUNED,
                    seconds=fields["seconds"],
                    right=fields.get("right", ""),
                    selection=fields.get("selection", "accuracy"),
                )
            )
    return sorted(trials, key=lambda trial: (trial.stage, trial.number))


def _repair(journal: Path) -> None:
    """Removes what a kill or a full disk leaves in a journal: a stale lock file and an incomplete last line.

    Optuna reads nothing after an incomplete line.
    """
    # The lock is stale, because the run's own lock excludes other processes. Optuna would wait half a minute for it.
    journal.with_name(journal.name + ".lock").unlink(missing_ok=True)
    if journal.is_file():
        data = journal.read_bytes()
        complete = data.rfind(b"\n") + 1
        if complete < len(data):
            os.truncate(journal, complete)
