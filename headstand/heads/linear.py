"""Logistic regression on the features: the linear head, which every searched head is compared with.

Minimises the mean cross-entropy plus the L2 penalty `strength / 2 * |W|^2` (the biases are free) of standardised
features for a path of strengths from the greatest to the smallest, each started from the result before it.

L-BFGS works on the principal components, each divided by the square root of its variance plus the penalty: the
curvature is then about the same in every direction, and about eight gradients are enough for a strength, a quarter of
what it needs on the features themselves.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.optimize import minimize
from threadpoolctl import threadpool_limits

from headstand import threads
from headstand.heads.components import Components

STRENGTHS = tuple(np.logspace(-0.5, -4, 8).tolist())
"""L2 penalties from far too strong to weak: the best ones on photos were 0.0001 to 0.1.

Weaker ones seem as good in the folds, because these share the principal components of all rows, but are worse on other
photos (docs/benchmarks.md).
"""

DEFAULT = 0.01
"""L2 penalty if the recipe sets none and none is selected."""

_TOLERANCE = 3e-4
"""Decrease of the loss in one iteration at which a strength counts as solved; a tenth of it measured no better."""


@dataclass(frozen=True)
class Solution:
    """Kernel `float32 [R, classes]` and bias `float32 [classes]`, for principal components or the features."""

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


def solve(components: Components, labels: np.ndarray, weights: np.ndarray, strength: float) -> Solution:
    """Returns the logistic regression for an L2 penalty.

    Args:
        components: of N rows.
        labels: class indices, `int [N]`.
        weights: weight of each class, `float32 [classes]`.
        strength: the L2 penalty.
    """
    with threadpool_limits(1, "blas"):  # threads that wait for each other on busy cores are 30 times slower
        *_, solution = _path(components, slice(None), labels, weights, strengths(strength))
    return solution


def cross_validate(
    components: Components,
    labels: np.ndarray,
    weights: np.ndarray,
    strengths: Sequence[float],
    folds: Sequence[tuple[np.ndarray, np.ndarray]],
    repeats: int = 1,
) -> Iterator[np.ndarray]:
    """Yields the probabilities of held-out rows for each strength, `float32 [N, classes]`; 0 for rows never held out.

    All folds share the mean, the deviation and the principal components of all rows, which use no labels.

    Args:
        components: of `repeats` x N rows: N rows, then their views.
        labels: class indices, `int [N]`.
        weights: weight of each class, `float32 [classes]`.
        strengths: L2 penalties, descending.
        folds: training and held-out rows of each fold, indices below N.
        repeats: 1 + number of views of each row, which are trained on and never held out.
    """
    count, all_labels = len(labels), np.tile(labels, repeats)
    views = count * np.arange(repeats)[:, None]
    paths = [_path(components, (rows + views).ravel(), all_labels, weights, strengths) for rows, _ in folds]
    for _ in strengths:
        with threadpool_limits(1, "blas"):
            solutions = list(threads.parallel(next, paths))
        result = np.zeros((count, len(weights)), np.float32)
        for (_, rows), solution in zip(folds, solutions, strict=True):
            result[rows] = solution.probabilities(components.rows[rows])
        yield result


def log_losses(probabilities: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Returns the log loss of each row of `[N, classes]`, `float64 [N]`; infinite where a probability is NaN."""
    right = probabilities[np.arange(len(labels)), labels].astype(np.float64)
    return np.where(np.isnan(right), np.inf, -np.log(np.maximum(right, np.finfo(np.float32).tiny)))


def _path(
    components: Components,
    chosen: np.ndarray | slice,
    labels: np.ndarray,
    weights: np.ndarray,
    path: Sequence[float],
) -> Iterator[Solution]:
    """Yields the solution for each strength, for the chosen rows of `components` and labels `int [N]`."""
    rows, labels = components.rows[chosen], labels[chosen]
    (count, width), classes = rows.shape, len(weights)
    positions, counts = np.arange(count), np.bincount(labels, minlength=classes)
    shares = (weights[labels] / weights[labels].mean() / count).astype(np.float32)
    kernel = np.zeros((width, classes), np.float32)
    # A class without rows is half as frequent as one row.
    bias = np.log(np.maximum(counts, 0.5) / count).astype(np.float32)

    for penalty in path:
        strength = penalty * components.factor**2  # of a kernel for the standardised features
        # The curvature of the mean cross-entropy is about the variance divided by the number of classes.
        scale = (1 / np.sqrt(components.variances / classes + strength)).astype(np.float32)[:, None]

        def unpack(values: np.ndarray, scale: np.ndarray = scale) -> tuple[np.ndarray, np.ndarray]:
            values = values.astype(np.float32)
            return values[:-classes].reshape(width, classes) * scale, values[-classes:]

        def objective(
            values: np.ndarray, strength: float = strength, scale: np.ndarray = scale
        ) -> tuple[float, np.ndarray]:
            kernel, bias = unpack(values, scale)
            logits = rows @ kernel + bias
            logits -= logits.max(axis=1, keepdims=True)
            right = logits[positions, labels]
            exponentials = np.exp(logits, out=logits)
            sums = exponentials.sum(axis=1, keepdims=True)
            loss = shares @ (np.log(sums[:, 0]) - right) + strength / 2 * np.vdot(kernel, kernel)
            errors = exponentials * (shares[:, None] / sums)
            errors[positions, labels] -= shares
            gradient = (rows.T @ errors + strength * kernel) * scale
            return float(loss), np.concatenate([gradient.ravel(), errors.sum(axis=0)]).astype(np.float64)

        start = np.concatenate([(kernel / scale).ravel(), bias])
        found = minimize(objective, start, jac=True, method="L-BFGS-B", options={"ftol": _TOLERANCE, "gtol": 0})
        kernel, bias = unpack(found.x)
        yield Solution(kernel, bias)
