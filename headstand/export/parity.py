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
class Detection:
    """Comparison of the scores of unknown inputs.

    `largest_difference` is that of a similarity; `changed` is the number of photos that only one of the models accepts
    as known, each with its own threshold.
    """

    largest_difference: float
    changed: int


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
        detection: comparison of the scores of unknown inputs; None without a detector.
    """

    count: int
    agreement: float
    largest_difference: float
    mean_difference: float
    worst: tuple[tuple[str, float], ...]
    disagreeing: tuple[Disagreement, ...]
    accuracy: Accuracy | None
    detection: Detection | None = None

    @property
    def finite(self) -> bool:
        return math.isfinite(self.largest_difference)


def trained_outputs(
    trained: Callable[[np.ndarray], np.ndarray], sample: PhotoSample, kind: InputKind, columns: int
) -> np.ndarray:
    """Returns a model's outputs for a sample, `float [N, columns]`, outside of the services' classifier.

    Args:
        trained: the Keras or the ONNX model, from a batch of one decoded by `kind` to outputs `[1, columns]`.
        sample: encoded photos.
        kind: the model's input, which decodes the photos.
        columns: number of classes, and one more if the last column is the similarity of a detector.

    Raises:
        ParityError: a photo is missing or damaged.
    """
    result = np.empty((len(sample.paths), columns))
    for index, path in enumerate(_progress(sample, "as trained")):
        try:
            result[index] = trained(kind.decode(path)[np.newaxis])[0]
        except ImageError as error:
            raise ParityError(
                f"the {sample.name} photo {path} cannot be used for the comparison: {error}; prepare the data again"
            ) from error
    return result


def served_outputs(served: Classifier, sample: PhotoSample, labels: Sequence[str]) -> np.ndarray:
    """Returns the served model's outputs from encoded photos, `float [N, columns]`.

    The columns are the probabilities in the order of `labels` and, if the bundle detects unknown inputs, similarities.
    """
    # Same decoding as the services, but without their size limit: a user's own photos may be larger.
    kind = inputs.of(served.bundle.input.shape)
    result = np.empty((len(sample.paths), len(labels) + (served.bundle.known_threshold is not None)))
    for index, path in enumerate(_progress(sample, "as served")):
        prediction = served.classify(kind.decode(path))
        similarity = [] if prediction.similarity is None else [prediction.similarity]
        result[index] = [*(prediction.probabilities[label] for label in labels), *similarity]
    return result


def compare(
    expected: np.ndarray,
    given: np.ndarray,
    sample: PhotoSample,
    labels: Sequence[str],
    known: tuple[float, float] | None = None,
) -> Parity:
    """Compares the trained model's outputs with the served model's, both `float [N, columns]`.

    Args:
        expected: from `trained_outputs`.
        given: from `served_outputs`.
        sample: the photos.
        labels: class names in the order of the first columns.
        known: the thresholds of the trained and of the served model, if the last column is the detector's similarity.
    """
    detection = None
    if known is not None:
        (trained_score, served_score) = expected[:, -1], given[:, -1]
        changed = int(((trained_score >= known[0]) != (served_score >= known[1])).sum())
        detection = Detection(float(np.abs(served_score - trained_score).max()), changed)
    expected, given = expected[:, : len(labels)], given[:, : len(labels)]
    differences = np.abs(given - expected)
    largest = differences.max(axis=1)
    trained, served = expected.argmax(axis=1), given.argmax(axis=1)
    ordered = np.sort(expected, axis=1)
    margins = ordered[:, -1] - ordered[:, -2]
    names = [str(path) for path in sample.paths]
    return Parity(
        count=len(expected),
        agreement=float((trained == served).mean()),
        largest_difference=float(largest.max()),
        mean_difference=float(differences.mean()),
        worst=tuple((names[index], float(largest[index])) for index in np.argsort(-largest, kind="stable")[:SHOWN]),
        disagreeing=tuple(
            Disagreement(names[index], labels[trained[index]], labels[served[index]], float(margins[index]))
            for index in sorted(np.flatnonzero(trained != served), key=lambda index: -margins[index])
        ),
        accuracy=None if sample.labels is None else paired(trained == sample.labels, served == sample.labels),
        detection=detection,
    )


def paired(trained: np.ndarray, served: np.ndarray) -> Accuracy:
    """Compares the accuracy of two models, given which photos each classified correctly, `bool [N]`."""
    lost = int(trained.sum()) - int(served.sum())
    return Accuracy(float(trained.mean()), float(served.mean()), lost, stats.paired(trained, served).interval)


def _progress(sample: PhotoSample, text: str) -> Sequence[Path]:
    bar: Sequence[Path] = tqdm(sample.paths, desc=f"{sample.name} {text}", unit="photo", disable=None, leave=False)
    return bar
