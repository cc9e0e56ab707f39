"""Findings of the diagnosis, and the suggestions that the rules share."""

import json
import math
from dataclasses import dataclass
from typing import Any, Literal

from headstand.diagnosis.diagnosis_input import DiagnosisInput, SearchedRange, TrainingPhase

Severity = Literal["error", "warning", "note"]
"""Severity of a finding.

error: the model is not usable; warning: a change would probably improve it; note: for information.
"""

SEVERITIES: tuple[Severity, ...] = ("error", "warning", "note")
"""All severities, the most severe first."""


@dataclass(frozen=True)
class Suggestion:
    """Action that may resolve a finding.

    Attributes:
        text: description of the action.
        changes: recipe keys (such as `head.dropout`) and their suggested values.
        complete: whether `text` is complete; else the changes are appended to it as command-line options.
    """

    text: str
    changes: tuple[tuple[str, Any], ...] = ()
    complete: bool = False

    @property
    def options(self) -> list[str]:
        """The changes as command-line arguments; none if `text` is complete."""
        changes = () if self.complete else self.changes
        return [part for key, value in changes for part in (f"--{key}", _formatted(value))]

    def __str__(self) -> str:
        return ": ".join(part for part in (self.text, " ".join(self.options)) if part)


@dataclass(frozen=True)
class Finding:
    """Problem that a diagnosis rule reports.

    Attributes:
        code: stable identifier of the kind of problem.
        severity: one of `SEVERITIES`.
        title: description in one phrase.
        evidence: the measured values.
        suggestions: actions that may resolve it.
    """

    code: str
    severity: Severity
    title: str
    evidence: str
    suggestions: tuple[Suggestion, ...]

    @property
    def advice(self) -> str:
        """The suggestions, joined into one sentence."""
        return "; or ".join(map(str, self.suggestions))

    @property
    def record(self) -> dict[str, str]:
        """The finding as a dictionary of strings, for `report.json`."""
        return {key: getattr(self, key) for key in ("code", "severity", "title", "evidence", "advice")}

    def __str__(self) -> str:
        return f"{self.title} ({self.evidence}): {self.advice}"


def _formatted(value: Any) -> str:
    """Returns a value in command-line syntax."""
    if isinstance(value, bool | tuple):
        return json.dumps(value)
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def check_labels(evidence: DiagnosisInput) -> Suggestion:
    """Returns a suggestion for predictions that are no better than chance for a class or the whole model."""
    return Suggestion(f"check photos and labels: `python -m headstand doctor {evidence.data} --labels`")


def rate(evidence: DiagnosisInput, phase: TrainingPhase) -> Suggestion:
    """Returns a suggestion to lower the learning rate if training is unstable, else to raise it."""
    section = evidence.head if phase.section == "head" else evidence.finetune
    key, current = f"{phase.section}.learning_rate", section.learning_rate
    if evidence.unstable(phase):
        return Suggestion("try a lower learning rate", ((key, _rounded(current / 10)),))
    return Suggestion("try a higher learning rate", ((key, _rounded(min(1.0, current * 10))),))


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


def recipe_key(searched: SearchedRange) -> str:
    """Returns the recipe key that a searched parameter sets, for example `head.inner` for `units`."""
    return f"head.{'inner' if searched.parameter in ('units', 'layers') else searched.parameter}"


def extend_search(searched: SearchedRange, value: float) -> Suggestion:
    """Returns a suggestion to extend the searched values or range of a parameter to a value.

    Its change is keyed by the recipe key that the value would set.
    """
    key = searched.parameter
    if searched.values:
        text = f"extend the search: add {value:g} to the values of {key}"
    else:
        end = "high" if value > searched.high else "low"
        text = f"""extend the search: --search.parameters '{{"{key}": {{"{end}": {value:g}}}}}'"""
    return Suggestion(text, ((recipe_key(searched), value),), complete=True)
