"""The trials as rows, and what they say together."""

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from headstand import files
from headstand.learn.evaluation.intervals import wilson
from headstand.learn.head import KEYS, shown
from headstand.learn.search.importance import importance
from headstand.learn.search.trial import Trial, best


def interval(trial: Trial, photos: int) -> tuple[float, float]:
    """95 % interval (Wilson's) of a trial's accuracy on `photos` validation photos."""
    return wilson(round(trial.val_accuracy * photos), photos)


def rivals(trials: Sequence[Trial], photos: int) -> int:
    """How many other heads are within the best one's noise: no less accurate than the lower end of its interval.

    Only heads that were trained to the end count, and each once however often it was tried.
    """
    first = best(trials)
    if first is None:
        return 0
    low, _ = interval(first, photos)
    near = {trial.head.model_dump_json() for trial in trials if not trial.pruned and trial.val_accuracy >= low}
    return len(near - {first.head.model_dump_json()})


def summary(trials: Sequence[Trial], photos: int) -> dict[str, Any] | None:
    """The search in figures for the report; None where nothing was tried.

    Args:
        trials: all of them.
        photos: how many the validation split has.
    """
    first = best(trials)
    if first is None:
        return None
    return {
        "trials": len(trials),
        "pruned": sum(trial.pruned for trial in trials),
        "best": {"stage": first.stage, "number": first.number, "val_accuracy": first.val_accuracy},
        "interval": interval(first, photos),
        "within_noise": rivals(trials, photos),
        "importance": importance(trials),
    }


def row(trial: Trial, photos: int) -> dict[str, Any]:
    """A trial for the report."""
    low, high = interval(trial, photos)
    return {
        "stage": trial.stage,
        "number": trial.number,
        "state": "pruned" if trial.pruned else "complete",
        **{key: shown(trial.head, key) for key in KEYS},
        "val_accuracy": trial.val_accuracy,
        "low": low,
        "high": high,
        "val_loss": trial.val_loss,
        "best_epoch": trial.epoch,
        "epochs_run": len(trial.curve),
    }


def write(path: Path, trials: Sequence[Trial], photos: int) -> None:
    """Write all trials, also those that were stopped early, as `trials.csv`."""
    names = ["stage", "number", "state", *KEYS]
    names += ["val_accuracy", "low", "high", "val_loss", "best_epoch", "epochs_run", "seconds"]
    with files.replacing(path) as part, part.open("w", encoding="utf-8", newline="") as file:
        table = csv.DictWriter(file, names)
        table.writeheader()
        for trial in trials:
            table.writerow({**row(trial, photos), "seconds": round(trial.seconds, 3)})
