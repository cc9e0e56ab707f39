"""Suggestions that several diagnosis rules share, so that they are consistent."""

import math

from headstand.diagnosis.diagnosis_input import DiagnosisInput, TrainingPhase
from headstand.diagnosis.finding import Suggestion

LABELS = Suggestion("check photos and labels: `python -m headstand doctor FOLDER --labels`")


def rate(evidence: DiagnosisInput, phase: TrainingPhase) -> Suggestion:
    """Returns a suggestion to lower the learning rate if training is unstable, else to raise it."""
    section = evidence.head if phase.section == "head" else evidence.finetune
    key, current = f"{phase.section}.learning_rate", section.learning_rate
    if evidence.unstable(phase):
        return Suggestion("try a lower rate", ((key, _rounded(current / 10)),))
    return Suggestion("try a higher rate", ((key, _rounded(min(1.0, current * 10))),))


def regularise(evidence: DiagnosisInput, phase: TrainingPhase, epochs: int | None) -> Suggestion:
    """Returns a suggestion against overfitting.

    Args:
        evidence: input of the diagnosis.
        phase: the training phase that overfits.
        epochs: number of epochs after which it overfits; None suggests half of the phase's epochs.
    """
    epochs = epochs or max(1, len(phase.history) // 2)
    if phase.section == "finetune":
        return Suggestion("fine-tune less", (("finetune.epochs", epochs),))
    if evidence.head.dropout < 0.5:
        return Suggestion("try more dropout", (("head.dropout", 0.5),))
    if evidence.head.inner:
        return smaller_head(evidence, "try a smaller head")
    return Suggestion("train less", (("head.epochs", epochs),))


def smaller_head(evidence: DiagnosisInput, text: str) -> Suggestion:
    """Returns a suggestion to remove the head's inner layers, and resets the settings that require inner layers."""
    changes: list[tuple[str, object]] = [("head.inner", ())]
    if evidence.head.batch_norm:
        changes.append(("head.batch_norm", False))
    if len(evidence.head.activation) > 1:
        changes.append(("head.activation", evidence.head.activation[0]))
    return Suggestion(text, tuple(changes))


def longer(phase: TrainingPhase) -> Suggestion:
    """Returns a suggestion to train for more epochs."""
    epochs = len(phase.history)
    more = 2 * epochs if phase.section == "head" else math.ceil(1.5 * epochs)
    return Suggestion("train longer", ((f"{phase.section}.epochs", more),))


def _rounded(value: float) -> float:
    return float(f"{value:.3g}")
