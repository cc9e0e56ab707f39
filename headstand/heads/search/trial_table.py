"""Trials as table rows, a summary of them, the heads within noise of the best one, and parameter importance."""

import csv
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import optuna
from optuna.distributions import CategoricalDistribution, FloatDistribution
from optuna.importance import FanovaImportanceEvaluator, get_param_importances

from headstand import files
from headstand.heads import KEYS, setting_text
from headstand.heads.search import space as spaces
from headstand.heads.search.trial import Trial, best
from headstand.stats import difference, wilson

LEAST = 5
"""Fewest trials for which shares of the variance are computed; with fewer they are meaningless."""

_LOG_SCALED = ("learning_rate", "weight_decay", "units", "batch_size", "epochs")
"""Parameters that are compared by ratio, on a logarithmic scale: rates and sizes."""


def interval(trial: Trial, photos: int) -> tuple[float, float]:
    """Returns the 95 % Wilson interval of a trial's accuracy on `photos` validation photos."""
    return wilson(round(trial.val_accuracy * photos), photos)


def complete(trials: Sequence[Trial]) -> dict[str, Trial]:
    """Returns the best trial of each distinct head that was trained to the end with a finite loss.

    The keys are the heads as JSON.
    """
    by_head: dict[str, Trial] = {}
    for trial in trials:
        if not trial.pruned and math.isfinite(trial.val_loss):
            key = trial.head.model_dump_json()
            if key not in by_head or trial.rank > by_head[key].rank:
                by_head[key] = trial
    return by_head


def indistinguishable(trials: Sequence[Trial], photos: int) -> list[Trial]:
    """Returns the heads whose validation accuracy is within noise of the best one's (see `headstand.stats`).

    The best head is not among them. Each head counts once, however many trials it has.

    Args:
        trials: trials of all stages or jobs.
        photos: number of validation photos.
    """
    candidates = list(complete(trials).values())
    winner = best(candidates)
    if winner is None or not photos:
        return []
    reference = winner.outcomes(photos)
    others = [trial for trial in candidates if trial is not winner]
    return [trial for trial in others if difference(reference, trial.outcomes(photos)).within_noise]


def summary(trials: Sequence[Trial], photos: int) -> dict[str, Any] | None:
    """Returns a summary of the search for the report; None if no trial was completed.

    Args:
        trials: trials of all stages or jobs.
        photos: number of validation photos.
    """
    winner = best(trials)
    if winner is None:
        return None
    return {
        "trials": len(trials),
        "pruned": sum(trial.pruned for trial in trials),
        "best": {"stage": winner.stage, "number": winner.number, "val_accuracy": winner.val_accuracy},
        "interval": interval(winner, photos),
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
        **{key: setting_text(trial.head, key) for key in KEYS},
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


def importance(trials: Sequence[Trial]) -> dict[str, float]:
    """Returns each parameter's share of the variance of the validation accuracy, by fANOVA (Hutter et al. 2014).

    Args:
        trials: trials of all stages or jobs; pruned ones are ignored.

    Returns:
        Shares that add up to 1, the largest first; empty if there are fewer than `LEAST` trials, if all have the same
        accuracy, or if no parameter varies.
    """
    finished = [trial for trial in trials if not trial.pruned]
    columns = {name: [_value(trial, name) for trial in finished] for name in searched(trials)}
    columns = {name: values for name, values in columns.items() if None not in values and len(set(values)) > 1}
    if len(finished) < LEAST or len({trial.objective for trial in finished}) == 1 or not columns:
        return {}
    space = {name: _range(name, values) for name, values in columns.items()}
    study = optuna.create_study(direction="maximize")
    for index, trial in enumerate(finished):
        params = {name: values[index] for name, values in columns.items()}
        study.add_trial(optuna.trial.create_trial(params=params, distributions=space, value=trial.objective))
    shares = get_param_importances(study, evaluator=FanovaImportanceEvaluator(seed=0))
    return dict(sorted(shares.items(), key=lambda item: -item[1]))


def searched(trials: Sequence[Trial]) -> list[str]:
    """Returns the parameters that any trial set, in order of first use."""
    return list(dict.fromkeys(name for trial in trials for name in trial.values))


def log_scaled(name: str, values: Sequence[float]) -> bool:
    """Returns whether a parameter's values belong on a logarithmic axis."""
    return name in _LOG_SCALED and min(values) > 0 and max(values) / min(values) > 5


def _value(trial: Trial, name: str) -> Any:
    return spaces.stored(trial.values[name] if name in trial.values else spaces.head_value(trial.head, name))


def _range(name: str, values: Sequence[Any]) -> optuna.distributions.BaseDistribution:
    if all(isinstance(value, int | float) and not isinstance(value, bool) for value in values):
        return FloatDistribution(min(values), max(values), log=log_scaled(name, values))
    return CategoricalDistribution(tuple(dict.fromkeys(values)))
