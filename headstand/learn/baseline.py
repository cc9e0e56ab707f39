"""Ridge regression on the features, in closed form: the baseline that every trained head is compared with."""

import time
from dataclasses import dataclass, field

import numpy as np
import scipy.linalg
from threadpoolctl import threadpool_limits

from headstand.errors import HeadstandError
from headstand.learn.head import Split
from headstand.stats import wilson

STRENGTHS = np.logspace(-4, 3, 29)
"""Regularisation strengths, as a share of the number of photos: from almost none to far too much."""

MOST = 4096
"""Rows that a decomposition has at most: its time grows with the third power, and this many take half a minute."""

_CHUNK = 2048
"""Rows or features at a time."""


class BaselineError(HeadstandError):
    """Features that are not finite."""


@dataclass(frozen=True)
class Baseline:
    """Ridge regression onto the classes: accuracy on validation with its 95 % interval (Wilson's).

    `strength` is the regularisation that did best there, as a share of the number of photos; `photos` is how many
    training photos were used; `edge`, whether the strength is the first or last that was tried; `correct`, `bool [N]`,
    which validation photos it classified correctly.
    """

    val_accuracy: float
    interval: tuple[float, float]
    strength: float
    photos: int
    edge: bool
    seconds: float
    correct: np.ndarray | None = field(default=None, compare=False, repr=False)


def ridge(train: Split, validation: Split, classes: int, seed: int = 0) -> Baseline:
    """Fit ridge regression (Hoerl & Kennard 1970) onto one-hot classes for all `STRENGTHS` at once.

    The features are standardised. One eigendecomposition, of the smaller of X'X and XX', serves every strength.

    Args:
        train: training features and labels, without views. More than `MOST` rows of more than `MOST` features are
            sampled.
        validation: chooses the strength: by accuracy, the greater one among equals.
        classes: number of classes.
        seed: of the sample.

    Raises:
        BaselineError: features are not finite.
    """
    start = time.perf_counter()
    rows, labels = train.features, train.labels
    if min(rows.shape) > MOST:
        chosen = np.sort(np.random.default_rng(seed).choice(len(rows), MOST, replace=False))
        rows, labels = rows[chosen], labels[chosen]
    mean, scale = _standard(rows)
    if not (np.isfinite(mean).all() and np.isfinite(scale).all() and np.isfinite(validation.features).all()):
        raise BaselineError("the backbone gives features that are no numbers: its weights are damaged, or not its own")
    targets = np.eye(classes)[labels]
    intercept = targets.mean(axis=0)
    decomposed = _wide if rows.shape[1] > len(rows) else _tall
    right: list[np.ndarray] = []
    # On one thread: where other work keeps the cores busy, several that wait for each other take thirty times as long.
    with threadpool_limits(1, "blas"):
        values, left, moment = decomposed(rows, validation.features, mean, scale, targets - intercept)
        for strength in STRENGTHS:
            answers = (left / (np.maximum(values, 0) + strength * len(rows))) @ moment + intercept
            right.append(answers.argmax(axis=1) == validation.labels)
    counts = [int(correct.sum()) for correct in right]
    best = len(counts) - 1 - counts[::-1].index(max(counts))
    count = len(validation.labels)
    return Baseline(
        val_accuracy=counts[best] / count,
        interval=wilson(counts[best], count),
        strength=float(STRENGTHS[best]),
        photos=len(rows),
        edge=best in (0, len(right) - 1),
        seconds=round(time.perf_counter() - start, 3),
        correct=right[best],
    )


def _standard(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and inverse deviation of each feature, `float64 [D]`; 0 where it never changes and so says nothing."""
    mean = rows.mean(axis=0, dtype=np.float64)
    total = np.zeros(rows.shape[1])
    for start in range(0, len(rows), _CHUNK):
        total += ((rows[start : start + _CHUNK] - mean) ** 2).sum(axis=0)
    deviation = np.sqrt(total / len(rows))
    return mean, np.where(deviation > 1e-6, 1 / np.maximum(deviation, 1e-6), 0.0)


Decomposed = tuple[np.ndarray, np.ndarray, np.ndarray]


# Chunk by chunk: a float64 copy of all features would be twice as large as they are.
def _tall(rows: np.ndarray, other: np.ndarray, mean: np.ndarray, scale: np.ndarray, targets: np.ndarray) -> Decomposed:
    """Where there are more rows than features, X'X = V S V': S, what `other` is in V, and what X'Y is."""
    gram, moment = np.zeros((rows.shape[1],) * 2), np.zeros((rows.shape[1], targets.shape[1]))
    for start in range(0, len(rows), _CHUNK):
        chunk = (rows[start : start + _CHUNK] - mean) * scale
        gram += chunk.T @ chunk
        moment += chunk.T @ targets[start : start + _CHUNK]
    values, vectors = scipy.linalg.eigh(gram, driver="evd")
    return values, ((other - mean) * scale) @ vectors, vectors.T @ moment


def _wide(rows: np.ndarray, other: np.ndarray, mean: np.ndarray, scale: np.ndarray, targets: np.ndarray) -> Decomposed:
    """Where there are more features than rows, XX' = U S U': S, what `other` is in U, and what Y is."""
    gram, across = np.zeros((len(rows),) * 2), np.zeros((len(other), len(rows)))
    for start in range(0, rows.shape[1], _CHUNK):
        part = slice(start, start + _CHUNK)
        chunk = (rows[:, part] - mean[part]) * scale[part]
        gram += chunk @ chunk.T
        across += ((other[:, part] - mean[part]) * scale[part]) @ chunk.T
    values, vectors = scipy.linalg.eigh(gram, driver="evd")
    return values, across @ vectors, vectors.T @ targets
