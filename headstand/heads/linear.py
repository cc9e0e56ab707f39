"""Logistic regression on the features: the linear head, which every searched head is compared with.

Minimises the mean cross-entropy plus the L2 penalty `strength / 2 * |W|^2` (the biases are free) with scikit-learn's
L-BFGS, on standardised features, for a path of strengths from the greatest to the smallest, each started from the
result before it.
"""

import tempfile
import warnings
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from threadpoolctl import threadpool_limits

from headstand import cores
from headstand.errors import HeadstandError

STRENGTHS = tuple(np.logspace(-0.5, -4, 8).tolist())
"""L2 penalties from far too strong to almost none: the best ones on photos were 0.003 to 0.03."""

DEFAULT = 0.01
"""L2 penalty if the recipe sets none and none is selected."""

_TOLERANCE, _EXACT = 1e-3, 1e-5
"""Largest element of the gradient at which a penalty on the path, and the result, count as solved."""

_CHUNK = 2048
"""Rows that are standardised at a time."""

_IN_MEMORY = 256 * 2**20
"""Bytes of standardised rows above which they are written to an unnamed temporary file."""


class FeatureValueError(HeadstandError):
    """The features are not finite."""


@dataclass(frozen=True)
class Solution:
    """Kernel `float32 [D, classes]` and bias `float32 [classes]`."""

    kernel: np.ndarray
    bias: np.ndarray

    def probabilities(self, rows: np.ndarray) -> np.ndarray:
        """Returns the probabilities of rows, `float32 [N, classes]`."""
        logits = rows @ self.kernel + self.bias
        exponentials = np.exp(logits - logits.max(axis=1, keepdims=True))
        normalised: np.ndarray = exponentials / exponentials.sum(axis=1, keepdims=True)
        return normalised


def strengths(last: float) -> tuple[float, ...]:
    """Returns the path of strengths that leads to `last`."""
    return (*(strength for strength in STRENGTHS if strength > last), last)


def solve(features: np.ndarray, labels: np.ndarray, weights: np.ndarray, strength: float) -> Solution:
    """Returns the logistic regression for an L2 penalty, for features as they are, not standardised.

    Args:
        features: `float32 [N, D]`.
        labels: class indices, `int [N]`.
        weights: weight of each class, `float32 [classes]`.
        strength: the L2 penalty.

    Raises:
        FeatureValueError: features are not finite.
    """
    mean, scale = standardisation(features)
    with _quiet_single_thread():
        *_, solution = _path(_standardised(features, mean, scale), labels, weights, strengths(strength), _EXACT)
    kernel = solution.kernel * scale[:, None]
    return Solution(kernel.astype(np.float32), (solution.bias - mean @ kernel).astype(np.float32))


def cross_validate(
    features: np.ndarray,
    labels: np.ndarray,
    weights: np.ndarray,
    strengths: Sequence[float],
    folds: Sequence[tuple[np.ndarray, np.ndarray]],
    repeats: int = 1,
) -> list[np.ndarray]:
    """Returns the probabilities of held-out rows by strength, arrays `float32 [N, classes]`.

    Ends after two strengths in a row whose log loss is higher than the lowest one. All folds share the mean and the
    deviation of the features of all rows, which use no labels.

    Args:
        features: `float32 [repeats x N, D]`: N rows, then their views.
        labels: class indices, `int [N]`.
        weights: weight of each class, `float32 [classes]`.
        strengths: L2 penalties, descending.
        folds: training and held-out rows of each fold, indices below N.
        repeats: 1 + number of views of each row, which are trained on and never held out.

    Raises:
        FeatureValueError: features are not finite.
    """
    count, results, losses = len(labels), list[np.ndarray](), list[float]()
    held_out = np.concatenate([rows for _, rows in folds])
    table, all_labels = _standardised(features, *standardisation(features)), np.tile(labels, repeats)

    def start(rows: np.ndarray) -> Iterator[Solution]:
        training = (rows + count * np.arange(repeats)[:, None]).ravel()
        return _path(table[training], all_labels[training], weights, strengths)

    paths = [start(training) for training, _ in folds]
    with _quiet_single_thread(), ThreadPoolExecutor(cores.available()) as pool:
        while len(results) < len(strengths) and len(losses) - int(np.argmin([*losses, np.inf])) <= 2:
            result = np.zeros((count, len(weights)), np.float32)
            for (_, rows), solution in zip(folds, pool.map(next, paths), strict=True):
                result[rows] = solution.probabilities(table[rows])
            results.append(result)
            losses.append(float(log_losses(result[held_out], labels[held_out]).mean()))
    return results


