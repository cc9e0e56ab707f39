"""How good a classifier is, and how sure one can be of that."""

import math
from dataclasses import dataclass

import numpy as np
from sklearn.metrics import confusion_matrix, log_loss, precision_recall_fscore_support


@dataclass(frozen=True)
class Evaluation:
    """Figures of one split.

    `accuracy` with `interval`, its 95 % Wilson interval; `macro_f1`; `loss`, the mean negative log-likelihood in nats;
    `confusion[true][predicted]` in counts; `per_class`: precision, recall, f1 and count of each label.
    """

    count: int
    accuracy: float
    interval: tuple[float, float]
    macro_f1: float
    loss: float
    confusion: list[list[int]]
    per_class: dict[str, dict[str, float]]


def evaluate(probabilities: np.ndarray, labels: np.ndarray, classes: tuple[str, ...]) -> Evaluation:
    """Score probabilities `float [N, classes]` against class indices `int [N]`."""
    indices = np.arange(len(classes))
    predicted = probabilities.argmax(axis=1)
    precision, recall, f1, count = precision_recall_fscore_support(labels, predicted, labels=indices, zero_division=0)
    right = int((predicted == labels).sum())
    # float32 rows sum to 1 within 1e-6 only, and log_loss insists on more.
    sure = probabilities.astype(np.float64)
    sure /= sure.sum(axis=1, keepdims=True)
    return Evaluation(
        count=len(labels),
        accuracy=right / len(labels),
        interval=wilson(right, len(labels)),
        macro_f1=float(f1.mean()),
        loss=float(log_loss(labels, sure, labels=indices)),
        confusion=confusion_matrix(labels, predicted, labels=indices).tolist(),
        per_class={
            name: {"precision": float(p), "recall": float(r), "f1": float(f), "count": int(c)}
            for name, p, r, f, c in zip(classes, precision, recall, f1, count, strict=True)
        },
    )


def wilson(right: int, count: int) -> tuple[float, float]:
    """95 % interval of a share by Wilson's score (Wilson 1927): honest for small counts and shares near 1.

    Args:
        right: successes.
        count: trials, at least 1.
    """
    z = 1.959963984540054  # the 97.5 % point of the normal distribution
    share = right / count
    middle = share + z * z / (2 * count)
    spread = z * math.sqrt(share * (1 - share) / count + z * z / (4 * count * count))
    scale = 1 + z * z / count
    return max(0.0, (middle - spread) / scale), min(1.0, (middle + spread) / scale)
