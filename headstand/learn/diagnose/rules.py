"""All rules, in the order in which a run goes."""

from collections.abc import Callable, Iterable

from headstand.learn.diagnose import answers, comparisons, curves, gradients, speed
from headstand.learn.diagnose.evidence import Evidence
from headstand.learn.diagnose.finding import SEVERITIES, Finding

Rule = Callable[[Evidence], Iterable[Finding]]

RULES: tuple[Rule, ...] = (
    speed.input_bound,
    curves.not_a_number,
    curves.loss_not_falling,
    curves.above_guessing,
    gradients.exploding,
    gradients.vanishing,
    gradients.dead_relus,
    curves.overfitting,
    curves.generalisation_gap,
    curves.best_is_last,
    answers.no_better_than_majority,
    answers.never_predicted,
    answers.imbalance_ignored,
    answers.saturated,
    comparisons.baseline_not_beaten,
    comparisons.edge_of_range,
    comparisons.indistinguishable,
    comparisons.finetuning_worse,
)


def diagnose(evidence: Evidence) -> tuple[Finding, ...]:
    """Ask every rule.

    Returns:
        The findings, the worst first, otherwise in the order in which a run goes.
    """
    found = [finding for rule in RULES for finding in rule(evidence)]
    return tuple(sorted(found, key=lambda finding: SEVERITIES.index(finding.severity)))
