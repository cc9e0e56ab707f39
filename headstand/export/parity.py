"""Does the file that is served answer like the model that was trained? Asked photo by photo, from encoded bytes."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from tqdm import tqdm

from headstand import inputs, stats
from headstand.errors import HeadstandError
from headstand.export.evidence import Sample
from headstand.images import ImageError
from headstand.inputs import Input
from headstand.serve.classifier import Classifier

SHOWN = 5
"""Photos that are named as the furthest off."""


class ParityError(HeadstandError):
    """A converted model that answers differently from the trained one."""


@dataclass(frozen=True)
class Disagreement:
    """A photo whose top class differs; `margin`: how far apart the two likeliest are for the trained model."""

    photo: str
    trained: str
    served: str
    margin: float


@dataclass(frozen=True)
class Accuracy:
    """Both models' accuracy on the same photos.

    `lost` counts the photos that the served model has right less often (negative: more often); `interval` is the 95 %
    interval of the lost share, paired (`headstand.stats.paired`).
    """

    trained: float
    served: float
    lost: int
    interval: tuple[float, float]


@dataclass(frozen=True)
class Parity:
    """How two models compare over `count` photos.

    `agreement` is the share of photos with the same top class; the differences are of single probabilities, absolute;
    `worst` holds the photos that differ most, with their difference; `disagreeing` those with another top class, the
    clearest first; `accuracy` is None where nobody knows what the photos show.
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


def answers(trained: Callable[[np.ndarray], np.ndarray], sample: Sample, taken: Input, classes: int) -> np.ndarray:
    """What the trained model says of the photos, `float [N, classes]`.

    Args:
        trained: the Keras model, from a batch of one, as `taken` decodes it, to probabilities `[1, classes]`.
        sample: encoded photos.
        taken: what it takes.
        classes: how many outputs it has.

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


def compare(expected: np.ndarray, served: Classifier, sample: Sample, labels: Sequence[str]) -> Parity:
    """Put the same files to the served model.

    Args:
        expected: the trained model's `answers`.
        served: the bundle in the classifier that the services use, from the file's bytes on.
        sample: encoded photos.
        labels: in the trained model's output order.
    """
    return compared(expected, outputs(served, sample, labels), sample, labels)


def outputs(served: Classifier, sample: Sample, labels: Sequence[str]) -> np.ndarray:
    """Probabilities `float [N, classes]` of the served model, in the order of `labels`, from the encoded photos."""
    given = np.empty((len(sample.paths), len(labels)))
    for index, path in enumerate(_shown(sample, "as served")):
        # As the services decode, but for their limit on size: a user's own photos may be larger.
        answer = served.answer(inputs.of(served.bundle.input.shape).decode(path)).probabilities
        given[index] = [answer[label] for label in labels]
    return given


def compared(expected: np.ndarray, given: np.ndarray, sample: Sample, labels: Sequence[str]) -> Parity:
    """Compare the trained model's probabilities with the served model's, both `float [N, classes]`."""
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
    """Compare two models by which photos each got right, `bool [N]`."""
    lost = stats.paired(trained, served)
    count = int(trained.sum()) - int(served.sum())
    return Accuracy(float(trained.mean()), float(served.mean()), count, lost.interval)


def _shown(sample: Sample, how: str) -> Sequence[Path]:
    bar: Sequence[Path] = tqdm(sample.paths, desc=f"{sample.name} {how}", unit="photo", disable=None, leave=False)
    return bar
