"""Trials as table rows, a summary of them, and the heads that are indistinguishable from the best one."""

import csv
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from headstand import files
from headstand.heads import KEYS, shown
from headstand.heads.search.importance import importance
from headstand.heads.search.trial import Trial, best
from headstand.stats import difference, wilson


def interval(trial: Trial, photos: int) -> tuple[float, float]:
    """Returns the 95 % Wilson interval of a trial's accuracy on `photos` validation photos."""
    return wilson(round(trial.val_accuracy * photos), photos)


def complete(trials: Sequence[Trial]) -> dict[str, Trial]:
    """Returns the best trial of each distinct head that was trained to the end with a finite loss.

    The keys are the heads as JSON.
    """
    heads: dict[str, Trial] = {}
    for trial in trials:
        if not trial.pruned and math.isfinite(trial.val_loss):
            key = trial.head.model_dump_json()
            if key not in heads or trial.rank > heads[key].rank:
                heads[key] = trial
    return heads


def indistinguishable(trials: Sequence[Trial], photos: int) -> list[Trial]:
    """Returns the heads whose validation accuracy is within noise of the best one's (see `headstand.stats`).

    The best head is not among them. Each head counts once, however many trials it has.

    Args:
        trials: trials of all stages or jobs.
        photos: number of validation photos.
    """
    heads = complete(trials)
    first = best(list(heads.values()))
    if first is None or not photos:
        return []
    reference = first.outcomes(photos)
    others = [trial for trial in heads.values() if trial is not first]
    return [trial for trial in others if difference(reference, trial.outcomes(photos)).within_noise]


def summary(trials: Sequence[Trial], photos: int) -> dict[str, Any] | None:
    """Returns a summary of the search for the report; None if no trial was completed.

    Args:
        trials: trials of all stages or jobs.
        photos: number of validation photos.
    """
    first = best(trials)
    if first is None:
        return None
    return {
        "trials": len(trials),
        "pruned": sum(trial.pruned for trial in trials),
        "best": {"stage": first.stage, "number": first.number, "val_accuracy": first.val_accuracy},
        "interval": interval(first, photos),
        "settings": len(complete(trials)),
        "within_noise": len(indistinguishable(trials, photos)),
        "importance": importance(trials),
    }


def row(trial: Trial, photos: int) -> dict[str, Any]:
    """Returns a trial as a table row for the report."""
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
    """Writes all trials, including pruned ones, to the CSV file `path`."""
    names = ["stage", "number", "state", *KEYS]
    names += ["val_accuracy", "low", "high", "val_loss", "best_epoch", "epochs_run", "seconds"]
    with files.replacing(path) as part, part.open("w", encoding="utf-8", newline="") as file:
        table = csv.DictWriter(file, names)
        table.writeheader()
        for trial in trials:
            table.writerow({**row(trial, photos), "seconds": round(trial.seconds, 3)})
