"""Diagnosis rules about gradient norms and dead ReLU units."""

import math
from collections.abc import Iterator

from headstand.diagnosis.diagnosis_input import DiagnosisInput
from headstand.diagnosis.finding import Finding, Suggestion
from headstand.diagnosis.suggestions import rate


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
        number, figures = stuck[0]
        gelu = [_gelu()] if evidence.head.inner and phase.section == "head" else []
        yield Finding(
            "vanishing-gradients",
            "error",
            f"Vanishing gradients in {phase.name}",
            f"gradient_norm is {figures['gradient_norm']:.2g} in epoch {number} while loss is still "
            f"{figures['loss']:.3g}, and so in {len(stuck)} of {len(phase.history)} epochs",
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
    return Suggestion("try an activation that does not die", (("head.activation", "gelu"),))
