"""Diagnosis rules about the predictions on the validation split and about class imbalance."""

import math
from collections.abc import Iterator

import numpy as np
from scipy.stats import poisson

from headstand.diagnosis.diagnosis_input import DiagnosisInput
from headstand.diagnosis.finding import Finding, Suggestion, check_labels, rate
from headstand.evaluation.calibration import LIMITS, at_limit, temperature

SATURATED = 0.999
"""Probability from which on a prediction counts as saturated: at most 1 of 1000 of them should be wrong."""

SIGNIFICANCE = 0.001
"""Significance level: probability of that many wrong predictions if the probabilities were calibrated."""

PREDICTABLE = 5
"""Minimum number of photos of a class for a report that the class is never predicted. A class that is predicted as
often as it occurs is missing among n expected predictions with probability e^-n, 0.7 % here."""

IMBALANCED = 4.0
"""Ratio of the largest to the smallest class from which on small classes hardly contribute to the loss."""

FITTED = 0.8
"""Training accuracy from which on a model has fitted its training photos."""

LISTED = 5
"""Maximum number of classes that a finding lists by name."""


def no_better_than_majority(evidence: DiagnosisInput) -> Iterator[Finding]:
    """Reports a model that is no better than always predicting the most frequent class."""
    if not len(evidence.truth):
        return
    counts = np.bincount(evidence.truth, minlength=len(evidence.classes))
    accuracy, share = _accuracy(evidence), float(counts.max() / counts.sum())
    if accuracy > share or share == 1:
        return
    metrics = (
        f"validation accuracy {accuracy:.4f}; always predicting {evidence.classes[int(counts.argmax())]!r} has "
        f"{share:.4f}"
    )
    fitted = max([accuracy for phase in evidence.phases[-1:] for accuracy in phase.series("accuracy")], default=0.0)
    if fitted > max(FITTED, share):
        # Overfitting alone would leave a validation accuracy above that of the most frequent class.
        yield Finding(
            "validation-at-chance",
            "error",
            "The model does not generalise",
            f"accuracy {fitted:.4f} on training photos, {metrics}",
            (
                Suggestion("labels or their order may not match between the splits: prepare the data again"),
                check_labels(evidence),
            ),
        )
        return
    yield Finding(
        "majority-not-beaten",
        "error",
        "No better than always predicting the same class",
        metrics,
        (*(rate(evidence, phase) for phase in evidence.phases[-1:]), check_labels(evidence)),
    )


def never_predicted(evidence: DiagnosisInput) -> Iterator[Finding]:
    """Reports classes that have at least `PREDICTABLE` validation photos and are never predicted."""
    if not len(evidence.truth):
        return
    counts = np.bincount(evidence.truth, minlength=len(evidence.classes))
    predicted = np.bincount(evidence.probabilities.argmax(axis=1), minlength=len(evidence.classes))
    missing = [index for index in np.flatnonzero(counts >= PREDICTABLE) if not predicted[index]]
    if not missing:
        return
    names = ", ".join(f"{evidence.classes[index]} ({counts[index]} photos)" for index in missing[:LISTED])
    if len(missing) > LISTED:
        names += f" and {len(missing) - LISTED} more"
    yield Finding(
        "class-never-predicted",
        "warning",
        f"{len(missing)} of {len(evidence.classes)} classes are never predicted",
        f"none of {len(evidence.truth)} validation photos is predicted to be {names}",
        (check_labels(evidence),) if evidence.head.class_weights else (_class_weights(),),
    )


def imbalance_ignored(evidence: DiagnosisInput) -> Iterator[Finding]:
    """Reports classes of very different size if the loss has no class weights."""
    counts = [count for count in evidence.counts if count]
    if evidence.head.class_weights or len(counts) < 2 or max(counts) < IMBALANCED * min(counts):
        return
    rare, common = evidence.counts.index(min(counts)), evidence.counts.index(max(counts))
    recalls = "".join(
        f"; {evidence.classes[index]}: recall "
        f"{float((evidence.probabilities.argmax(axis=1)[photos] == index).mean()):.2f} on validation"
        for index in (rare, common)
        if len(evidence.truth) and (photos := evidence.truth == index).any()
    )
    yield Finding(
        "imbalance-ignored",
        "warning",
        "Class imbalance is ignored",
        f"{evidence.counts[common]} training photos of {evidence.classes[common]}, {evidence.counts[rare]} of "
        f"{evidence.classes[rare]}{recalls}",
        (_class_weights(),),
    )


def saturated_softmax(evidence: DiagnosisInput) -> Iterator[Finding]:
    """Reports predictions with a probability of at least `SATURATED` that are wrong more often than it implies."""
    if not len(evidence.truth):
        return
    top = evidence.probabilities.max(axis=1).astype(np.float64)
    saturated = top >= SATURATED
    wrong = int((evidence.probabilities.argmax(axis=1) != evidence.truth)[saturated].sum())
    # The count of many rare events is Poisson distributed; float32 probabilities may slightly exceed 1.
    expected = float(np.clip(1 - top[saturated], 0, 1).sum())
    if not wrong or poisson.sf(wrong - 1, max(expected, 1e-9)) >= SIGNIFICANCE or wrong < 3:
        return
    tuned = len(evidence.phases) > 1
    smoothing = Suggestion("smooth the labels", ((f"{'finetune' if tuned else 'head'}.label_smoothing", 0.1),))
    less = Suggestion("train less", (("head.epochs", _half(evidence)),))
    yield Finding(
        "saturated-softmax",
        "warning",
        "The softmax is saturated",
        f"{int(saturated.sum())} of {len(top)} validation predictions have a probability of {SATURATED} or more; "
        f"{wrong} of them are wrong, {expected:.2g} are expected",
        (smoothing,) if tuned else (smoothing, less),
    )


def temperature_at_limit(evidence: DiagnosisInput) -> Iterator[Finding]:
    """Reports probabilities that temperature scaling cannot calibrate, because the fit ends at a limit of its range.

    No temperature is applied in this case.
    """
    if not len(evidence.truth) or len(evidence.classes) < 2:
        return
    fitted = temperature(evidence.probabilities, evidence.truth)
    if not at_limit(fitted):
        return
    high = fitted > 1
    yield Finding(
        "temperature-at-limit",
        "warning",
        "No temperature calibrates the probabilities",
        f"the best temperature is {fitted:.3f}, an end of the range {LIMITS[0]:g} to {LIMITS[1]:g}; none was applied: "
        + (
            "the probabilities do not indicate which predictions are correct"
            if high
            else "the predictions are correct far more often than their probabilities suggest"
        ),
        (check_labels(evidence),)
        if high
        else (Suggestion("use only the order of the probabilities, not their values"),),
    )


def _class_weights() -> Suggestion:
    return Suggestion("weight rare classes more", (("head.class_weights", True),))


def _accuracy(evidence: DiagnosisInput) -> float:
    return float((evidence.probabilities.argmax(axis=1) == evidence.truth).mean())


def _half(evidence: DiagnosisInput) -> int:
    return max(1, math.ceil(evidence.head.epochs / 2))
