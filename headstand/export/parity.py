"""Does the file that is served answer like the model that was trained? Asked photo by photo, from encoded bytes."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from tqdm import tqdm

from headstand import images
from headstand.errors import HeadstandError
from headstand.serve.classifier import Classifier

FLOAT32_LIMIT = 1e-4
"""Largest difference of any probability that a float32 export may show; conversion alone shows about 5e-6."""


class ParityError(HeadstandError):
    """A converted model that answers differently from the trained one."""


@dataclass(frozen=True)
class Parity:
    """How two models compare over `count` photos.

    `agreement` is the share of photos with the same top class; the differences are of single probabilities, absolute;
    `worst` holds the photos that differ most, with their difference; `disagreeing` those with another top class.
    """

    count: int
    agreement: float
    largest_difference: float
    mean_difference: float
    worst: tuple[tuple[str, float], ...]
    disagreeing: tuple[str, ...]


def compare(
    trained: Callable[[np.ndarray], np.ndarray], served: Classifier, paths: Sequence[Path], labels: Sequence[str]
) -> Parity:
    """Put the same files to both models.

    Args:
        trained: `uint8 [N, size, size, 3]` to probabilities `[N, classes]`: the Keras model.
        served: the bundle in the classifier that the services use, from the file's bytes on.
        paths: encoded photos.
        labels: in the trained model's output order.

    Raises:
        ParityError: a photo is missing or damaged.
    """
    differences = np.empty((len(paths), len(labels)))
    disagreeing = []
    for place, path in enumerate(tqdm(paths, desc="parity", unit="photo", disable=None, leave=False)):
        try:
            pixels = images.decode(path, served.bundle.size)
        except images.ImageError as error:
            raise ParityError(
                f"the test photo {path} cannot be compared on: {error}; prepare the data again"
            ) from error
        expected = trained(pixels[np.newaxis])[0]
        answer = served.predict(path.read_bytes()).probabilities
        given = np.array([answer[label] for label in labels])
        differences[place] = np.abs(given - expected)
        if given.argmax() != expected.argmax():
            disagreeing.append(str(path))
    largest = differences.max(axis=1)
    worst = np.argsort(-largest, kind="stable")[:5]
    return Parity(
        count=len(paths),
        agreement=1 - len(disagreeing) / len(paths),
        largest_difference=float(largest.max()),
        mean_difference=float(differences.mean()),
        worst=tuple((str(paths[place]), float(largest[place])) for place in worst),
        disagreeing=tuple(disagreeing),
    )


def require(parity: Parity) -> None:
    """Let a float32 export pass, or refuse it.

    Raises:
        ParityError: a probability differs by more than `FLOAT32_LIMIT`, or a top class differs; names the photos.
    """
    # Written so that a difference that is no number fails too.
    if parity.largest_difference <= FLOAT32_LIMIT and not parity.disagreeing:
        return
    shown = "; ".join(f"{path} by {difference:.2g}" for path, difference in parity.worst)
    raise ParityError(
        f"the converted model answers differently from the trained one, so nothing was written: of {parity.count} test "
        f"photos {len(parity.disagreeing)} get another class, and probabilities differ by up to "
        f"{parity.largest_difference:.2g} (at most {FLOAT32_LIMIT:g} is allowed). Furthest off: {shown}"
    )
