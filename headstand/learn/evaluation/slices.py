"""Where a classifier is better and worse: its accuracy over parts of a split that its labels do not tell apart."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

import numpy as np

from headstand.learn.evaluation.intervals import Interval, wilson
from headstand.prepare.manifest import Photo

FEW = 30
"""Photos under which a slice's accuracy says little: its interval is then some 30 points wide."""

SQUARE = 1.15
"""Longer side to shorter one, up to which a photo counts as square."""


@dataclass(frozen=True)
class Slice:
    """Part of a split: `by` which property, its `value`, how many photos, their accuracy with its 95 % interval.

    `few` tells that there are too few photos to conclude from, `apart` that the interval does not hold the accuracy of
    the whole split.
    """

    by: str
    value: str
    count: int
    accuracy: float
    interval: Interval
    few: bool
    apart: bool


def slices(photos: Sequence[Photo], right: np.ndarray) -> list[Slice]:
    """Accuracy by file format, size and shape.

    Args:
        photos: N photos of a manifest.
        right: `bool [N]`, which were answered rightly.

    Returns:
        The slices of properties that the photos differ in, by property.
    """
    sides = np.sqrt([photo.width * photo.height for photo in photos])
    small, large = np.percentile(sides, [100 / 3, 200 / 3], method="lower")
    names = {
        "format": [PurePosixPath(photo.path).suffix.removeprefix(".").lower() for photo in photos],
        "size": [
            f"up to {small:.0f} px" if side <= small else f"up to {large:.0f} px" if side <= large else "larger"
            for side in sides
        ],
        "shape": [_shape(photo) for photo in photos],
    }
    found = []
    for by, values in names.items():
        order = list(dict.fromkeys(values)) if by != "size" else _sized(values, small, large)
        if len(order) > 1:
            found += [_slice(by, value, right[np.array(values) == value], float(right.mean())) for value in order]
    return found


def _sized(values: Sequence[str], small: float, large: float) -> list[str]:
    named = [f"up to {small:.0f} px", f"up to {large:.0f} px", "larger"]
    return [name for name in dict.fromkeys(named) if name in values]


def _shape(photo: Photo) -> str:
    ratio = photo.width / photo.height
    return "wide" if ratio > SQUARE else "tall" if ratio < 1 / SQUARE else "square"


def _slice(by: str, value: str, right: np.ndarray, whole: float) -> Slice:
    low, high = wilson(int(right.sum()), len(right))
    return Slice(by, value, len(right), float(right.mean()), (low, high), len(right) < FEW, not low <= whole <= high)
