"""Ridge regression on the features, in closed form; the baseline for every trained head."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import scipy.linalg
from threadpoolctl import threadpool_limits

from headstand.errors import HeadstandError
from headstand.heads import FeatureSplit
from headstand.stats import wilson

STRENGTHS = np.logspace(-4, 3, 29)
"""Regularisation strengths as a share of the number of photos, from almost none to far too strong."""

MOST = 4096
"""Largest size of the decomposed matrix: the time grows with its third power, and is half a minute at this size."""

_CHUNK = 2048
"""Rows or features that are processed at a time."""


class BaselineError(HeadstandError):
    """The features are not finite."""


@dataclass(frozen=True)
class Baseline:
    """Result of the ridge regression: validation accuracy with its 95 % interval (Wilson 1927).

    `strength` is the regularisation with the best validation accuracy, as a share of the number of photos. `photos` is
    the number of training photos used. `edge` is true if the strength is the first or last of `STRENGTHS`. `correct`,
    `bool [N]`, marks the validation photos that were classified correctly.
    """

    val_accuracy: float
    interval: tuple[float, float]
    strength: float
    photos: int
    edge: bool
    seconds: float
    correct: np.ndarray | None = field(default=None, compare=False, repr=False)


def ridge(train: FeatureSplit, validation: FeatureSplit, classes: int, seed: int = 0) -> Baseline:
    """Fits ridge regression (Hoerl & Kennard 1970) to one-hot labels for all `STRENGTHS` and returns the best one.

    The features are standardised. One eigendecomposition, of the smaller of X'X and XX', serves every strength.

    Args:
        train: training features and labels; augmented views are not used. If both the rows and the features exceed
            `MOST`, `MOST` rows are sampled.
        validation: selects the strength by accuracy; among equals the greatest one.
        classes: number of classes.
        seed: seed of the sample.

    Raises:
        BaselineError: features are not finite.
    """
    began = time.perf_counter()
    rows, labels = train.features, train.labels
    if min(rows.shape) > MOST:
        chosen = np.sort(np.random.default_rng(seed).choice(len(rows), MOST, replace=False))
        rows, labels = rows[chosen], labels[chosen]
    mean, scale = _standard(rows)
    finite = np.isfinite(mean).all() and np.isfinite(scale).all()
    for start in range(0, len(validation.features), _CHUNK):
        finite = finite and np.isfinite(validation.features[start : start + _CHUNK]).all()
    if not finite:
        raise BaselineError(
            "the backbone's features are not finite: its weights are damaged or belong to another network"
        )
    targets = np.eye(classes)[labels]
    intercept = targets.mean(axis=0)
    decomposed = _wide if rows.shape[1] > len(rows) else _tall
    count = len(validation.labels)
    right = np.empty((len(STRENGTHS), count), bool)
    # One thread: when other processes keep the cores busy, BLAS threads that wait for each other are 30 times slower.
    with threadpool_limits(1, "blas"):
        values, project, moment = decomposed(rows, mean, scale, targets - intercept)
        for start in range(0, count, _CHUNK):
            part = slice(start, start + _CHUNK)
            left = project(validation.features[part])
            for index, strength in enumerate(STRENGTHS):
                scores = (left / (np.maximum(values, 0) + strength * len(rows))) @ moment + intercept
                right[index, part] = scores.argmax(axis=1) == validation.labels[part]
    counts = right.sum(axis=1).tolist()
    best = len(counts) - 1 - counts[::-1].index(max(counts))
    return Baseline(
        val_accuracy=counts[best] / count,
        interval=wilson(counts[best], count),
        strength=float(STRENGTHS[best]),
        photos=len(rows),
        edge=best in (0, len(right) - 1),
        seconds=round(time.perf_counter() - began, 3),
        correct=right[best],
    )


def _standard(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns mean and inverse standard deviation of each feature, `float64 [D]`; the latter is 0 for a constant."""
    mean = rows.mean(axis=0, dtype=np.float64)
    total = np.zeros(rows.shape[1])
    for start in range(0, len(rows), _CHUNK):
        total += ((rows[start : start + _CHUNK] - mean) ** 2).sum(axis=0)
    deviation = np.sqrt(total / len(rows))
    return mean, np.where(deviation > 1e-6, 1 / np.maximum(deviation, 1e-6), 0.0)


Decomposed = tuple[np.ndarray, Callable[[np.ndarray], np.ndarray], np.ndarray]
"""Eigenvalues, the function that projects other rows onto the eigenvectors, and the targets in that basis."""


# In chunks, since a float64 copy of all features would be twice as large as the features.
def _tall(rows: np.ndarray, mean: np.ndarray, scale: np.ndarray, targets: np.ndarray) -> Decomposed:
    """Returns S, the projection onto V, and V'X'Y for X'X = V S V'; for no more features than rows."""
    gram, moment = np.zeros((rows.shape[1],) * 2), np.zeros((rows.shape[1], targets.shape[1]))
    for start in range(0, len(rows), _CHUNK):
        chunk = (rows[start : start + _CHUNK] - mean) * scale
        gram += chunk.T @ chunk
        moment += chunk.T @ targets[start : start + _CHUNK]
    values, vectors = scipy.linalg.eigh(gram, driver="evd")
    return values, lambda other: ((other - mean) * scale) @ vectors, vectors.T @ moment


def _wide(rows: np.ndarray, mean: np.ndarray, scale: np.ndarray, targets: np.ndarray) -> Decomposed:
    """Returns S, the projection onto U, and U'Y for XX' = U S U'; for more features than rows."""
    parts = [slice(start, start + _CHUNK) for start in range(0, rows.shape[1], _CHUNK)]

    def standardised(some: np.ndarray, part: slice) -> np.ndarray:
        chunk: np.ndarray = (some[:, part] - mean[part]) * scale[part]
        return chunk

    def products(some: np.ndarray) -> np.ndarray:
        return sum((standardised(some, part) @ standardised(rows, part).T for part in parts), np.zeros(1))

    values, vectors = scipy.linalg.eigh(products(rows), driver="evd")
    return values, lambda other: products(other) @ vectors, vectors.T @ targets
