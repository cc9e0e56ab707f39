"""Diagnosis rules that compare accuracies: validation and test, search trials, baseline, head and fine-tuning."""

import math
from collections.abc import Iterator

from headstand.diagnosis.diagnosis_input import DiagnosisInput, SearchedRange, TrialResult, number
from headstand.diagnosis.finding import Finding, Suggestion, extend_search, longer, rate, smaller_head
from headstand.stats import difference, photos_needed, unpaired, wilson

GAP_CODE = "validation-test-gap"
"""Code of the finding that is listed before all others, because it makes every validation metric unreliable."""

WIDE = 0.05
"""Half width of the 95 % interval of an accuracy above which the validation split is too small for most purposes: 5
points, which takes about 400 photos at an accuracy of 0.5 and 140 at 0.9."""

NEAR = 0.05
"""Share of a continuous search range that counts as its edge, at either end."""

SHARE = 0.3
"""Largest share of the photos that a suggestion assigns to the validation split."""

LEAST = {"dropout": 0.0, "layers": 0.0, "inner": 0.0, "weight_decay": 0.0, "label_smoothing": 0.0, "momentum": 0.0}
"""Smallest valid value of a parameter; a search range cannot be extended below it."""

BELOW_ONE = ("dropout", "label_smoothing", "momentum")
"""Parameters that must be less than 1."""

WHOLE = ("inner", "units", "layers", "epochs", "batch_size", "patience")
"""Parameters that are integers."""


def validation_test_gap(evidence: DiagnosisInput) -> Iterator[Finding]:
    """Reports validation and test accuracies that differ beyond noise (see `headstand.stats.unpaired`).

    A model that was trained on the validation photos too is expected to be better on test than before.
    """
    validation, test = evidence.validation, evidence.test
    if test is None or not test.count or not validation.count:
        return
    gap = unpaired(validation, test)
    if gap.within_noise or (evidence.refitted and gap.value < 0):
        return
    low, high = sorted(map(abs, gap.interval))
    causes = [
        Suggestion(
            "the test photos may come from another source (camera, location, people) than the training photos: compare "
            "both"
        )
    ]
    if evidence.given:
        causes.append(Suggestion("let Headstand divide all photos", (("split.recut", "all"),)))
    if gap.value > 0:
        causes.append(
            Suggestion(
                "validation photos may have near duplicates among the training photos: `python -m headstand doctor "
                f"{evidence.data}` lists them"
            )
        )
        heads = f"{evidence.settings} heads and " if evidence.settings > 1 else ""
        causes.append(Suggestion(f"validation accuracy is the maximum over {heads}all epochs and therefore optimistic"))
    else:
        causes.append(
            Suggestion(
                "test photos may have near duplicates among the training photos: `python -m headstand doctor "
                f"{evidence.data}` lists them"
            )
        )
    yield Finding(
        GAP_CODE,
        "warning",
        f"Test accuracy is significantly {'lower' if gap.value > 0 else 'higher'} than validation accuracy",
        f"validation accuracy {validation.accuracy:.4f} on {validation.count} photos, test accuracy "
        f"{test.accuracy:.4f} on {test.count}: difference {abs(gap.value):.3f}, 95 % interval {low:.3f} to {high:.3f}",
        tuple(causes),
    )


def baseline_not_beaten(evidence: DiagnosisInput) -> Iterator[Finding]:
    """Reports a trained model that is no more accurate on validation than the linear baseline."""
    baseline = evidence.baseline_outcomes
    if baseline is None or not evidence.phases:
        return
    phase = max(evidence.phases, key=lambda phase: phase.best["val_accuracy"])
    reached = phase.best["val_accuracy"]
    if reached > baseline.accuracy:
        return
    gap = difference(baseline, evidence.outcomes(reached, phase.correct))
    if evidence.head.inner:
        suggestions = [smaller_head(evidence, "use a head without inner layers, which is as simple as the baseline")]
    else:
        suggestions = [
            Suggestion(
                "regularise the weights, as the baseline does",
                (("head.optimizer", "adamw"), ("head.weight_decay", 1.0)),
            ),
            longer(evidence.phases[0]),
        ]
    yield Finding(
        "baseline-not-beaten",
        "note" if gap.within_noise else "warning",
        "The model is no better than the baseline",
        f"validation accuracy {reached:.4f}; {evidence.baseline} on the same features has {baseline.accuracy:.4f}",
        tuple(suggestions),
    )


def edge_of_range(evidence: DiagnosisInput) -> Iterator[Finding]:
    """Reports a selected hyperparameter value at the edge of its search range, since better values may lie outside."""
    for searched in evidence.searched:
        edge = _edge(evidence, searched)
        if edge is None:
            continue
        chosen, high = edge
        at_edge, elsewhere = _best(evidence, searched, chosen)
        if at_edge is None or elsewhere is None or at_edge.val_accuracy < elsewhere.val_accuracy:
            continue
        gain = difference(*(evidence.outcomes(one.val_accuracy, one.correct) for one in (at_edge, elsewhere)))
        key, beyond = searched.parameter, _beyond(searched, high)
        ends = searched.values or (searched.low, searched.high)
        yield Finding(
            f"{key.replace('_', '-')}-at-edge",
            "note" if gain.within_noise else "warning",
            f"{key} is at the edge of its range",
            f"{key}={chosen:g} is the {'highest' if high else 'lowest'} of {min(ends):g} to {max(ends):g}; its best "
            f"validation accuracy {at_edge.val_accuracy:.4f}, elsewhere {elsewhere.val_accuracy:.4f}",
            (extend_search(searched, beyond),),
        )


