"""Diagnosis rules about the learning curves: training and validation loss and accuracy by epoch."""

import math
from collections.abc import Iterator

from headstand.diagnosis.diagnosis_input import GUESSING, RISEN, DiagnosisInput
from headstand.diagnosis.finding import Finding, Suggestion
from headstand.diagnosis.suggestions import longer, rate, regularise
from headstand.stats import Outcomes, difference, unpaired

SETTLED = 0.1
"""Share of ln(classes) below which a rising training loss is normal variation of a model that fits its photos."""

OVERFITTED = 1.2
"""Minimum ratio of the last validation loss to the lowest one. The mean of N losses whose standard deviation is twice
their mean has a relative standard error of 2 / sqrt(N): 0.1 for 400 photos; this is two standard errors."""

BADLY = 1.5
"""Ratio of the last validation loss to the lowest one from which on training was too long or too weakly regularised,
whichever epoch was kept."""

GAP = 0.1
"""Smallest difference of training and validation accuracy that is reported."""

EPOCHS = 3
"""Minimum number of epochs for the rules about the course of a curve."""

TAIL = 0.75
"""Share of the epochs after which a higher validation accuracy counts as still rising: the last quarter."""


def not_finite(evidence: DiagnosisInput) -> Iterator[Finding]:
    """Reports losses that are NaN or infinite, because a training step overflowed."""
    for phase in evidence.phases:
        bad = [
            (number, name)
            for number, figures in enumerate(phase.history, start=1)
            for name in ("loss", "val_loss")
            if name in figures and not math.isfinite(figures[name])
        ]
        if bad:
            number, name = bad[0]
            epochs = len({number for number, _ in bad})
            yield Finding(
                "loss-not-a-number",
                "error",
                f"The loss of {phase.name} is not finite",
                f"{name} is {phase.history[number - 1][name]} in epoch {number}, and {epochs} of {len(phase.history)} "
                "epochs have such a loss",
                (rate(evidence, phase),),
            )


def loss_not_falling(evidence: DiagnosisInput) -> Iterator[Finding]:
    """Reports a training loss that rises or stays near ln(classes), the loss of uniform predictions."""
    for phase in evidence.phases:
        losses = [loss for loss in phase.series("loss") if math.isfinite(loss)]
        if len(losses) < EPOCHS or len(evidence.classes) < 2:
            continue
        guess = math.log(len(evidence.classes))
        rises = losses[-1] > RISEN * losses[0] and losses[-1] > SETTLED * guess
        if min(losses) <= GUESSING * guess and not rises:
            continue
        yield Finding(
            "loss-not-falling",
            "error",
            f"The loss of {phase.name} does not fall",
            f"loss went from {losses[0]:.3g} (epoch 1) to {losses[-1]:.3g} (epoch {len(losses)}), at least "
            f"{min(losses):.3g}; guessing among {len(evidence.classes)} classes has {guess:.3g}",
            (rate(evidence, phase),),
        )


def above_guessing(evidence: DiagnosisInput) -> Iterator[Finding]:
    """Reports a validation loss above ln(classes), that of uniform predictions: confident and wrong predictions."""
    for phase in evidence.phases:
        if len(evidence.classes) < 2 or "val_loss" not in phase.best:
            continue
        guess, loss = math.log(len(evidence.classes)), phase.best["val_loss"]
        if loss > guess / GUESSING:
            yield Finding(
                "loss-above-guessing",
                "warning",
                f"The validation loss of {phase.name} is above that of guessing",
                f"val_loss={loss:.3g} in epoch {phase.best_epoch}, which was kept; guessing among "
                f"{len(evidence.classes)} classes has {guess:.3g}",
                (rate(evidence, phase),),
            )


def overfitting(evidence: DiagnosisInput) -> Iterator[Finding]:
    """Reports a validation loss that rises while the training loss continues to fall."""
    for phase in evidence.phases:
        losses, held_out = phase.series("loss"), phase.series("val_loss")
        if len(held_out) < EPOCHS or not all(map(math.isfinite, [*losses, *held_out])):
            continue
        least = min(held_out)
        lowest, last = held_out.index(least), len(held_out) - 1
        if held_out[last] < OVERFITTED * least or losses[last] >= losses[lowest]:
            continue
        kept = held_out[phase.best_epoch - 1]
        yield Finding(
            "overfitting",
            "warning" if kept >= OVERFITTED * least or held_out[last] >= BADLY * least else "note",
            f"Overfitting of {phase.name}",
            f"val_loss rose from {least:.2f} (epoch {lowest + 1}) to {held_out[last]:.2f} (epoch {last + 1}) while "
            f"loss fell to {losses[last]:.2g}; epoch {phase.best_epoch} was kept",
            (regularise(evidence, phase, lowest + 1),),
        )


def generalisation_gap(evidence: DiagnosisInput) -> Iterator[Finding]:
    """Reports a training accuracy that exceeds the validation accuracy beyond noise and by at least `GAP`."""
    for phase in evidence.phases[-1:]:
        if not phase.history or not {"accuracy", "val_accuracy"} <= set(phase.best):
            continue
        train, held_out = phase.best["accuracy"], phase.best["val_accuracy"]
        trained = Outcomes.counted(train, sum(evidence.counts))
        if train - held_out < GAP or unpaired(trained, evidence.outcomes(held_out)).within_noise:
            continue
        yield Finding(
            "generalisation-gap",
            "note",
            f"{phase.name.capitalize()} is less accurate on new photos than on its training photos",
            f"accuracy={train:.3f} on training photos, val_accuracy={held_out:.3f} in epoch {phase.best_epoch}",
            (Suggestion("add training photos, which helps most"), regularise(evidence, phase, None)),
        )


def best_is_last(evidence: DiagnosisInput) -> Iterator[Finding]:
    """Reports a validation accuracy that was highest in the last epoch, so that it may rise further."""
    for phase in evidence.phases:
        accuracies, epochs = phase.series("val_accuracy"), len(phase.history)
        if len(accuracies) < EPOCHS or phase.best_epoch != epochs:
            continue
        until = max(1, math.ceil(TAIL * epochs) - 1)
        earlier = max(accuracies[:until])
        gain = difference(evidence.outcomes(accuracies[-1]), evidence.outcomes(earlier))
        yield Finding(
            "best-epoch-is-last",
            "note" if gain.within_noise else "warning",
            f"The best epoch of {phase.name} is the last one",
            f"val_accuracy={accuracies[-1]:.4f} in epoch {epochs} of {epochs}, {earlier:.4f} until epoch {until}",
            (longer(phase),),
        )
