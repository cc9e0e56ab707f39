"""Rules on what the model answers for the validation photos."""

import math
from collections.abc import Iterator

import numpy as np
from scipy.stats import poisson

from headstand.learn.diagnose import curves
from headstand.learn.diagnose.evidence import Evidence
from headstand.learn.diagnose.finding import Finding

SURE = 0.999
"""A probability that says: at most one of a thousand such answers is wrong."""

CHANCE = 0.001
"""How unlikely it must be that so many sure answers are wrong if the probabilities were right."""

NAMED = 5
"""Photos of a class that must be there before its absence from the answers says something: a class that is answered as
often as it occurs is missing among the answers for n photos with probability e^-n, 0.7 % here."""

UNEVEN = 4.0
"""Commonest against rarest class. From there on the rare ones weigh little in the sum of the losses."""

LEARNT = 0.8
"""Accuracy on training photos of a model that knows them."""

LISTED = 5
"""Classes that are named one by one."""


def no_better_than_majority(evidence: Evidence) -> Iterator[Finding]:
    """A model that does not beat the answer that is always the same, though it may know its training photos."""
    if not len(evidence.truth):
        return
    counts = np.bincount(evidence.truth, minlength=len(evidence.classes))
    accuracy, share = _accuracy(evidence), float(counts.max() / counts.sum())
    if accuracy > share or share == 1:
        return
    figures = f"val_accuracy={accuracy:.4f}; always {evidence.classes[int(counts.argmax())]!r} has {share:.4f}"
    learnt = max([accuracy for phase in evidence.phases[-1:] for accuracy in phase.series("accuracy")], default=0.0)
    if learnt > max(LEARNT, share):
        # More than overfitting, which leaves something that carries over.
        yield Finding(
            "validation-at-chance",
            "error",
            "What was learnt does not hold for any other photo",
            f"accuracy={learnt:.4f} on training photos, {figures}",
            "labels or their order do not match between the splits: prepare the data again, then "
            "`python -m headstand doctor FOLDER --labels`",
        )
        return
    yield Finding(
        "majority-not-beaten",
        "error",
        "No better than always the same answer",
        figures,
        "; ".join(
            [
                *(curves.rate(evidence, phase) for phase in evidence.phases[-1:]),
                "look at photos and labels: `python -m headstand doctor FOLDER --labels`",
            ]
        ),
    )


def never_predicted(evidence: Evidence) -> Iterator[Finding]:
    """Classes that are there and never answered."""
    if not len(evidence.truth):
        return
    counts = np.bincount(evidence.truth, minlength=len(evidence.classes))
    answered = np.bincount(evidence.probabilities.argmax(axis=1), minlength=len(evidence.classes))
    missing = [place for place in np.flatnonzero(counts >= NAMED) if not answered[place]]
    if not missing:
        return
    names = ", ".join(f"{evidence.classes[place]} ({counts[place]} photos)" for place in missing[:LISTED])
    if len(missing) > LISTED:
        names += f" and {len(missing) - LISTED} more"
    yield Finding(
        "class-never-predicted",
        "warning",
        f"{len(missing)} of {len(evidence.classes)} classes are never predicted",
        f"among {len(evidence.truth)} validation photos no answer is {names}",
        "weigh rare classes up: --head.class_weights true"
        if not evidence.head.class_weights
        else "look at their photos and labels: `python -m headstand doctor FOLDER --labels`",
    )


def imbalance_ignored(evidence: Evidence) -> Iterator[Finding]:
    """Classes of very different size that all photos count alike for."""
    counts = [count for count in evidence.counts if count]
    if evidence.head.class_weights or len(counts) < 2 or max(counts) < UNEVEN * min(counts):
        return
    rare, common = evidence.counts.index(min(counts)), evidence.counts.index(max(counts))
    recalls = "".join(
        f"; {evidence.classes[place]}: {float((evidence.probabilities.argmax(axis=1)[mine] == place).mean()):.2f} "
        "of its validation photos right"
        for place in (rare, common)
        if len(evidence.truth) and (mine := evidence.truth == place).any()
    )
    yield Finding(
        "imbalance-ignored",
        "warning",
        "Class imbalance is ignored",
        f"{evidence.counts[common]} training photos of {evidence.classes[common]}, {evidence.counts[rare]} of "
        f"{evidence.classes[rare]}{recalls}",
        "--head.class_weights true",
    )


def saturated(evidence: Evidence) -> Iterator[Finding]:
    """A softmax that is certain, and wrong more often than its certainty allows."""
    if not len(evidence.truth):
        return
    top = evidence.probabilities.max(axis=1).astype(np.float64)
    sure = top >= SURE
    wrong = int((evidence.probabilities.argmax(axis=1) != evidence.truth)[sure].sum())
    # The number of wrong ones among many rare cases is Poisson; float32 sums may pass 1 by a hair.
    expected = float(np.clip(1 - top[sure], 0, 1).sum())
    if not wrong or poisson.sf(wrong - 1, max(expected, 1e-9)) >= CHANCE or wrong < 3:
        return
    smoothing = "--finetune.label_smoothing" if len(evidence.phases) > 1 else "--head.label_smoothing"
    yield Finding(
        "saturated-softmax",
        "warning",
        "The softmax is saturated",
        f"{int(sure.sum())} of {len(top)} validation answers have a probability of {SURE} or more, and {wrong} of "
        f"them are wrong where {expected:.2g} should be",
        f"{smoothing} 0.1" + ("" if len(evidence.phases) > 1 else f", or train less: --head.epochs {_half(evidence)}"),
    )


def _accuracy(evidence: Evidence) -> float:
    return float((evidence.probabilities.argmax(axis=1) == evidence.truth).mean())


def _half(evidence: Evidence) -> int:
    return max(1, math.ceil(evidence.head.epochs / 2))
