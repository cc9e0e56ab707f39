"""Diagnosis rules about training: loss and accuracy by epoch, gradient norms, dead units, waiting for photos."""

import math
from collections.abc import Iterator

from headstand.diagnosis.diagnosis_input import RISEN, UNIFORM, DiagnosisInput
from headstand.diagnosis.finding import Finding, Suggestion, longer, rate, regularise
from headstand.stats import Outcomes, difference, unpaired

CONVERGED = 0.1
"""Share of ln(classes) below which a rising training loss is normal variation of a model that fits its photos."""

OVERFITTED = 1.2
"""Minimum ratio of the last validation loss to the lowest one. The mean of N losses whose standard deviation is twice
their mean has a relative standard error of 2 / sqrt(N): 0.1 for 400 photos; this is two standard errors."""

BADLY = 1.5
"""Ratio of the last validation loss to the lowest one from which on training was too long or too weakly regularised,
regardless of the kept epoch."""

GAP = 0.1
"""Smallest difference of training and validation accuracy that is reported."""

EPOCHS = 3
"""Minimum number of epochs for the rules about the course of a curve."""

TAIL = 0.75
"""Share of the epochs after which a higher validation accuracy counts as still rising: the last quarter."""

BOUND = 0.5
"""Share of a step's duration spent waiting for photos from which on the step is input-bound. From one half on, faster
decoding gains more than a faster network could."""

SHORT = 10.0
"""Waiting time in seconds below which nothing is reported."""


def not_finite(evidence: DiagnosisInput) -> Iterator[Finding]:
    """Reports losses that are NaN or infinite, because a training step overflowed."""
    for phase in evidence.phases:
        bad = [
            (number, name)
            for number, metrics in enumerate(phase.history, start=1)
            for name in ("loss", "val_loss")
            if name in metrics and not math.isfinite(metrics[name])
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
        uniform = math.log(len(evidence.classes))
        rises = losses[-1] > RISEN * losses[0] and losses[-1] > CONVERGED * uniform
        if min(losses) <= UNIFORM * uniform and not rises:
            continue
        yield Finding(
            "loss-not-falling",
            "error",
            f"The loss of {phase.name} does not fall",
            f"loss went from {losses[0]:.3g} (epoch 1) to {losses[-1]:.3g} (epoch {len(losses)}), minimum "
            f"{min(losses):.3g}; uniform predictions over {len(evidence.classes)} classes have {uniform:.3g}",
            (rate(evidence, phase),),
        )


def above_uniform(evidence: DiagnosisInput) -> Iterator[Finding]:
    """Reports a validation loss above ln(classes), that of uniform predictions: confident and wrong predictions."""
    for phase in evidence.phases:
        if len(evidence.classes) < 2 or "val_loss" not in phase.best:
            continue
        uniform, loss = math.log(len(evidence.classes)), phase.best["val_loss"]
        if loss > uniform / UNIFORM:
            yield Finding(
                "loss-above-guessing",
                "warning",
                f"The validation loss of {phase.name} is above that of uniform predictions",
                f"val_loss={loss:.3g} in epoch {phase.best_epoch}, which was kept; uniform predictions over "
                f"{len(evidence.classes)} classes have {uniform:.3g}",
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
            f"Generalisation gap of {phase.name}",
            f"accuracy {train:.3f} on training photos, validation accuracy {held_out:.3f} in epoch {phase.best_epoch}",
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
            f"validation accuracy {accuracies[-1]:.4f} in epoch {epochs} of {epochs}, {earlier:.4f} until epoch "
            f"{until}",
            (longer(phase),),
        )


def exploding(evidence: DiagnosisInput) -> Iterator[Finding]:
    """Reports exploding gradients: norms that grow at least `EXPLODED`-fold or are not finite."""
    for phase in evidence.phases:
        if not phase.exploded:
            continue
        norms, sizes = phase.series("gradient_norm"), phase.norms
        largest = max(sizes)
        yield Finding(
            "exploding-gradients",
            "error" if math.isinf(largest) else "warning",
            f"Exploding gradients in {phase.name}",
            f"gradient_norm went from {norms[0]:.3g} (epoch 1) to {norms[sizes.index(largest)]:.3g} "
            f"(epoch {sizes.index(largest) + 1})",
            (rate(evidence, phase),),
        )


def vanishing(evidence: DiagnosisInput) -> Iterator[Finding]:
    """Reports vanishing gradients: norms near zero although the loss is high."""
    for phase in evidence.phases:
        if not (stuck := phase.vanished(len(evidence.classes))):
            continue
        number, metrics = stuck[0]
        gelu = [_gelu()] if evidence.head.inner and phase.section == "head" else []
        yield Finding(
            "vanishing-gradients",
            "error",
            f"Vanishing gradients in {phase.name}",
            f"gradient_norm is {metrics['gradient_norm']:.2g} in epoch {number} while loss is still "
            f"{metrics['loss']:.3g}; the same in {len(stuck)} of {len(phase.history)} epochs",
            (rate(evidence, phase), *gelu),
        )


def dead_relus(evidence: DiagnosisInput) -> Iterator[Finding]:
    """Reports layers with many dead ReLU units: they are zero for every training photo and no longer learn."""
    for layer in evidence.dead_layers:
        phase = next((phase for phase in evidence.phases if phase.section == "head"), None)
        yield Finding(
            "dead-relus",
            "warning",
            f"Dead ReLUs in layer {layer.layer}",
            f"{layer.dead} of {layer.units} units are zero for all {sum(evidence.counts)} training photos",
            (_gelu(), *([rate(evidence, phase)] if phase else [])),
        )


def _gelu() -> Suggestion:
    return Suggestion("try an activation without dead units", (("head.activation", "gelu"),))


def input_bound(evidence: DiagnosisInput) -> Iterator[Finding]:
    """Reports steps in which the network spends much of the time waiting for photos to be decoded."""
    for wait in evidence.waits:
        if wait.waiting < max(SHORT, BOUND * wait.seconds):
            continue
        yield Finding(
            "input-bound",
            "warning",
            f"The step {wait.step!r} is input-bound",
            f"the network waited {wait.waiting:.0f} of {wait.seconds:.0f} s for photos to be decoded, "
            f"{wait.photos / wait.seconds:.0f} photos/s",
            (
                Suggestion("use more processor cores"),
                Suggestion("scale the source photos down to twice --backbone.size, and prepare them again"),
            ),
        )