def indistinguishable(evidence: DiagnosisInput) -> Iterator[Finding]:
    """Reports head settings whose validation accuracy is statistically indistinguishable from the best."""
    if not evidence.indistinguishable or not len(evidence.truth):
        return
    count, accuracies = len(evidence.truth), sorted({trial.val_accuracy for trial in evidence.trials}, reverse=True)
    best = accuracies[0]
    low, high = wilson(round(best * count), count)
    needed, suggestions = "", [Suggestion("use the simplest or fastest of them")]
    if len(accuracies) > 1:
        photos, available = photos_needed(best, accuracies[1]), sum(evidence.counts) + count
        needed = f"; the difference of {best:.4f} and {accuracies[1]:.4f} is significant with about {photos} photos"
        if count < photos <= SHARE * available and "validation" not in evidence.given:
            more = (("split.train", 0.5), ("split.validation", SHARE), ("split.test", 0.2))
            suggestions.append(Suggestion("enlarge the validation split and prepare the data again", more))
    others = evidence.indistinguishable
    yield Finding(
        "validation-too-small",
        "warning" if (high - low) / 2 > WIDE else "note",
        "The validation split is too small to rank the best settings",
        f"{others} of {evidence.settings - 1} other settings are statistically indistinguishable from the best, "
        f"validation accuracy {best:.4f}, on {count} validation photos{needed}",
        tuple(suggestions),
    )


def finetuning_worse(evidence: DiagnosisInput) -> Iterator[Finding]:
    """Reports fine-tuning that ends with a lower validation accuracy than the head on the frozen backbone."""
    if len(evidence.phases) < 2:
        return
    head, tuned = evidence.phases[:2]
    before, after = head.best["val_accuracy"], tuned.best["val_accuracy"]
    if after >= before:
        return
    loss = difference(evidence.outcomes(before, head.correct), evidence.outcomes(after, tuned.correct))
    current = evidence.finetune.learning_rate
    unsteady = evidence.unstable(tuned)
    rising = tuned.best_epoch == len(tuned.history) and not unsteady
    lower = (
        rate(evidence, tuned)
        if unsteady
        else Suggestion("try a lower learning rate", (("finetune.learning_rate", float(f"{current / 3:.2g}")),))
    )
    yield Finding(
        "fine-tuning-worse",
        "note" if loss.within_noise else "warning",
        "Fine-tuning is worse than the head alone",
        f"validation accuracy {before:.4f} with a frozen backbone, {after:.4f} after {len(tuned.history)} epochs of "
        "fine-tuning",
        (longer(tuned),) if rising else (lower, Suggestion("skip fine-tuning", (("finetune.epochs", 0),))),
    )


def _edge(evidence: DiagnosisInput, searched: SearchedRange) -> tuple[float, bool] | None:
    """Returns the selected value and whether it lies at the upper end of its range; None if it lies at no end."""
    chosen = number(getattr(evidence.head, searched.parameter, None))
    if searched.parameter == "units":
        chosen = number(evidence.head.inner[:1])
    elif searched.parameter == "layers":
        chosen = float(len(evidence.head.inner))
    if chosen is None:
        return None
    if searched.values:
        low, high = min(searched.values), max(searched.values)
        at_low, at_high = chosen <= low, chosen >= high
    else:
        low, high = searched.low, searched.high
        share = _scaled(chosen, searched)
        at_low, at_high = share <= NEAR, share >= 1 - NEAR
    if low == high or (at_low and chosen <= LEAST.get(searched.parameter, -math.inf)):
        return None
    return (chosen, at_high) if at_low or at_high else None


def _scaled(value: float, searched: SearchedRange) -> float:
    """Returns the position of a value in a continuous range, from 0 to 1; logarithmic for a log range."""
    low, high = searched.low, searched.high
    if searched.log:
        # 0 lies below every log range: another job of the search may have left the parameter at 0.
        value, low, high = math.log(value) if value > 0 else -math.inf, math.log(low), math.log(high)
    return (value - low) / (high - low)


def _distance(one: float, other: float) -> float:
    return 0.0 if one == other else abs(one - other)  # not inf - inf


def _best(
    evidence: DiagnosisInput, searched: SearchedRange, chosen: float
) -> tuple[TrialResult | None, TrialResult | None]:
    """Returns the most accurate trial near the selected value and the most accurate one elsewhere; None without any."""
    at_edge: list[TrialResult] = []
    elsewhere: list[TrialResult] = []
    for trial in evidence.trials:
        value = number(trial.values[searched.parameter]) if searched.parameter in trial.values else None
        if value is None:
            continue
        distance = (
            abs(value - chosen) if searched.values else _distance(_scaled(value, searched), _scaled(chosen, searched))
        )
        near = distance <= (0 if searched.values else NEAR)
        (at_edge if near else elsewhere).append(trial)

    def best(trials: list[TrialResult]) -> TrialResult | None:
        return max(trials, key=lambda trial: trial.val_accuracy, default=None)

    return best(at_edge), best(elsewhere)


def _beyond(searched: SearchedRange, high: bool) -> float:
    """Returns a value outside a search range, beyond its upper end if `high`, else beyond its lower end.

    For listed values the last step is repeated as a factor (halved if a factor is undefined). A log range is extended
    10-fold, a linear one 2-fold. Parameters in `BELOW_ONE` move halfway to 1 instead.
    """
    if searched.values:
        ordered = sorted(searched.values, reverse=high)
        edge, inner = ordered[0], ordered[1]
        factor = edge / inner if inner and edge else 0.0
    else:
        edge = searched.high if high else searched.low
        factor = (10.0 if high else 0.1) if searched.log else (2.0 if high else 0.5)
    if searched.parameter in BELOW_ONE and high:
        return float(f"{(1 + edge) / 2:.3g}")
    value = edge * factor if factor else edge / 2
    return float(max(1, round(value))) if searched.parameter in WHOLE else float(f"{value:.3g}")
