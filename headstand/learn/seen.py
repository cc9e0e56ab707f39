"""What a model has seen: a test photo whose near twin the backbone was trained on tells nothing."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from headstand import recipe as recipes
from headstand.learn import checkpoint
from headstand.prepare import twins
from headstand.prepare.manifest import Dataset, Photo
from headstand.prepare.twins import Signature
from headstand.recipe import Backbone


@dataclass(frozen=True)
class Leak:
    """Photos, mostly of the test, that have near twins among photos that were trained on.

    `photos` are their paths; `accuracy_without` is the accuracy over all others, None where there are none; `compared`
    is the number of training photos that they were compared with, 0 where none are known.
    """

    photos: tuple[str, ...]
    accuracy_without: float | None
    compared: int = field(default=0, compare=False)


def before(backbone: Backbone) -> tuple[str, ...]:
    """Signatures of the photos that the backbone's weights were trained on; none for ImageNet's or random weights."""
    if backbone.weights in ("imagenet", "none") or backbone.weights.endswith(".weights.h5"):
        return ()
    return checkpoint.about(recipes.locate(backbone.weights, "HEADSTAND_WEIGHTS")).seen


def after(backbone: Backbone, dataset: Dataset, splits: Sequence[str]) -> tuple[str, ...]:
    """Signatures of all photos that a model has seen once it is trained on these splits, sorted."""
    return tuple(sorted({*before(backbone), *of(dataset, splits)}))


def of(dataset: Dataset, splits: Sequence[str]) -> tuple[str, ...]:
    """Signatures of the photos of these splits, sorted."""
    return tuple(sorted({signature.text for signature in _signatures(dataset, splits)}))


def leak(backbone: Backbone, dataset: Dataset, right: np.ndarray) -> Leak:
    """Hold the test photos against what the backbone has seen.

    Args:
        backbone: the recipe's.
        dataset: the prepared dataset.
        right: `bool [N]`, which test photos were answered rightly.
    """
    return among(before(backbone), dataset.folder, dataset.split("test"), right)


def among(seen: Sequence[str], folder: Path, photos: Sequence[Photo], right: np.ndarray) -> Leak:
    """Hold photos against others that something has seen.

    Args:
        seen: the others' signatures.
        folder: what the photos' paths are relative to.
        photos: N photos.
        right: `bool [N]`, which were answered rightly.
    """
    ours = twins.signatures([folder / photo.path for photo in photos]) if seen else []
    twin = twins.twins_of_any(ours, [Signature(text) for text in seen]) if seen else np.zeros(len(right), bool)
    known = [photo.path for photo, one in zip(photos, twin, strict=True) if one]
    return Leak(tuple(known), None if twin.all() else float(right[~twin].mean()), len(seen))


def straddling(dataset: Dataset, right: np.ndarray) -> Leak:
    """Hold the test photos against the groups of the training photos, where the source's own splits part twins.

    Args:
        dataset: the prepared dataset.
        right: `bool [N]`, which test photos were answered rightly.
    """
    trained = {photo.group for photo in dataset.split("train")}
    known = np.array([photo.group in trained for photo in dataset.split("test")])
    photos = [photo.path for photo, twin in zip(dataset.split("test"), known, strict=True) if twin]
    compared = len(dataset.split("train"))
    return Leak(tuple(photos), None if known.all() else float(right[~known].mean()), compared)


def _signatures(dataset: Dataset, splits: Sequence[str]) -> list[Signature]:
    paths: list[Path] = [
        # Heatmaps have no likeness: of them only exact copies are twins, and these share a group.
        dataset.folder / photo.path
        for split in splits
        for photo in dataset.split(split)
        if not photo.path.endswith(".npy")
    ]
    return twins.signatures(paths)
