"""Accuracy on slices of a split: by file format, size and aspect ratio of the photos."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

import numpy as np

from headstand.prepare.manifest import Photo
from headstand.stats import Interval, Outcomes, unpaired, wilson

FEW = 30
"""Number of photos below which a slice is marked as small: the interval of its accuracy is then some 30 points wide."""

SQUARE = 1.15
"""Largest ratio of the longer to the shorter side of a photo that counts as square."""


@dataclass(frozen=True)
class Slice:
    """Accuracy on the photos of a split that share a property.

    Attributes:
        by: the property: format, size or shape.
        value: its value.
        count: number of photos.
        accuracy: share of correct predictions.
        interval: 95 % Wilson interval of the accuracy.
        few: whether there are fewer than `FEW` photos.
        apart: whether the accuracy differs from that of all other photos beyond noise (see `headstand.stats`).
    """

    by: str
    value: str
    count: int
    accuracy: float
    interval: Interval
    few: bool
    apart: bool


def slices(photos: Sequence[Photo], right: np.ndarray) -> list[Slice]:
    """Returns the accuracy by file format, size and shape of the photos.

    Args:
        photos: N photos of a manifest.
        right: whether each photo was classified correctly, `bool [N]`.

    Returns:
        Slices for each property that differs between the photos.
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
            found += [_slice(by, value, right, np.array(values) == value) for value in order]
    return found


def _sized(values: Sequence[str], small: float, large: float) -> list[str]:
    named = [f"up to {small:.0f} px", f"up to {large:.0f} px", "larger"]
    return [name for name in dict.fromkeys(named) if name in values]


def _shape(photo: Photo) -> str:
    ratio = photo.width / photo.height
    return "wide" if ratio > SQUARE else "tall" if ratio < 1 / SQUARE else "square"


def _slice(by: str, value: str, right: np.ndarray, chosen: np.ndarray) -> Slice:
    mine, others = right[chosen], right[~chosen]
    apart = not unpaired(Outcomes.of(mine), Outcomes.of(others)).within_noise
    return Slice(by, value, len(mine), float(mine.mean()), wilson(int(mine.sum()), len(mine)), len(mine) < FEW, apart)
