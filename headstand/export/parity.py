"""Compares the predictions of the served file with those of the trained model, from encoded photos on."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from tqdm import tqdm

from headstand import inputs, stats
from headstand.errors import HeadstandError
from headstand.export.photo_samples import PhotoSample
from headstand.images import ImageError
from headstand.inputs import InputKind
from headstand.serve.classifier import Classifier

SHOWN = 5
"""Number of photos with the largest differences that are listed."""


class ParityError(HeadstandError):
    """Raised if a converted model's predictions differ from the trained model's."""


@dataclass(frozen=True)
class Disagreement:
    """A photo whose top class differs; `margin` is the trained model's gap between its two highest probabilities."""

    photo: str
    trained: str
    served: str
    margin: float


@dataclass(frozen=True)
class Accuracy:
    """Accuracy of both models on the same photos.

    `lost` is the number of correct predictions of the trained model minus that of the served one (negative: a gain).
    `interval` is the paired 95 % interval of the lost share (`headstand.stats.paired`).
    """

    trained: float
    served: float
    lost: int
    interval: tuple[float, float]


@dataclass(frozen=True)
class Parity:
    """Comparison of two models over `count` photos.

    Attributes:
        count: number of photos.
        agreement: share of photos with the same top class.
        largest_difference: largest absolute difference of a probability.
        mean_difference: mean absolute difference of the probabilities.
        worst: the photos with the largest differences, with these.
        disagreeing: the photos with another top class, by decreasing margin.
        accuracy: of both models; None if the classes are unknown.
    """

    count: int
    agreement: float
    largest_difference: float
    mean_difference: float
    worst: tuple[tuple[str, float], ...]
    disagreeing: tuple[Disagreement, ...]
    accuracy: Accuracy | None

    @property
    def finite(self) -> bool:
        return math.isfinite(self.largest_difference)


def answers(
    trained: Callable[[np.ndarray], np.ndarray], sample: PhotoSample, taken: InputKind, classes: int
) -> np.ndarray:
    """Returns the trained model's probabilities for a sample, `float [N, classes]`.

    Args:
        trained: the Keras model, from a batch of one decoded by `taken` to probabilities `[1, classes]`.
        sample: encoded photos.
        taken: the model's input, which decodes the photos.
        classes: number of outputs.

    Raises:
        ParityError: a photo is missing or damaged.
    """
    result = np.empty((len(sample.paths), classes))
    for place, path in enumerate(_shown(sample, "as trained")):
        try:
            result[place] = trained(taken.decode(path)[np.newaxis])[0]
        except ImageError as error:
            raise ParityError(
                f"the {sample.name} photo {path} cannot be compared on: {error}; prepare the data again"
            ) from error
    return result


def compare(expected: np.ndarray, served: Classifier, sample: PhotoSample, labels: Sequence[str]) -> Parity:
    """Runs the served model on the same files and returns the comparison.

    Args:
        expected: probabilities of the trained model, from `answers`.
        served: the bundle in the classifier that the services use.
        sample: encoded photos.
        labels: class names in the trained model's output order.
    """
    return compared(expected, outputs(served, sample, labels), sample, labels)


def outputs(served: Classifier, sample: PhotoSample, labels: Sequence[str]) -> np.ndarray:
    """Returns the served model's probabilities `float [N, classes]` in the order of `labels`, from encoded photos."""
    given = np.empty((len(sample.paths), len(labels)))
    for index, path in enumerate(_shown(sample, "as served")):
        # Same decoding as the services, but without their size limit: a user's own photos may be larger.
        answer = served.classify(inputs.of(served.bundle.input.shape).decode(path)).probabilities
        given[index] = [answer[label] for label in labels]
    return given


def compared(expected: np.ndarray, given: np.ndarray, sample: PhotoSample, labels: Sequence[str]) -> Parity:
    """Compares the trained model's probabilities with the served model's, both `float [N, classes]`."""
    differences = np.abs(given - expected)
    largest = differences.max(axis=1)
    tops, chosen = expected.argmax(axis=1), given.argmax(axis=1)
    ordered = np.sort(expected, axis=1)
    margins = ordered[:, -1] - ordered[:, -2]
    others = sorted(np.flatnonzero(tops != chosen), key=lambda place: -margins[place])
    names = [str(path) for path in sample.paths]
    return Parity(
        count=len(expected),
        agreement=float((tops == chosen).mean()),
        largest_difference=float(largest.max()),
        mean_difference=float(differences.mean()),
        worst=tuple((names[place], float(largest[place])) for place in np.argsort(-largest, kind="stable")[:SHOWN]),
        disagreeing=tuple(
            Disagreement(names[place], labels[tops[place]], labels[chosen[place]], float(margins[place]))
            for place in others
        ),
        accuracy=None if sample.labels is None else paired(tops == sample.labels, chosen == sample.labels),
    )


def paired(trained: np.ndarray, served: np.ndarray) -> Accuracy:
    """Compares the accuracy of two models, given which photos each classified correctly, `bool [N]`."""
    lost = stats.paired(trained, served)
    count = int(trained.sum()) - int(served.sum())
    return Accuracy(float(trained.mean()), float(served.mean()), count, lost.interval)


def _shown(sample: PhotoSample, how: str) -> Sequence[Path]:
    bar: Sequence[Path] = tqdm(sample.paths, desc=f"{sample.name} {how}", unit="photo", disable=None, leave=False)
    return bar
