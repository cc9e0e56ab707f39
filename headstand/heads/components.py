"""Standardised features in their principal components: as many numbers per photo as photos at most.

The pooled features of several depths are thousands of values wide, and a small dataset has fewer photos than that. All
that training can see of the features are then their components; heads train on these several times faster, and their
first layer is turned into one for the features themselves afterwards.
"""

import functools
import tempfile
from dataclasses import dataclass

import numpy as np
import scipy.linalg
from threadpoolctl import threadpool_limits

from headstand.errors import HeadstandError

_RANK = 1e-7
"""Share of the greatest variance below which a principal component is left out."""

_CHUNK = 256
"""Rows that are standardised at a time; more no longer fit into the processor's cache."""

_IN_MEMORY = 256 * 2**20
"""Bytes of standardised rows above which they are written to an unnamed temporary file."""


class FeatureValueError(HeadstandError):
    """The features are not finite."""


@dataclass(frozen=True)
class Components:
    """Principal components of standardised features, all multiplied by one number.

    Attributes:
        rows: the features in these components, `float32 [N, R]`, R at most N and D.
        mean: mean of each feature, `float64 [D]`.
        transforms: `float32 [D, R]`, or `[D, N]` and `[N, R]` for less than D rows: their product is the matrix by
            which features without the mean are multiplied. It takes as long as all the rest, and is rarely needed.
        variances: variance of each component, `float64 [R]`, ascending.
        factor: what the components are multiplied by, so that their variances are 1 on average, as those of
            standardised features: initial weights and learning rates of networks are made for such inputs.
    """

    rows: np.ndarray
    mean: np.ndarray
    transforms: tuple[np.ndarray, ...]
    variances: np.ndarray
    factor: float

    def project(self, features: np.ndarray) -> np.ndarray:
        """Returns features `float32 [N, D]` in these components, `float32 [N, R]`."""
        table = _table((len(features), self.transforms[-1].shape[1]))
        with threadpool_limits(1, "blas"):
            for start in range(0, len(features), _CHUNK):
                centred = (features[start : start + _CHUNK] - self.mean).astype(np.float32)
                table[start : start + _CHUNK] = functools.reduce(np.matmul, self.transforms, centred)
        return table

    def layer(self, kernel: np.ndarray, bias: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Returns kernel and bias of a dense layer on the features that equals one on the components."""
        for transform in reversed(self.transforms):
            kernel = transform @ kernel.astype(np.float32)
        return kernel, (bias - self.mean @ kernel).astype(np.float32)


def standardisation(features: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns mean and inverse standard deviation of each feature, `float64 [D]`; the latter is 0 for a constant.

    Raises:
        FeatureValueError: features are not finite.
    """
    with np.errstate(invalid="ignore"):  # infinite features, reported below
        mean = features.mean(axis=0, dtype=np.float64)
        total = np.zeros(features.shape[1])
        for start in range(0, len(features), _CHUNK):
            total += ((features[start : start + _CHUNK] - mean) ** 2).sum(axis=0)
    deviation = np.sqrt(total / len(features))
    if not (np.isfinite(mean).all() and np.isfinite(deviation).all()):
        raise FeatureValueError(
            "the backbone's features are not finite: its weights are damaged or belong to another network"
        )
    return mean, np.where(deviation > 1e-6, 1 / np.maximum(deviation, 1e-6), 0.0)


def principal_components(features: np.ndarray) -> Components:
    """Returns the principal components of features `float32 [N, D]`, from the smaller of the two products.

    Raises:
        FeatureValueError: features are not finite.
    """
    mean, scale = standardisation(features)
    rows = _table(features.shape)
    for start in range(0, len(rows), _CHUNK):
        rows[start : start + _CHUNK] = (features[start : start + _CHUNK] - mean) * scale
    count, width = rows.shape
    wide = count < width
    with threadpool_limits(1, "blas"):  # threads that wait for each other on busy cores are 30 times slower
        values, vectors = scipy.linalg.eigh(rows @ rows.T if wide else rows.T @ rows, driver="evd")
        kept = values > max(values[-1] * _RANK, _RANK)
        values, vectors = values[kept].astype(np.float64), vectors[:, kept]
        factor = float(np.sqrt(count * len(values) / max(values.sum(), 1e-6)))
        if wide:  # left singular vectors, so that the products below need not be computed
            components = (vectors * (factor * np.sqrt(values))).astype(np.float32)
            weights = (vectors * (factor / np.sqrt(values))).astype(np.float32)
            rows *= scale
            transforms: tuple[np.ndarray, ...] = (rows.T, weights)
        else:
            basis, components = vectors * np.float32(factor), _table((count, len(values)))
            for start in range(0, count, _CHUNK):
                components[start : start + _CHUNK] = rows[start : start + _CHUNK] @ basis
            transforms = ((scale[:, None] * basis).astype(np.float32),)
    return Components(components, mean, transforms, factor**2 * values / count, factor)


def _table(shape: tuple[int, int]) -> np.ndarray:
    """Returns an empty `float32` array; in an unnamed temporary file if it is large."""
    if shape[0] * shape[1] * 4 <= _IN_MEMORY:
        return np.empty(shape, np.float32)
    with tempfile.TemporaryFile() as file:
        return np.memmap(file, np.float32, "w+", shape=shape)
