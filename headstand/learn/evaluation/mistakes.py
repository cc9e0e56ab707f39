"""The answers that were wrong and sure of themselves: where labels are doubtful, and what the network looked at."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from headstand.prepare.manifest import Photo

MOST = 12
"""Mistakes that are shown."""


@dataclass(frozen=True)
class Mistake:
    """A photo, its label, the answer, and the probabilities of both."""

    photo: Photo
    truth: str
    answer: str
    confidence: float
    own: float


def mistakes(
    photos: Sequence[Photo], probabilities: np.ndarray, labels: np.ndarray, classes: Sequence[str]
) -> list[Mistake]:
    """The most confident wrong answers, at most `MOST`, the surest first.

    Args:
        photos: N photos.
        probabilities: `float [N, classes]`.
        labels: class indices `int [N]`.
        classes: their names.
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
