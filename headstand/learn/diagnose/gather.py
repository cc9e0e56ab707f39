"""From a run's objects to the figures that the rules look at."""

import math
from collections.abc import Mapping, Sequence

import keras
import numpy as np

from headstand.learn.baseline import Baseline
from headstand.learn.diagnose.evidence import Dead, Evidence, Phase, Searched, Tried, Wait, number
from headstand.learn.head import Split
from headstand.learn.search import Found, Trial
from headstand.learn.steps import Steps
from headstand.learn.tracking.stopwatch import NETWORK, WAITING
from headstand.recipe import Recipe, Search
from headstand.space import Dimension

ROWS = 1024
"""Training photos that go through the head at once: some megabytes with the widest layers."""


def evidence(
    recipe: Recipe,
    classes: tuple[str, ...],
    baseline: Baseline,
    found: Found,
    model: keras.Model,
    rows: Mapping[str, Split],
    validation: np.ndarray,
    phases: Sequence[Phase],
    steps: Steps,
) -> Evidence:
    """Gather what the rules look at.

    Args:
        recipe: the run's.
        classes: labels in output order.
        baseline: what ridge regression reaches on the features.
        found: the search, and the head that it chose.
        model: that head, trained: features to probabilities.
        rows: features and labels of `train` and `validation`.
        validation: the final model's probabilities, `float32 [N, classes]`.
        phases: the trainings, in their order.
        steps: what took how long.
    """
    train = rows["train"]
    return Evidence(
        head=found.head,
        finetune=recipe.finetune,
        classes=classes,
        counts=tuple(np.bincount(train.labels, minlength=len(classes)).tolist()),
        phases=tuple(phases),
        truth=rows["validation"].labels,
        probabilities=validation,
        trials=tried(found.trials),
        searched=searched(recipe.search),
        baseline=("ridge regression", baseline.val_accuracy),
        dead=dead(model, train.features),
        waits=waits(steps),
    )


def waits(steps: Steps) -> tuple[Wait, ...]:
    """The steps in which a network waited for photos, or might have."""
    return tuple(
        Wait(step, parts[WAITING] + parts.get(NETWORK, 0.0), parts[WAITING], steps.photos.get(step, 0))
        for step, parts in steps.parts.items()
        if parts.get(WAITING)
    )


def dead(head: keras.Model, features: np.ndarray) -> tuple[Dead, ...]:
    """The ReLU layers of a head, and how many of their units are zero for every row.

    Args:
        head: features `float32 [N, D]` to probabilities.
        features: the training photos', `float32 [N, D]`.
    """
    layers = [layer for layer in head.layers if _is_relu(layer)]
    if not layers or not len(features):
        return ()
    activations = keras.Model(head.input, [layer.output for layer in layers])
    largest = [np.zeros(layer.output.shape[-1], np.float32) for layer in layers]
    for start in range(0, len(features), ROWS):
        outputs = activations(np.asarray(features[start : start + ROWS]), training=False)
        for place, output in enumerate(outputs if isinstance(outputs, list) else [outputs]):
            largest[place] = np.maximum(largest[place], np.asarray(output).max(axis=0))
    return tuple(
        Dead(layer.name, len(most), int((most <= 0).sum())) for layer, most in zip(layers, largest, strict=True)
    )


def _is_relu(layer: keras.layers.Layer) -> bool:
    return isinstance(layer, keras.layers.ReLU) or getattr(layer, "activation", None) is keras.activations.relu


def searched(search: Search) -> tuple[Searched, ...]:
    """The numbers that a search could choose from, by parameter: of all its stages, or jobs, together."""
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


def _range(parameter: str, several: Sequence[Dimension]) -> Searched | None:
    """What all of these allow together; None where it is no number."""
    values = [number(value) for dimension in several for value in dimension.values]
    ends = [end for dimension in several for end in (dimension.low, dimension.high) if end is not None]
    numbers = [value for value in values if value is not None]
    if len(numbers) < len(values):
        return None
    if not ends:
        return Searched(parameter, tuple(sorted(set(numbers))))
    low, high = min([*numbers, *ends]), max([*numbers, *ends])
    return Searched(parameter, low=low, high=high, log=any(dimension.log for dimension in several) and low > 0)


def tried(trials: Sequence[Trial]) -> tuple[Tried, ...]:
    """The trials' values and accuracies, without those that were stopped early or whose loss is no number."""
    return tuple(
        Tried(trial.values, trial.val_accuracy)
        for trial in trials
        if not trial.pruned and math.isfinite(trial.val_loss)
    )
