"""The figures of a run that the diagnosis looks at, so that each rule is a pure function."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from headstand.recipe import Finetune, Head
from headstand.stats import Outcomes

GUESSING = 0.9
"""Share of ln(classes) above which nothing was learned. ln(classes) is the loss of equal probabilities for all classes,
and of class frequencies if rare classes have higher weights; it varies by some percent."""

RISEN = 1.1
"""Factor between the last and the first training loss above which it has risen; it varies by some percent."""

EXPLODED = 10.0
"""Factor by which a gradient norm exceeds that of the first epoch. Gradients are largest in the beginning and shrink
with the loss; if they grow tenfold, training diverges."""

VANISHED = 1e-3
"""Smallest plausible value of the largest gradient norm of an epoch while the loss is high. For cross-entropy the
gradient of the logits' biases alone is the mean of (probability - truth) over a batch, some tenths while predictions
are wrong; a hundredth of that comes from a saturated softmax or from dead units."""

UNLEARNT = 0.5
"""Share of ln(classes) above which a loss is high: a small gradient then does not mean that all is learned."""

DEAD = 0.5
"""Share of a layer's units; SageMaker Debugger's rule of the same name uses it too. Some units die in healthy heads."""


@dataclass(frozen=True)
class Phase:
    """One training: of the chosen head, or fine-tuning.

    `section` is the recipe's section that its keys are in. `history` has figures by epoch (`loss`, `accuracy`,
    `val_loss`, `val_accuracy`, if measured `learning_rate` and `gradient_norm`, the largest global norm of a step).
    `best_epoch` counts from 1. `correct`, `bool [N]`, are the validation photos that the kept epoch classified
    correctly; None if unknown.
    """

    section: Literal["head", "finetune"]
    history: Sequence[Mapping[str, float]]
    best_epoch: int
    correct: np.ndarray | None = field(default=None, compare=False, repr=False)

    @property
    def name(self) -> str:
        return {"head": "the head", "finetune": "fine-tuning"}[self.section]

    @property
    def best(self) -> Mapping[str, float]:
        return self.history[self.best_epoch - 1]

    def series(self, figure: str) -> list[float]:
        """A figure by epoch; empty if it was not measured."""
        return [epoch[figure] for epoch in self.history if figure in epoch]

    @property
    def norms(self) -> list[float]:
        """Gradient norm by epoch; NaN counts as infinite."""
        return [norm if math.isfinite(norm) else math.inf for norm in self.series("gradient_norm")]

    @property
    def exploded(self) -> bool:
        """Whether gradients became infinite or `EXPLODED` times as large as in the first epoch."""
        norms = self.norms
        return len(norms) > 1 and (max(norms) == math.inf or max(norms) >= EXPLODED * norms[0])

    def vanished(self, classes: int) -> list[tuple[int, Mapping[str, float]]]:
        """Epochs (from 1) with nearly no gradient although the loss is high."""
        if classes < 2:
            return []
        return [
            (number, figures)
            for number, figures in enumerate(self.history, start=1)
            if figures.get("gradient_norm", math.inf) < VANISHED and figures["loss"] > UNLEARNT * math.log(classes)
        ]


@dataclass(frozen=True)
class Tried:
    """A head of the search: the values that the search set, its validation accuracy, and the photos it got right."""

    values: Mapping[str, Any]
    val_accuracy: float
    correct: np.ndarray | None = field(default=None, compare=False, repr=False)


@dataclass(frozen=True)
class Searched:
    """What the search could choose from for a numeric parameter: `values`, or a range from `low` to `high`."""

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
    """A step that decodes photos: its duration, and how long the network waited for photos, both in seconds."""

    step: str
    seconds: float
    waiting: float
    photos: int


def number(value: object) -> float | None:
    """A searched value as a number: the size of the one inner layer, 0 for no layer; None if it is not numeric."""
    if isinstance(value, tuple | list):
        return 0.0 if not value else number(value[0]) if len(value) == 1 else None
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None


def _nothing() -> np.ndarray:
    return np.zeros((0, 0), np.float32)


@dataclass(frozen=True)
class Evidence:
    """All figures that the rules look at; a rule without its figures reports nothing.

    Attributes:
        head: settings of the chosen head.
        finetune: settings of fine-tuning.
        classes: labels in output order.
        counts: training photos of each class.
        phases: the trainings, in order.
        truth: class indices of the validation photos, `int [N]`.
        probabilities: the final model's, before any temperature, `float [N, classes]`.
        test: outcomes on the test photos; None if unknown.
        trials: the trials of the search.
        searched: the ranges of the search.
        settings: different heads that the search trained to the end.
        indistinguishable: how many of them, besides the best, are within noise of the best.
        dead: ReLU layers of the chosen head.
        waits: steps that decode photos.
        baseline: name of the closed-form baseline.
        baseline_outcomes: its outcomes on the validation photos.
    """

    head: Head = field(default_factory=Head)
    finetune: Finetune = field(default_factory=Finetune)
    classes: tuple[str, ...] = ()
    counts: tuple[int, ...] = ()
    phases: tuple[Phase, ...] = ()
    truth: np.ndarray = field(default_factory=_nothing)
    probabilities: np.ndarray = field(default_factory=_nothing)
    test: Outcomes | None = None
    trials: tuple[Tried, ...] = ()
    searched: tuple[Searched, ...] = ()
    settings: int = 0
    indistinguishable: int = 0
    dead: tuple[Dead, ...] = ()
    waits: tuple[Wait, ...] = ()
    baseline: str = ""
    baseline_outcomes: Outcomes | None = None

    @property
    def validation(self) -> Outcomes:
        """The final model's outcomes on the validation photos."""
        return Outcomes.of(self.probabilities.argmax(axis=1) == self.truth) if len(self.truth) else Outcomes(0, 0)

    def outcomes(self, accuracy: float, correct: np.ndarray | None = None) -> Outcomes:
        """Outcomes on the validation photos: by photo if `correct` is known, else from an accuracy alone."""
        return Outcomes.counted(accuracy, len(self.truth)) if correct is None else Outcomes.of(correct)

    @property
    def dead_layers(self) -> list[Dead]:
        """Layers of which at least the share `DEAD` of the units is dead."""
        return [layer for layer in self.dead if layer.units and layer.dead >= DEAD * layer.units]

    def unstable(self, phase: Phase) -> bool:
        """Whether a training shows signs of too large steps: then a lower learning rate is advised, else a higher one.

        All rules ask this one question, so that they do not advise both.
        """
        losses = [loss for figure in ("loss", "val_loss") for loss in phase.series(figure)]
        guess = math.log(max(2, len(self.classes)))
        trained = phase.series("loss")
        return bool(
            not all(map(math.isfinite, losses))
            or max(losses, default=0) > guess / GUESSING
            or (trained and trained[-1] > RISEN * trained[0])
            or phase.exploded
            or phase.vanished(len(self.classes))
            or (phase.section == "head" and self.dead_layers)
        )
