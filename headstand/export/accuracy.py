"""Warnings about a misused model: labels in a different order, or pixels scaled differently than in training."""

from collections.abc import Mapping, Sequence

import numpy as np
from scipy.optimize import linear_sum_assignment
from scipy.special import gammaln
from scipy.stats import binom, binomtest

LEVEL = 0.01
"""Significance level of the tests: a warning needs a smaller p-value."""

GAIN = 0.1
"""Smallest gain in accuracy that another label order or another preprocessing must bring for a warning."""

SHOWN = 8
"""Largest number of label pairs listed in a message."""

CAUSES = (
    "likely causes are the order of the labels, a wrong --preprocess, a Rescaling layer at the start of a model that "
    "receives scaled pixels (--preprocess none), or photos of another kind than the training photos"
)


def warnings(
    predicted: np.ndarray, truth: np.ndarray, labels: Sequence[str], others: Mapping[str, np.ndarray] | None = None
) -> list[str]:
    """Returns warnings, with likely causes, if the accuracy is near chance or far below what the labels allow.

    Args:
        predicted: predicted probabilities, `float [N, classes]`.
        truth: class indices of the photos, `int [N]`.
        labels: class names in output order.
        others: predictions for the same photos under other values of `--preprocess`, by that value; None for a model
            that contains its preprocessing.
    """
    correct = predicted.argmax(axis=1) == truth
    chance = max(1 / len(labels), np.bincount(truth).max() / len(truth))
    better = [*_preprocessing(correct, truth, others or {}), *_order(predicted, truth, labels, chance)]
    if better:
        return [max(better)[1]]
    if binomtest(int(correct.sum()), len(truth), chance, alternative="greater").pvalue > LEVEL:
        return [
            f"an accuracy of {correct.mean():.3f} on {len(truth)} photos is near chance ({chance:.3f}); "
            + (CAUSES if others is not None else "the model does not classify these photos")
        ]
    return []


def _preprocessing(correct: np.ndarray, truth: np.ndarray, others: Mapping[str, np.ndarray]) -> list[tuple[float, str]]:
    """Returns accuracy and message if another preprocessing is better, by a sign test over the photos that differ."""
    better = {name: predicted.argmax(axis=1) == truth for name, predicted in others.items()}
    name = max(better, key=lambda one: float(better[one].mean()), default=None)
    if name is None:
        return []
    gained, lost = int((better[name] & ~correct).sum()), int((correct & ~better[name]).sum())
    gain = better[name].mean() - correct.mean()
    if gain < GAIN or binomtest(gained, gained + lost, alternative="greater").pvalue > LEVEL:
        return []
    reason = (
        "the model seems to scale its pixels itself, for example in a Rescaling layer at its start"
        if name == "none"
        else "the model seems to have been trained on pixels with another scaling"
    )
    text = (
        f"the accuracy is {correct.mean():.3f}, and {better[name].mean():.3f} with --preprocess {name}: {reason}; "
        f"convert it with --preprocess {name}"
    )
    return [(float(better[name].mean()), text)]


def _order(predicted: np.ndarray, truth: np.ndarray, labels: Sequence[str], chance: float) -> list[tuple[float, str]]:
    """Returns accuracy and message if some permutation of the labels is significantly better.

    The best permutation is found by linear assignment. The Bonferroni correction covers all `classes!` permutations.
    """
    counts = np.zeros((len(labels), len(labels)), int)
    np.add.at(counts, (truth, predicted.argmax(axis=1)), 1)
    true, given = linear_sum_assignment(counts, maximize=True)
    correct, best = int(np.trace(counts)), int(counts[true, given].sum())
    unlikely = binom.logsf(best - 1, len(truth), chance) + gammaln(len(labels) + 1) < np.log(LEVEL)
    if (best - correct) / len(truth) < GAIN or not unlikely:
        return []
    swapped = [(labels[b], labels[a]) for a, b in sorted(zip(true, given, strict=True)) if a != b and counts[a, b]]
    pairs = ", ".join(f"{label!r} for {photo!r}" for label, photo in swapped[:SHOWN])
    more = f" and {len(swapped) - SHOWN} more" if len(swapped) > SHOWN else ""
    text = (
        f"the accuracy is {correct / len(truth):.3f}, and {best / len(truth):.3f} if the labels were in another order: "
        f"it predicts {pairs}{more}; check the order of the labels against that of training (Keras sorts them)"
    )
    return [(best / len(truth), text)]
