"""Findings of the diagnosis, and the suggestions attached to them."""

import json
from dataclasses import dataclass
from typing import Any, Literal

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
        whole: whether `text` is complete; else the changes are appended to it as command-line options.
    """

    text: str
    changes: tuple[tuple[str, Any], ...] = ()
    whole: bool = False

    @classmethod
    def searched(cls, text: str, key: str, value: Any) -> "Suggestion":
        """Returns a suggestion to extend the search so that it can set `key` to `value`; only `text` is displayed."""
        return cls(text, ((key, value),), whole=True)

    def __str__(self) -> str:
        options = "" if self.whole else " ".join(f"--{key} {_shown(value)}" for key, value in self.changes)
        return ": ".join(part for part in (self.text, options) if part)


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


def _shown(value: Any) -> str:
    """Returns a value in command-line syntax."""
    if isinstance(value, bool | tuple):
        return json.dumps(value)
    return f"{value:.3g}" if isinstance(value, float) else str(value)
