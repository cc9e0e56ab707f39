"""Selection of the most confident wrong predictions, which often show wrong labels or misleading image content."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from headstand.prepare.manifest import Photo

MOST = 12
"""Maximum number of mistakes in a report."""


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

    Args:
        photos: N photos.
        probabilities: `float [N, classes]`.
        labels: class indices, `int [N]`.
        classes: class names in output order.
    """
    answers = probabilities.argmax(axis=1)
    wrong = np.flatnonzero(answers != labels)
    surest = wrong[np.argsort(-probabilities[wrong, answers[wrong]], kind="stable")][:MOST]
    return [
        Mistake(
            photos[k],
            classes[labels[k]],
            classes[answers[k]],
            float(probabilities[k, answers[k]]),
            float(probabilities[k, labels[k]]),
        )
        for k in surest.tolist()
    ]
