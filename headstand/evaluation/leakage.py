"""Fingerprints of training images, used to detect leakage into a test split."""

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from headstand import inputs
from headstand import recipe as recipes
from headstand.heads import checkpoint
from headstand.heads.checkpoint import CheckpointError
from headstand.preparation import examination, near_duplicates
from headstand.preparation.manifest import Dataset, Photo
from headstand.preparation.near_duplicates import Signature
from headstand.recipe import Backbone


@dataclass(frozen=True)
class Leak:
    """Evaluation photos, usually of the test split, that have near duplicates among training photos.

    `photos` are their paths. `accuracy_without` is the accuracy over all other evaluation photos; None if there are no
    others. `compared` is the number of training photos that were compared; 0 if none are known.
    """

    photos: tuple[str, ...]
    accuracy_without: float | None
    compared: int = field(default=0, compare=False)


def before(backbone: Backbone) -> tuple[str, ...]:
    """Returns the fingerprints of the photos that the backbone's weights were trained on, as far as they are recorded.

    They are recorded in checkpoints; for other weights the result is empty.
    """
    if (path := backbone.weights_file) and not path.endswith(".weights.h5"):
        return checkpoint.metadata(recipes.locate(path, "HEADSTAND_WEIGHTS")).training_fingerprints
    if not path and backbone.network_file:
        with contextlib.suppress(CheckpointError):  # the network is not in a checkpoint
            return checkpoint.metadata(recipes.locate(backbone.network_file, "HEADSTAND_WEIGHTS")).training_fingerprints
    return ()


def after(backbone: Backbone, dataset: Dataset, splits: Sequence[str]) -> tuple[str, ...]:
    """Returns the sorted fingerprints of the backbone's training photos and of the photos of these splits."""
    return tuple(sorted({*before(backbone), *of(dataset, splits)}))


def of(dataset: Dataset, splits: Sequence[str]) -> tuple[str, ...]:
    """Returns the sorted fingerprints of the photos of these splits."""
    return tuple(sorted({signature.text for signature in _signatures(dataset, splits)}))


def leak(backbone: Backbone, dataset: Dataset, right: np.ndarray) -> Leak:
    """Returns the test photos that have near duplicates among the backbone's training photos.

    Args:
        backbone: backbone of the recipe.
        dataset: the prepared dataset.
        right: `bool [N]`, which test photos were classified correctly.
    """
    return among(before(backbone), dataset.folder, dataset.split("test"), right)


def among(fingerprints: Sequence[str], folder: Path, photos: Sequence[Photo], right: np.ndarray) -> Leak:
    """Returns the evaluation photos that have near duplicates among photos with the given fingerprints.

    Args:
        fingerprints: fingerprints of training photos.
        folder: folder that the photos' paths are relative to.
        photos: N evaluation photos.
        right: `bool [N]`, which of them were classified correctly.
    """
    leaked = np.zeros(len(right), bool)
    if fingerprints:
        signatures = examination.signatures([folder / photo.path for photo in photos])
        leaked = near_duplicates.near_duplicates_of_any(signatures, [Signature(text) for text in fingerprints])
    return _leak(photos, leaked, right, len(fingerprints))


def across_splits(dataset: Dataset, right: np.ndarray) -> Leak:
    """Returns the test photos that share a near-duplicate group with a training photo.

    There are such photos if the splits are those of the source, which may separate near duplicates.

    Args:
        dataset: the prepared dataset.
        right: `bool [N]`, which test photos were classified correctly.
    """
    trained = {photo.group for photo in dataset.split("train")}
    photos = dataset.split("test")
    leaked = np.array([photo.group in trained for photo in photos])
    return _leak(photos, leaked, right, len(dataset.split("train")))


def _leak(photos: Sequence[Photo], leaked: np.ndarray, right: np.ndarray, compared: int) -> Leak:
    paths = tuple(photo.path for photo, is_leaked in zip(photos, leaked, strict=True) if is_leaked)
    return Leak(paths, None if leaked.all() else float(right[~leaked].mean()), compared)


def _signatures(dataset: Dataset, splits: Sequence[str]) -> list[Signature]:
    paths: list[Path] = [
        # Only photos have fingerprints. Of other inputs only exact copies count as duplicates, and those share a group.
        dataset.folder / photo.path
        for split in splits
        for photo in dataset.split(split)
        if inputs.of_file(photo.path).kind == "photos"
    ]
    return examination.signatures(paths)
