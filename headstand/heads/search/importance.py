"""Importance of the searched parameters for validation accuracy, by fANOVA."""

from collections.abc import Sequence
from typing import Any

import optuna
from optuna.distributions import CategoricalDistribution, FloatDistribution
from optuna.importance import FanovaImportanceEvaluator, get_param_importances

from headstand.heads.search import space as spaces
from headstand.heads.search.trial import Trial

LEAST = 5
"""Fewest trials for which shares of the variance are computed; with fewer they are meaningless."""

_FACTORS = ("learning_rate", "weight_decay", "units", "batch_size", "epochs")
"""Parameters that are compared by ratio, on a logarithmic scale: rates and sizes."""


def importance(trials: Sequence[Trial]) -> dict[str, float]:
    """Returns each parameter's share of the variance of the validation accuracy, by fANOVA (Hutter et al. 2014).

    Args:
        trials: trials of all stages or jobs; pruned ones are ignored.

    Returns:
        Shares that add up to 1, the largest first; empty if there are fewer than `LEAST` trials, if all have the same
        accuracy, or if no parameter varies.
    """
    whole = [trial for trial in trials if not trial.pruned]
    columns = {name: [_value(trial, name) for trial in whole] for name in searched(trials)}
    columns = {name: values for name, values in columns.items() if None not in values and len(set(values)) > 1}
    if len(whole) < LEAST or len({trial.objective for trial in whole}) == 1 or not columns:
        return {}
    space = {name: _range(name, values) for name, values in columns.items()}
    study = optuna.create_study(direction="maximize")
    for place, trial in enumerate(whole):
        params = {name: values[place] for name, values in columns.items()}
        study.add_trial(optuna.trial.create_trial(params=params, distributions=space, value=trial.objective))
    shares = get_param_importances(study, evaluator=FanovaImportanceEvaluator(seed=0))
    return dict(sorted(shares.items(), key=lambda item: -item[1]))


def searched(trials: Sequence[Trial]) -> list[str]:
    """Returns the parameters that any trial set, in order of first use."""
    return list(dict.fromkeys(name for trial in trials for name in trial.values))


def in_factors(name: str, values: Sequence[float]) -> bool:
    """Returns whether a parameter's values belong on a logarithmic axis."""
    return name in _FACTORS and min(values) > 0 and max(values) / min(values) > 5


def _value(trial: Trial, name: str) -> Any:
    return spaces.stored(trial.values[name] if name in trial.values else spaces.value(trial.head, name))


def _range(name: str, values: Sequence[Any]) -> optuna.distributions.BaseDistribution:
    if all(isinstance(value, int | float) and not isinstance(value, bool) for value in values):
        return FloatDistribution(min(values), max(values), log=in_factors(name, values))
    return CategoricalDistribution(tuple(dict.fromkeys(values)))
