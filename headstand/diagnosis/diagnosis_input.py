"""Inputs of the diagnosis: the metrics of a run as immutable dataclasses, so that each rule is a pure function."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from headstand.recipe import Finetune, Head
from headstand.stats import Outcomes

UNIFORM = 0.9
"""Share of ln(classes) above which a loss shows that nothing was learned. ln(classes) is the loss of uniform
predictions, and of predicted class frequencies if rare classes have higher weights; it varies by some percent."""

RISEN = 1.1
"""Ratio of the last to the first training loss above which the loss has risen; it varies by some percent."""

EXPLODED = 10.0
"""Ratio of a gradient norm to that of the first epoch from which on gradients count as exploding. Gradients are largest
in the beginning and shrink with the loss; if they grow tenfold, training diverges."""

VANISHED = 1e-3
"""Smallest plausible value of the largest gradient norm of an epoch while the loss is high. For cross-entropy the
gradient of the logits' biases alone is the mean of (probability - truth) over a batch, a few tenths while predictions
are wrong; a hundredth of that indicates a saturated softmax or dead units."""

HIGH_LOSS = 0.5
"""Share of ln(classes) above which a loss is high, so that a small gradient does not mean convergence."""

DEAD = 0.5
"""Share of dead ReLU units from which on a layer is reported, as in SageMaker Debugger's rule of that name. Some units
die in healthy heads."""


@dataclass(frozen=True)
class TrainingPhase:
    """One training phase of a run: training of the selected head, or fine-tuning.

    Attributes:
        section: section of the recipe that has the settings of the phase.
        history: metrics by epoch: `loss`, `accuracy`, `val_loss`, `val_accuracy` and, if measured, `learning_rate` and
            `gradient_norm`, the largest global gradient norm of a step.
        best_epoch: the epoch that was kept, from 1.
        correct: whether the kept epoch classifies each validation photo correctly, `bool [N]`; None if unknown.
    """

    section: Literal["head", "finetune"]
    history: Sequence[Mapping[str, float]]
    best_epoch: int
    correct: np.ndarray | None = field(default=None, compare=False, repr=False)

    @property
    def name(self) -> str:
        """Name of the phase in messages."""
        return {"head": "the head", "finetune": "fine-tuning"}[self.section]

    @property
    def best(self) -> Mapping[str, float]:
        """Metrics of the kept epoch."""
        return self.history[self.best_epoch - 1]

    def series(self, metric: str) -> list[float]:
        """Returns a metric by epoch; empty if it was not measured."""
        return [epoch[metric] for epoch in self.history if metric in epoch]

    @property
    def norms(self) -> list[float]:
        """Gradient norm by epoch, with NaN replaced by infinity."""
        return [norm if math.isfinite(norm) else math.inf for norm in self.series("gradient_norm")]

    @property
    def exploded(self) -> bool:
        """Whether gradient norms became infinite or at least `EXPLODED` times as large as in the first epoch."""
        norms = self.norms
        return len(norms) > 1 and (max(norms) == math.inf or max(norms) >= EXPLODED * norms[0])

    def vanished(self, classes: int) -> list[tuple[int, Mapping[str, float]]]:
        """Returns number (from 1) and metrics of each epoch with vanishing gradients although the loss is high."""
        if classes < 2:
            return []
        return [
            (number, metrics)
            for number, metrics in enumerate(self.history, start=1)
            if metrics.get("gradient_norm", math.inf) < VANISHED and metrics["loss"] > HIGH_LOSS * math.log(classes)
        ]


@dataclass(frozen=True)
class TrialResult:
    """Completed trial of the hyperparameter search: the values that the search set, and the validation accuracy.

    `correct` has whether each validation photo was classified correctly, `bool [N]`; None if unknown.
    """

    values: Mapping[str, Any]
    val_accuracy: float
    correct: np.ndarray | None = field(default=None, compare=False, repr=False)


@dataclass(frozen=True)
class SearchedRange:
    """Search space of a numeric parameter: `values`, or else a range from `low` to `high`, logarithmic if `log`."""

    parameter: str
    values: tuple[float, ...] = ()
    low: float = 0.0
    high: float = 0.0
    log: bool = False


@dataclass(frozen=True)
class DeadUnits:
    """Number of dead units of a ReLU layer: those that are zero for every training photo."""

    layer: str
    units: int
    dead: int


@dataclass(frozen=True)
class InputWait:
    """Time measurement of a step that decodes photos: its duration and the time that the network waited, in seconds."""

    step: str
    seconds: float
    waiting: float
    photos: int


def number(value: object) -> float | None:
    """Returns a hyperparameter value as a float; None if it is not numeric.

    The inner layers of a head are represented by the size of the only layer, or by 0 without layers.
    """
    if isinstance(value, tuple | list):
        return 0.0 if not value else number(value[0]) if len(value) == 1 else None
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None


def _empty() -> np.ndarray:
    return np.zeros((0, 0), np.float32)


@dataclass(frozen=True)
class DiagnosisInput:
    """Input of all diagnosis rules; a rule whose inputs are missing reports nothing.

    Attributes:
        head: settings of the selected head.
        finetune: settings of fine-tuning.
        data: folder of the prepared dataset.
        given: splits that the source of the photos defines.
        classes: labels in output order.
        counts: training photos of each class.
        phases: the training phases, in order.
        truth: class indices of the validation photos, `int [N]`.
        probabilities: outputs of the final model for the validation photos, before temperature scaling,
            `float [N, classes]`.
        test: outcomes of the final model on the test photos; None if unknown.
        refitted: whether that model was trained on the validation photos too.
        trials: completed trials of the search.
        searched: search space of each numeric parameter.
        settings: number of different heads that the search trained to completion.
        indistinguishable: how many of them, besides the best, are within noise of the best.
        dead: dead units of each ReLU layer of the selected head.
        waits: time measurements of the steps that decode photos.
        baseline: name of the linear baseline.
        baseline_outcomes: outcomes of the baseline on the validation photos.
    """

    head: Head = field(default_factory=Head)
    finetune: Finetune = field(default_factory=Finetune)
    data: str = "data/NAME"
    given: tuple[str, ...] = ()
    classes: tuple[str, ...] = ()
    counts: tuple[int, ...] = ()
    phases: tuple[TrainingPhase, ...] = ()
    truth: np.ndarray = field(default_factory=_empty)
    probabilities: np.ndarray = field(default_factory=_empty)
    test: Outcomes | None = None
    refitted: bool = False
    trials: tuple[TrialResult, ...] = ()
    searched: tuple[SearchedRange, ...] = ()
    settings: int = 0
    indistinguishable: int = 0
    dead: tuple[DeadUnits, ...] = ()
    waits: tuple[InputWait, ...] = ()
    baseline: str = ""
    baseline_outcomes: Outcomes | None = None

    @property
    def validation(self) -> Outcomes:
        """Outcomes of the final model on the validation photos."""
        return Outcomes.of(self.probabilities.argmax(axis=1) == self.truth) if len(self.truth) else Outcomes(0, 0)

    def outcomes(self, accuracy: float, correct: np.ndarray | None = None) -> Outcomes:
        """Returns outcomes on the validation photos: by photo if `correct` is known, else from the accuracy alone."""
        return Outcomes.counted(accuracy, len(self.truth)) if correct is None else Outcomes.of(correct)

    @property
    def dead_layers(self) -> list[DeadUnits]:
        """Layers in which at least the share `DEAD` of the units is dead."""
        return [layer for layer in self.dead if layer.units and layer.dead >= DEAD * layer.units]

    def unstable(self, phase: TrainingPhase) -> bool:
        """Returns whether a phase shows signs of too large training steps.

        If so, a lower learning rate is suggested, else a higher one. All rules use this method, so that their
        suggestions do not contradict each other.
        """
        losses = [loss for metric in ("loss", "val_loss") for loss in phase.series(metric)]
        uniform = math.log(max(2, len(self.classes)))
        trained = phase.series("loss")
        return bool(
            not all(map(math.isfinite, losses))
            or max(losses, default=0) > uniform / UNIFORM
            or (trained and trained[-1] > RISEN * trained[0])
            or phase.exploded
            or phase.vanished(len(self.classes))
            or (phase.section == "head" and self.dead_layers)
        )
