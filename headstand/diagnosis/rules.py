"""Applies all diagnosis rules and resolves contradictions between their suggestions."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import Any

from headstand.diagnosis import comparison_rules, prediction_rules, training_rules
from headstand.diagnosis.diagnosis_input import DiagnosisInput, SearchedRange, number
from headstand.diagnosis.finding import SEVERITIES, Finding, Suggestion, extend_search, recipe_key

Rule = Callable[[DiagnosisInput], Iterable[Finding]]

RULES: tuple[Rule, ...] = (
    comparison_rules.validation_test_gap,
    training_rules.input_bound,
    training_rules.not_finite,
    training_rules.loss_not_falling,
    training_rules.above_uniform,
    training_rules.exploding,
    training_rules.vanishing,
    training_rules.dead_relus,
    training_rules.overfitting,
    training_rules.generalisation_gap,
    training_rules.best_is_last,
    prediction_rules.no_better_than_majority,
    prediction_rules.never_predicted,
    prediction_rules.imbalance_ignored,
    prediction_rules.saturated_softmax,
    prediction_rules.temperature_at_limit,
    comparison_rules.baseline_not_beaten,
    comparison_rules.edge_of_range,
    comparison_rules.indistinguishable,
    comparison_rules.finetuning_worse,
)

FIRST = Suggestion("follow the suggestions above first, which change the same keys")
"""Replaces the suggestions of a finding if they contradict those of earlier findings."""

ALREADY_SET = Suggestion("the usual changes are set already or were part of the search")
"""Replaces the suggestions of a finding if the recipe has set them already or the search space contains them."""


def diagnose(evidence: DiagnosisInput) -> tuple[Finding, ...]:
    """Applies every rule and returns the findings.

    Returns:
        The findings: a gap between validation and test first, then by severity, then in the order of `RULES`. No two of
        them suggest different values for the same key: the value of the first finding is kept.
    """
    found = [finding for rule in RULES for finding in rule(evidence)]
    found.sort(key=lambda finding: (finding.code != comparison_rules.GAP_CODE, SEVERITIES.index(finding.severity)))
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
        fallback = ALREADY_SET
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
    if not suggestion.changes or suggestion.complete:
        return suggestion
    by_key = {recipe_key(searched): searched for searched in evidence.searched}
    changes = tuple((key, value) for key, value in suggestion.changes if _current(evidence, key) != value)
    for key, value in changes:
        if key in by_key:
            return _extended(by_key[key], value)
    return replace(suggestion, changes=changes) if changes else None


def _extended(searched: SearchedRange, value: Any) -> Suggestion | None:
    """Returns a suggestion to extend the search to a value; None if the search space contains it or is not numeric."""
    size = number(value)
    if size is None or searched.parameter in ("units", "layers"):
        return None
    known = size in searched.values if searched.values else searched.low <= size <= searched.high
    return None if known else extend_search(searched, size)


def _current(evidence: DiagnosisInput, key: str) -> Any:
    section, _, name = key.partition(".")
    value = getattr({"head": evidence.head, "finetune": evidence.finetune}.get(section), name, None)
    return value[0] if name == "activation" and value is not None and len(set(value)) == 1 else value
