"""What a rule found."""

from dataclasses import dataclass
from typing import Literal

Severity = Literal["error", "warning", "note"]
"""error: the model is of no use; warning: it would probably be better otherwise; note: good to know."""

SEVERITIES: tuple[Severity, ...] = ("error", "warning", "note")
"""The worst first."""


@dataclass(frozen=True)
class Finding:
    """One finding: `code` names the rule, `evidence` has the numbers, `advice` the recipe's key and a value."""

    code: str
    severity: Severity
    title: str
    evidence: str
    advice: str

    def __str__(self) -> str:
        return f"{self.title} ({self.evidence}): {self.advice}"
