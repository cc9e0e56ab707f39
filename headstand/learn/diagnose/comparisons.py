"""Rules that hold accuracies against each other: trials, baseline, head and fine-tuning."""

import math
from collections.abc import Iterator

from headstand.learn.diagnose.evidence import Evidence, Searched, Tried, number
from headstand.learn.diagnose.finding import Finding

Z = 1.96
"""The 97.5 % point of the normal distribution: two accuracies on N photos each whose difference is less than Z standard
errors are not told apart at 95 %. The trials share their photos, so that their difference varies less than this; by how
much, their accuracies alone do not say."""

WIDE = 0.05
"""Half a 95 % interval above which validation is too small for most purposes: 5 points, some 400 photos at 0.5, some
140 at 0.9."""

NEAR = 0.05
"""Share of a continuous range, at either end, that counts as its edge."""

LEAST = {"dropout": 0.0, "layers": 0.0, "inner": 0.0, "weight_decay": 0.0, "label_smoothing": 0.0, "momentum": 0.0}
"""Where a parameter ends by itself: there is nothing to search below."""

BELOW_ONE = ("dropout", "label_smoothing", "momentum")
"""Parameters that stay below 1."""

WHOLE = ("inner", "units", "layers", "epochs", "batch_size", "patience")


def baseline_not_beaten(evidence: Evidence) -> Iterator[Finding]:
    """A tuned model that a closed-form baseline equals."""
    if not evidence.baseline or not evidence.phases:
        return
    name, accuracy = evidence.baseline
    reached = max(phase.best["val_accuracy"] for phase in evidence.phases)
    if reached > accuracy:
        return
    # One standard error is what chance does to either of the two.
    yield Finding(
        "baseline-not-beaten",
        "warning" if accuracy - reached > evidence.noise(accuracy) else "note",
        "The baseline is not beaten",
        f"val_accuracy={reached:.4f}; {name} on the same features has {accuracy:.4f}",
        "a head without inner layers is as simple as the baseline: --head.inner []"
        if evidence.head.inner
        else "keep the weights small, as it does: --head.optimizer adamw --head.weight_decay 1; or train longer: "
        f"--head.epochs {2 * evidence.head.epochs}",
    )


def edge_of_range(evidence: Evidence) -> Iterator[Finding]:
    """A chosen value at the end of what was searched: better ones may lie beyond."""
    for searched in evidence.searched:
        edge = _edge(evidence, searched)
        if edge is None:
            continue
        chosen, high = edge
        there, elsewhere = _best(evidence, searched, chosen)
        if there is None or elsewhere is None or there < elsewhere:
            continue
        key, beyond = searched.parameter, _beyond(searched, high)
        ends = searched.values or (searched.low, searched.high)
        yield Finding(
            f"{key.replace('_', '-')}-at-edge",
            "warning" if there - elsewhere > evidence.noise(there) else "note",
            f"{key} is at the edge of its range",
            f"{key}={chosen:g} is the {'highest' if high else 'lowest'} of {min(ends):g} to {max(ends):g}; its best "
            f"val_accuracy={there:.4f}, elsewhere {elsewhere:.4f}",
            f"search on: add {beyond:g} to the values of {key}"
            if searched.values
            else f"""search on: --search.parameters '{{"{key}": {{"{"high" if high else "low"}": {beyond:g}}}}}'""",
        )


def indistinguishable(evidence: Evidence) -> Iterator[Finding]:
    """Trials that so few validation photos cannot tell apart."""
    accuracies = sorted((trial.val_accuracy for trial in evidence.trials), reverse=True)
    if len(accuracies) < 2 or not len(evidence.truth):
        return
    best, count = accuracies[0], len(evidence.truth)
    margin = Z * math.sqrt(2) * evidence.noise(best)
    near = [accuracy for accuracy in accuracies if best - accuracy < margin]
    if len(near) < 2:
        return
    half = Z * evidence.noise(best)
    second = next((accuracy for accuracy in accuracies if accuracy < best), None)
    needed = ""
    if second is not None:
        share = (best + second) / 2
        photos = math.ceil(2 * share * (1 - share) * (Z / (best - second)) ** 2)
        needed = f"; to tell {best:.4f} from {second:.4f} takes some {photos} photos"
    yield Finding(
        "validation-too-small",
        "warning" if half > WIDE else "note",
        "Validation is too small to tell the best trials apart",
        f"{len(near)} of {len(accuracies)} trials lie within {margin:.3f} of the best, val_accuracy={best:.4f}, which "
        f"{count} photos cannot tell apart at 95 %{needed}",
        "take the simplest of them, or validate on more: --split.validation 0.3 --split.train 0.5 and prepare again",
    )


def finetuning_worse(evidence: Evidence) -> Iterator[Finding]:
    """Fine-tuning that ends below the head that it began from."""
    if len(evidence.phases) < 2:
        return
    head, tuned = (phase.best["val_accuracy"] for phase in evidence.phases[:2])
    if tuned >= head:
        return
    yield Finding(
        "fine-tuning-worse",
        "warning" if head - tuned > evidence.noise(head) else "note",
        "Fine-tuning is worse than the head alone",
        f"val_accuracy={head:.4f} with the backbone as it was, {tuned:.4f} after {len(evidence.phases[1].history)} "
        "epochs of fine-tuning",
        f"a lower rate: --finetune.learning_rate {evidence.finetune.learning_rate / 3:.2g}; or more --finetune.epochs; "
        "or 0 of them, which leaves the head alone",
    )


def _edge(evidence: Evidence, searched: Searched) -> tuple[float, bool] | None:
    """The chosen value where it lies at an end of its range, and whether that is the upper one."""
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
        place = _scaled(chosen, searched)
        at_low, at_high = place <= NEAR, place >= 1 - NEAR
    if low == high or (at_low and chosen <= LEAST.get(searched.parameter, -math.inf)):
        return None
    return (chosen, at_high) if at_low or at_high else None


def _scaled(value: float, searched: Searched) -> float:
    """Where a value lies in a continuous range, from 0 to 1."""
    low, high = searched.low, searched.high
    if searched.log:
        value, low, high = math.log(value), math.log(low), math.log(high)
    return (value - low) / (high - low)


def _best(evidence: Evidence, searched: Searched, chosen: float) -> tuple[float | None, float | None]:
    """The best accuracy of the trials at that edge, and of those elsewhere in the range."""
    at_edge: list[float] = []
    elsewhere: list[float] = []
    for trial in evidence.trials:
        value = _tried(trial, searched.parameter)
        if value is None:
            continue
        distance = abs(value - chosen) if searched.values else abs(_scaled(value, searched) - _scaled(chosen, searched))
        near = distance <= (0 if searched.values else NEAR)
        (at_edge if near else elsewhere).append(trial.val_accuracy)
    return max(at_edge, default=None), max(elsewhere, default=None)


def _tried(trial: Tried, parameter: str) -> float | None:
    return number(trial.values[parameter]) if parameter in trial.values else None


def _beyond(searched: Searched, high: bool) -> float:
    """A value past the edge: as far again as the step before it."""
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
