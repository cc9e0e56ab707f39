"""Collects the input of the diagnosis from the objects of a training run."""

from headstand import tensorflow_setup  # noqa: F401, I001 - before the first import of Keras

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

import keras
import numpy as np

from headstand.diagnosis.diagnosis_input import (
    DeadUnits,
    DiagnosisInput,
    InputWait,
    SearchedRange,
    TrainingPhase,
    TrialResult,
    number,
)
from headstand.heads import FeatureSplit
from headstand.heads.search import SearchResult, Trial
from headstand.heads.search.trial_table import complete, indistinguishable
from headstand.preparation import preparation_record
from headstand.recipe import Recipe, Search
from headstand.recipe.search_space import Dimension
from headstand.stats import Outcomes
from headstand.tracking.timing import NETWORK, WAITING, Steps

ROWS = 1024
"""Batch size of forward passes through the head; activations of the widest layers take a few megabytes."""


def evidence(
    recipe: Recipe,
    classes: tuple[str, ...],
    linear_correct: np.ndarray,
    found: SearchResult,
    model: keras.Model,
    rows: Mapping[str, FeatureSplit],
    validation: np.ndarray,
    phases: Sequence[TrainingPhase],
    steps: Steps,
    test: Outcomes,
    refitted: bool,
) -> DiagnosisInput:
    """Returns the input of the diagnosis rules for a run.

    Args:
        recipe: the run's recipe.
        classes: labels in output order.
        linear_correct: whether logistic regression on the same features, trained on train, classifies each validation
            photo correctly, `bool [N]`.
        found: trials of the search and the head that it selected.
        model: the selected head, trained; maps features to probabilities.
        rows: features and labels of `train` and `validation`.
        validation: probabilities of the final model for the validation photos, `float32 [N, classes]`.
        phases: the training phases, in order.
        steps: durations of the run's steps.
        test: outcomes of the final model on the test photos.
        refitted: whether that model was trained on the validation photos too.
    """
    train, labels = rows["train"], rows["validation"].labels
    right = [_correct(model, rows["validation"]), validation.argmax(axis=1) == labels]
    count = len(labels)
    return DiagnosisInput(
        head=found.head,
        finetune=recipe.finetune,
        data=str(recipe.data),
        given=tuple(preparation_record.summary(recipe.data).get("given", ())),
        classes=classes,
        counts=tuple(np.bincount(train.labels, minlength=len(classes)).tolist()),
        phases=tuple(replace(phase, correct=right[index]) for index, phase in enumerate(phases)),
        truth=labels,
        probabilities=validation,
        test=test,
        refitted=refitted,
        trials=trial_results(found.trials, count),
        searched=searched(recipe.search),
        settings=len(complete(found.trials)),
        indistinguishable=len(indistinguishable(found.trials, count)),
        baseline="logistic regression",
        baseline_outcomes=Outcomes.of(linear_correct),
        dead=dead(model, train.features),
        waits=waits(steps),
    )


def waits(steps: Steps) -> tuple[InputWait, ...]:
    """Returns duration and waiting time of each step in which the network waited for decoded photos."""
    return tuple(
        InputWait(step, parts[WAITING] + parts.get(NETWORK, 0.0), parts[WAITING], steps.photos.get(step, 0))
        for step, parts in steps.parts.items()
        if parts.get(WAITING)
    )


def dead(head: keras.Model, features: np.ndarray) -> tuple[DeadUnits, ...]:
    """Returns, for each ReLU layer of a head, how many of its units are zero for every training photo.

    Args:
        head: model that maps features `float32 [N, D]` to probabilities.
        features: features of the training photos, `float32 [N, D]`.
    """
    layers = [layer for layer in head.layers if _is_relu(layer)]
    if not layers or not len(features):
        return ()
    activations = keras.Model(head.input, [layer.output for layer in layers])
    largest = [np.zeros(layer.output.shape[-1], np.float32) for layer in layers]
    for start in range(0, len(features), ROWS):
        outputs = activations(np.asarray(features[start : start + ROWS]), training=False)
        for index, output in enumerate(outputs if isinstance(outputs, list) else [outputs]):
            largest[index] = np.maximum(largest[index], np.asarray(output).max(axis=0))
    return tuple(
        DeadUnits(layer.name, len(units), int((units <= 0).sum())) for layer, units in zip(layers, largest, strict=True)
    )


def _is_relu(layer: keras.layers.Layer) -> bool:
    return isinstance(layer, keras.layers.ReLU) or getattr(layer, "activation", None) is keras.activations.relu


def searched(search: Search) -> tuple[SearchedRange, ...]:
    """Returns the search space of each numeric parameter, merged over all stages or jobs of a search."""
    dimensions: dict[str, list[Dimension]] = {}
    if search.strategy == "staged":
        for stage in search.stages:
            dimensions.setdefault(stage.parameter, []).append(Dimension(values=tuple(dict.fromkeys(stage.values))))
    else:
        for job in search.plan:
            for parameter, dimension in job.parameters.items():
                dimensions.setdefault(parameter, []).append(dimension)
    ranges = (_range(parameter, several) for parameter, several in dimensions.items())
    return tuple(found for found in ranges if found)


def _range(parameter: str, several: Sequence[Dimension]) -> SearchedRange | None:
    """Returns the smallest range that contains several dimensions of a parameter; None if one is not numeric.

    Dimensions that all list values give the sorted union of their values instead.
    """
    values = [number(value) for dimension in several for value in dimension.values]
    ends = [end for dimension in several for end in (dimension.low, dimension.high) if end is not None]
    numbers = [value for value in values if value is not None]
    if len(numbers) < len(values):
        return None
    if not ends:
        return SearchedRange(parameter, tuple(sorted(set(numbers))))
    low, high = min([*numbers, *ends]), max([*numbers, *ends])
    return SearchedRange(parameter, low=low, high=high, log=any(dimension.log for dimension in several) and low > 0)


def trial_results(trials: Sequence[Trial], photos: int) -> tuple[TrialResult, ...]:
    """Returns values and outcomes, on `photos` validation photos, of the trials completed with a finite loss."""
    return tuple(
        TrialResult(trial.values, trial.val_accuracy, trial.outcomes(photos).correct)
        for trial in trials
        if not trial.pruned and math.isfinite(trial.val_loss)
    )


def _correct(model: keras.Model, split: FeatureSplit) -> np.ndarray:
    """Returns whether a head classifies each row of a split correctly, `bool [N]`."""
    parts = np.array_split(split.features, -(-max(1, len(split.labels)) // ROWS))
    return np.concatenate([np.asarray(model(part)).argmax(axis=1) for part in parts]) == split.labels
