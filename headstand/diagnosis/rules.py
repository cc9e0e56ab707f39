"""Applies all diagnosis rules and resolves contradictions between their suggestions."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import Any

from headstand.diagnosis import comparisons, curves, gradients, predictions_rules, speed
from headstand.diagnosis.diagnosis_input import DiagnosisInput, SearchedRange, number
from headstand.diagnosis.finding import SEVERITIES, Finding, Suggestion

Rule = Callable[[DiagnosisInput], Iterable[Finding]]

RULES: tuple[Rule, ...] = (
    comparisons.validation_test_gap,
    speed.input_bound,
    curves.not_finite,
    curves.loss_not_falling,
    curves.above_guessing,
    gradients.exploding,
    gradients.vanishing,
    gradients.dead_relus,
    curves.overfitting,
    curves.generalisation_gap,
    curves.best_is_last,
    predictions_rules.no_better_than_majority,
    predictions_rules.never_predicted,
    predictions_rules.imbalance_ignored,
    predictions_rules.saturated,
    predictions_rules.temperature_at_limit,
    comparisons.baseline_not_beaten,
    comparisons.edge_of_range,
    comparisons.indistinguishable,
    comparisons.finetuning_worse,
)

FIRST = Suggestion("act on the findings above first, which change the same keys")
"""Replaces the suggestions of a finding if they contradict those of earlier findings."""

TRIED = Suggestion("what is usually advised is set already or was tried by the search")
"""Replaces the suggestions of a finding if the recipe has set them already or the search has tried them."""


def diagnose(evidence: DiagnosisInput) -> tuple[Finding, ...]:
    """Applies every rule and returns the findings.

    Returns:
        The findings: a gap between validation and test first, then by severity, then in the order of `RULES`. No two of
        them suggest different values for the same key: the value of the first finding is kept.
    """
    found = [finding for rule in RULES for finding in rule(evidence)]
    found.sort(key=lambda finding: (finding.code != comparisons.GAP, SEVERITIES.index(finding.severity)))
    return tuple(consistent(evidence, found))


def consistent(evidence: DiagnosisInput, findings: Sequence[Finding]) -> list[Finding]:
    """Returns the findings without suggestions that have no effect or contradict an earlier suggestion.

    If the search sets a key, the suggestion is replaced by one to extend the search, unless the value was in the search
    space.
    """
    chosen: dict[str, Any] = {}
    result = []
    for finding in findings:
        kept: list[Suggestion] = []
        fallback = TRIED
        for suggestion in finding.suggestions:
            effective = _effective(evidence, suggestion)
            if effective is None:
                continue
            if any(chosen.get(key, value) != value for key, value in effective.changes):
                fallback = FIRST
                continue
            chosen.update(effective.changes)
            kept.append(effective)
        result.append(replace(finding, suggestions=tuple(kept) or (fallback,)))
    return result


def _effective(evidence: DiagnosisInput, suggestion: Suggestion) -> Suggestion | None:
    """Returns a suggestion without values that are set already, or one to extend the search; None if without effect."""
    if not suggestion.changes or suggestion.whole:
        return suggestion
    by_key = {
        f"head.{'inner' if one.parameter in ('units', 'layers') else one.parameter}": one for one in evidence.searched
    }
    changes = tuple((key, value) for key, value in suggestion.changes if _current(evidence, key) != value)
    for key, value in changes:
        if key in by_key:
            return _search_on(by_key[key], value)
    return replace(suggestion, changes=changes) if changes else None


def _search_on(searched: SearchedRange, value: Any) -> Suggestion | None:
    """Returns a suggestion to extend the search to a value; None if the search space contains it or is not numeric."""
    size = number(value)
    if size is None or searched.parameter in ("units", "layers"):
        return None
    known = size in searched.values if searched.values else searched.low <= size <= searched.high
    return None if known else comparisons.search_on(searched, size)


def _current(evidence: DiagnosisInput, key: str) -> Any:
    section, _, name = key.partition(".")
    value = getattr({"head": evidence.head, "finetune": evidence.finetune}.get(section), name, None)
    return value[0] if name == "activation" and value is not None and len(set(value)) == 1 else value
