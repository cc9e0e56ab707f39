"""Error analysis of a split: accuracy on slices of the photos, and the most confident wrong predictions."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

import numpy as np

from headstand.preparation.manifest import Photo
from headstand.stats import Interval, Outcomes, unpaired, wilson

MOST = 12
"""Maximum number of mistakes in a report."""

FEW = 30
"""Number of photos below which a slice is marked as small: the interval of its accuracy is then some 30 points wide."""

SQUARE = 1.15
"""Largest ratio of the longer to the shorter side of a photo that counts as square."""


@dataclass(frozen=True)
class Mistake:
    """Wrong prediction for a photo.

    Attributes:
        photo: the photo.
        truth: its label.
        answer: the predicted class.
        confidence: probability of the predicted class.
        own: probability of the label.
    """

    photo: Photo
    truth: str
    answer: str
    confidence: float
    own: float


def mistakes(
    photos: Sequence[Photo], probabilities: np.ndarray, labels: np.ndarray, classes: Sequence[str]
) -> list[Mistake]:
    """Returns the wrong predictions with the highest probability, at most `MOST`, in descending order.

    They often show wrong labels or misleading image content.

    Args:
        photos: N photos.
        probabilities: `float [N, classes]`.
        labels: class indices, `int [N]`.
        classes: class names in output order.
    """
    predicted, confidence = probabilities.argmax(axis=1), probabilities.max(axis=1)
    wrong = np.flatnonzero(predicted != labels)
    return [
        Mistake(
            photos[k],
            classes[labels[k]],
            classes[predicted[k]],
            float(confidence[k]),
            float(probabilities[k, labels[k]]),
        )
        for k in wrong[np.argsort(-confidence[wrong], kind="stable")][:MOST].tolist()
    ]


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
        differs: whether the accuracy differs from that of all other photos beyond noise (see `headstand.stats`).
    """

    by: str
    value: str
    count: int
    accuracy: float
    interval: Interval
    few: bool
    differs: bool


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
    sizes = [f"up to {small:.0f} px", f"up to {large:.0f} px", "larger"]
    properties = {
        "format": [PurePosixPath(photo.path).suffix.removeprefix(".").lower() for photo in photos],
        "size": [sizes[0] if side <= small else sizes[1] if side <= large else sizes[2] for side in sides],
        "shape": [_shape(photo) for photo in photos],
    }
    found = []
    for by, values in properties.items():
        order = dict.fromkeys([*(sizes if by == "size" else []), *values])
        present = [value for value in order if value in values]
        if len(present) > 1:
            found += [_slice(by, value, right, np.array(values) == value) for value in present]
    return found


def _shape(photo: Photo) -> str:
    ratio = photo.width / photo.height
    return "wide" if ratio > SQUARE else "tall" if ratio < 1 / SQUARE else "square"


def _slice(by: str, value: str, right: np.ndarray, chosen: np.ndarray) -> Slice:
    inside, others = right[chosen], right[~chosen]
    differs = not unpaired(Outcomes.of(inside), Outcomes.of(others)).within_noise
    count, correct = len(inside), int(inside.sum())
    return Slice(by, value, count, correct / count, wilson(correct, count), count < FEW, differs)