def log_losses(probabilities: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Returns the log loss of each row of `[N, classes]`, `float64 [N]`; infinite where a probability is NaN."""
    right = probabilities[np.arange(len(labels)), labels].astype(np.float64)
    return np.where(np.isnan(right), np.inf, -np.log(np.maximum(right, np.finfo(np.float32).tiny)))


def standardisation(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns mean and inverse standard deviation of each feature, `float64 [D]`; the latter is 0 for a constant.

    Raises:
        FeatureValueError: features are not finite.
    """
    with np.errstate(invalid="ignore"):  # infinite features, reported below
        mean = rows.mean(axis=0, dtype=np.float64)
        total = np.zeros(rows.shape[1])
        for start in range(0, len(rows), _CHUNK):
            total += ((rows[start : start + _CHUNK] - mean) ** 2).sum(axis=0)
    deviation = np.sqrt(total / len(rows))
    if not (np.isfinite(mean).all() and np.isfinite(deviation).all()):
        raise FeatureValueError(
            "the backbone's features are not finite: its weights are damaged or belong to another network"
        )
    return mean, np.where(deviation > 1e-6, 1 / np.maximum(deviation, 1e-6), 0.0)


def _path(
    rows: np.ndarray, labels: np.ndarray, weights: np.ndarray, path: Sequence[float], tolerance: float = _TOLERANCE
) -> Iterator[Solution]:
    """Yields the solution for each strength, for standardised rows; `tolerance` is that of the last one."""
    present, targets = np.unique(labels, return_inverse=True)
    shares = weights[labels] / weights[labels].mean()
    model = LogisticRegression(max_iter=1000, warm_start=True)
    for strength in path:
        # A class without rows is half as frequent as one row.
        kernel = np.zeros((rows.shape[1], len(weights)), np.float32)
        bias = np.full(len(weights), np.log(0.5 / len(rows)), np.float32)
        if len(present) == 1:
            bias[present] = 0.0
        else:
            model.set_params(C=1 / (strength * len(rows)), tol=tolerance if strength == path[-1] else _TOLERANCE)
            model.fit(rows, targets, shares)
            coefficients, intercept = model.coef_, model.intercept_
            if len(present) == 2:  # scikit-learn has one logit for two classes
                coefficients = np.concatenate([-coefficients, coefficients]) / 2
                intercept = np.concatenate([-intercept, intercept]) / 2
            kernel[:, present], bias[present] = coefficients.T, intercept
        yield Solution(kernel, bias)


def _standardised(rows: np.ndarray, mean: np.ndarray, scale: np.ndarray) -> np.ndarray:
    """Returns the standardised rows, `float32 [N, D]`; in an unnamed temporary file if they are large."""
    if rows.nbytes <= _IN_MEMORY:
        table: np.ndarray = np.empty(rows.shape, np.float32)
    else:
        with tempfile.TemporaryFile() as file:
            table = np.memmap(file, np.float32, "w+", shape=rows.shape)
    for start in range(0, len(rows), _CHUNK):
        table[start : start + _CHUNK] = (rows[start : start + _CHUNK] - mean) * scale
    return table


@contextmanager
def _quiet_single_thread() -> Iterator[None]:
    """One BLAS thread, since threads that wait for each other on busy cores are 30 times slower; no warnings.

    L-BFGS warns if it stops at its largest number of iterations, which is close enough to the solution.
    """
    with threadpool_limits(1, "blas"), warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        yield
