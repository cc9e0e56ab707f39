"""What the rules look at: plain figures of a run, so that a rule is a pure function."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from headstand.recipe import Finetune, Head


@dataclass(frozen=True)
class Phase:
    """A training: that of the chosen head, or fine-tuning.

    `section` is the recipe's, which its keys are in. `history` has figures by epoch (`loss`, `accuracy`, `val_loss`,
    `val_accuracy`, where measured `learning_rate` and `gradient_norm`, the largest global norm of a step). `best_epoch`
    counts from 1.
    """

    section: Literal["head", "finetune"]
    history: Sequence[Mapping[str, float]]
    best_epoch: int

    @property
    def name(self) -> str:
        return {"head": "the head", "finetune": "fine-tuning"}[self.section]

    @property
    def best(self) -> Mapping[str, float]:
        return self.history[self.best_epoch - 1]

    def series(self, figure: str) -> list[float]:
        """A figure by epoch; empty where it was not measured."""
        return [epoch[figure] for epoch in self.history if figure in epoch]


@dataclass(frozen=True)
class Tried:
    """A head of the search: what the search had set, by parameter, and its validation accuracy."""

    values: Mapping[str, Any]
    val_accuracy: float


@dataclass(frozen=True)
class Searched:
    """What the search could choose from for a number: `values`, or a range from `low` to `high`."""

    parameter: str
    values: tuple[float, ...] = ()
    low: float = math.nan
    high: float = math.nan
    log: bool = False


@dataclass(frozen=True)
class Dead:
    """A layer of ReLU units, and how many of them are zero for every training photo."""

    layer: str
    units: int
    dead: int


@dataclass(frozen=True)
class Wait:
    """A step that decodes photos: how long it took, and how long the network waited for them, both in seconds."""

    step: str
    seconds: float
    waiting: float
    photos: int


def number(value: object) -> float | None:
    """A searched value as a number: the size of the one inner layer, 0 for no layer; None where it is no number."""
    if isinstance(value, tuple | list):
        return 0.0 if not value else number(value[0]) if len(value) == 1 else None
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None


def _nothing() -> np.ndarray:
    return np.zeros((0, 0), np.float32)


@dataclass(frozen=True)
class Evidence:
    """All that the rules look at; what is left out is not judged.

    Attributes:
        head: settings of the chosen head.
        finetune: settings of fine-tuning.
        classes: labels in output order.
        counts: training photos of each class.
        phases: the trainings, in their order.
        truth: class indices of the validation photos, `int [N]`.
        probabilities: what the final model says of them, before any temperature, `float [N, classes]`.
        trials: the heads that were tried.
        searched: the ranges.
        dead: the chosen head's ReLU layers.
        waits: the steps that decode photos.
        baseline: name and validation accuracy of the closed-form baseline.
    """

    head: Head = field(default_factory=Head)
    finetune: Finetune = field(default_factory=Finetune)
    classes: tuple[str, ...] = ()
    counts: tuple[int, ...] = ()
    phases: tuple[Phase, ...] = ()
    truth: np.ndarray = field(default_factory=_nothing)
    probabilities: np.ndarray = field(default_factory=_nothing)
    trials: tuple[Tried, ...] = ()
    searched: tuple[Searched, ...] = ()
    dead: tuple[Dead, ...] = ()
    waits: tuple[Wait, ...] = ()
    baseline: tuple[str, float] | None = None

    def rate(self, phase: Phase) -> float:
        """The learning rate that the recipe sets for a training."""
        return (self.head if phase.section == "head" else self.finetune).learning_rate

    def noise(self, accuracy: float) -> float:
        """Standard error of an accuracy on the validation photos, of which there are `len(truth)`.

        Two right and two wrong answers are added (Agresti & Coull 1998), so that an accuracy of 1 is not taken for
        certain.
        """
        count = len(self.truth) + 4
        share = (accuracy * len(self.truth) + 2) / count
        return math.sqrt(share * (1 - share) / count)
