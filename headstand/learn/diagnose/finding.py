"""Findings of the diagnosis, and the suggestions that go with them."""

import json
from dataclasses import dataclass
from typing import Any, Literal

Severity = Literal["error", "warning", "note"]
"""error: the model is of no use; warning: it would probably be better otherwise; note: good to know."""

SEVERITIES: tuple[Severity, ...] = ("error", "warning", "note")
"""The most severe first."""


@dataclass(frozen=True)
class Suggestion:
    """One way to act on a finding.

    `text` says what to do; `changes` are the recipe keys (`head.dropout`) and the values to set them to. The text is
    followed by them as command-line options, unless it is `whole` already.
    """

    text: str
    changes: tuple[tuple[str, Any], ...] = ()
    whole: bool = False

    @classmethod
    def searched(cls, text: str, key: str, value: Any) -> "Suggestion":
        """A change of what the search tries, so that it may set a key to a value; the text is all that is shown."""
        return cls(text, ((key, value),), whole=True)

    def __str__(self) -> str:
        options = "" if self.whole else " ".join(f"--{key} {_shown(value)}" for key, value in self.changes)
        return ": ".join(part for part in (self.text, options) if part)


@dataclass(frozen=True)
class Finding:
    """One finding: `code` names the rule, `evidence` has the figures, `suggestions` what to change."""

    code: str
    severity: Severity
    title: str
    evidence: str
    suggestions: tuple[Suggestion, ...]

    @property
    def advice(self) -> str:
        """The suggestions as a sentence."""
        return "; or ".join(map(str, self.suggestions))

    @property
    def record(self) -> dict[str, str]:
        """All of it as texts, for `report.json`."""
        return {key: getattr(self, key) for key in ("code", "severity", "title", "evidence", "advice")}

    def __str__(self) -> str:
        return f"{self.title} ({self.evidence}): {self.advice}"


def _shown(value: Any) -> str:
    """A value as the command line takes it."""
    if isinstance(value, bool | tuple):
        return json.dumps(value)
    return f"{value:.3g}" if isinstance(value, float) else str(value)
