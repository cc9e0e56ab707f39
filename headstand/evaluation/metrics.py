"""Metrics of a classifier on one split."""

from dataclasses import dataclass

import numpy as np
from sklearn.metrics import confusion_matrix, precision_recall_fscore_support

from headstand.evaluation.calibration import Reliability, reliability
from headstand.stats import Interval, bootstrap, wilson

TOP = 5
"""k of the top-k accuracy; with fewer than ten classes k is 2."""


def metric_names(k: int) -> dict[str, str]:
    """Returns the display name of each metric of `SplitMetrics` that has an interval, in display order."""
    return {
        "accuracy": "accuracy", "balanced_accuracy": "balanced accuracy", "top_k": f"top-{k} accuracy",
        "macro_f1": "macro F1", "macro_precision": "macro precision", "macro_recall": "macro recall",
        "weighted_f1": "weighted F1", "weighted_precision": "weighted precision",
        "weighted_recall": "weighted recall", "loss": "log loss (nats)",
    }  # fmt: skip


@dataclass(frozen=True)
class SplitMetrics:
    """Metrics of a classifier on one split, with 95 % intervals.

    Precision, recall and F1 are averaged over the classes that have photos, unweighted (`macro_`) or weighted by the
    number of photos (`weighted_`).

    Attributes:
        count: number of photos.
        accuracy: share of correct predictions.
        interval: Wilson interval of the accuracy.
        balanced_accuracy: mean recall of the classes that have photos.
        k: k of the top-k accuracy.
        top_k: share of photos whose class is among the `k` most probable ones.
        loss: mean negative log-likelihood in nats.
        intervals: interval of each of these metrics by name.
        confusion: number of photos as `confusion[true][predicted]`.
        per_class: precision, recall, f1 and count of each label, and `low` and `high`, the Wilson interval of its
            recall.
        reliability: calibration metrics.
    """

    count: int
    accuracy: float
    interval: Interval
    balanced_accuracy: float
    k: int
    top_k: float
    macro_precision: float
    macro_recall: float
    macro_f1: float
    weighted_precision: float
    weighted_recall: float
    weighted_f1: float
    loss: float
    intervals: dict[str, Interval]
    confusion: list[list[int]]
    per_class: dict[str, dict[str, float]]
    reliability: Reliability


def evaluate(probabilities: np.ndarray, labels: np.ndarray, classes: tuple[str, ...], seed: int = 0) -> SplitMetrics:
    """Returns the metrics of predicted probabilities.

    Args:
        probabilities: `float [N, classes]`.
        labels: class indices, `int [N]`.
        classes: class names in output order.
        seed: seed of the bootstrap and of the calibration simulation.
    """
    predicted = probabilities.argmax(axis=1)
    right = predicted == labels
    k = TOP if len(classes) >= 2 * TOP else 2
    label_probabilities = probabilities[np.arange(len(labels)), labels]
    # Ties count as wrong: equal probabilities for all classes carry no information.
    in_top_k = (probabilities >= label_probabilities[:, None]).sum(axis=1) <= k
    # Rows of float32 sum to 1 only within 1e-6.
    losses = -np.log(np.maximum(label_probabilities / probabilities.sum(axis=1), np.finfo(np.float32).tiny))
    true_positives, predictions, present = (
        np.eye(len(classes))[labels] * right[:, None],
        np.eye(len(classes))[predicted],
        np.eye(len(classes))[labels],
    )

    def metrics(weights: np.ndarray) -> np.ndarray:
        return _averages(weights @ true_positives, weights @ predictions, weights @ present, weights @ losses)

    ones = np.ones((1, len(labels)))
    values = dict(zip(_NAMES, metrics(ones)[0].tolist(), strict=True))
    ranges = dict(zip(_NAMES, map(tuple, bootstrap(len(labels), metrics, seed).tolist()), strict=True))
    interval = wilson(int(right.sum()), len(labels))
    return SplitMetrics(
        count=len(labels),
        accuracy=float(right.mean()),
        interval=interval,
        k=k,
        top_k=float(in_top_k.mean()),
        **values,
        intervals={"accuracy": interval, "top_k": wilson(int(in_top_k.sum()), len(labels)), **ranges},
        confusion=confusion_matrix(labels, predicted, labels=np.arange(len(classes))).tolist(),
        per_class=_per_class(labels, predicted, classes),
        reliability=reliability(probabilities, labels, seed),
    )


_NAMES = (
    "balanced_accuracy", "macro_precision", "macro_recall", "macro_f1",
    "weighted_precision", "weighted_recall", "weighted_f1", "loss",
)  # fmt: skip


def _averages(
    true_positives: np.ndarray, predictions: np.ndarray, present: np.ndarray, losses: np.ndarray
) -> np.ndarray:
    """Returns the metrics of `_NAMES`, `[R, 8]`, for R resamples.

    Args:
        true_positives: correct predictions of each class, `[R, classes]`.
        predictions: predictions of each class, `[R, classes]`.
        present: photos of each class, `[R, classes]`.
        losses: sum of the losses over photos, `[R]`.
    """
    precision = true_positives / np.maximum(predictions, 1)
    recall = true_positives / np.maximum(present, 1)
    f1 = 2 * true_positives / np.maximum(predictions + present, 1)
    # Recall is undefined without photos; wrong predictions of such a class already lower the recall of the others.
    has_photos = present > 0
    macro_precision, macro_recall, macro_f1 = (
        (metric * has_photos).sum(axis=1) / has_photos.sum(axis=1) for metric in (precision, recall, f1)
    )
    count = present.sum(axis=1)
    weighted = [(metric * present).sum(axis=1) / count for metric in (precision, recall, f1)]
    return np.stack([macro_recall, macro_precision, macro_recall, macro_f1, *weighted, losses / count], axis=1)


def _per_class(labels: np.ndarray, predicted: np.ndarray, classes: tuple[str, ...]) -> dict[str, dict[str, float]]:
    columns = precision_recall_fscore_support(labels, predicted, labels=np.arange(len(classes)), zero_division=0.0)
    rows = {}
    for index, name in enumerate(classes):
        precision, recall, f1, count = (column[index] for column in columns)
        low, high = wilson(int((predicted[labels == index] == index).sum()), count) if count else (0.0, 1.0)
        rows[name] = {
            "precision": float(precision),
            "recall": float(recall),
            "f1": float(f1),
            "count": int(count),
            "low": low,
            "high": high,
        }
    return rows
