"""Photos for judging a conversion, in three disjoint samples: calibration, format choice and certification."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from headstand import files
from headstand.errors import HeadstandError
from headstand.evaluation import leakage
from headstand.evaluation.predictions import class_indices
from headstand.heads.checkpoint import ModelMetadata
from headstand.images import formats
from headstand.preparation import manifest
from headstand.preparation.file_metadata import EXTENSIONS
from headstand.preparation.manifest import nfc

_SUFFIXES = {".jpeg", *(usual for usual, *_ in EXTENSIONS.values())}

PICTURES = 48
"""Number of generated pictures."""

LEAST = 4
"""Smallest number of photos in each third of a folder."""


class PhotoSampleError(HeadstandError):
    """Raised for photos that cannot be used to compare models."""


@dataclass(frozen=True)
class PhotoSample:
    """A set of photos.

    Attributes:
        name: description for messages.
        paths: the photo files.
        labels: class indices `int [N]`; None if unknown.
    """

    name: str
    paths: tuple[Path, ...]
    labels: np.ndarray | None


@dataclass(frozen=True)
class ParitySamples:
    """Three disjoint samples of photos.

    Quantization ranges come from `calibration`, formats are compared and chosen on `choosing`, and the chosen one is
    certified on `certifying`. The last two fields are True if the model was trained on the photos of that sample too:
    its accuracy on them is then not a valid estimate.
    """

    calibration: PhotoSample
    choosing: PhotoSample
    certifying: PhotoSample
    trained_on_choosing: bool = False
    trained_on_certifying: bool = False


def prepared(about: ModelMetadata) -> ParitySamples:
    """Returns the training, validation and test splits of the dataset that a checkpoint was trained on.

    Raises:
        ManifestError: the dataset is not prepared on this machine.
        PhotoSampleError: the dataset has changed since training.
    """
    dataset = manifest.read(Path("data") / about.name)
    if dataset.digest != about.data or dataset.classes != about.labels:
        raise PhotoSampleError(
            f"{dataset.folder} is not the data that this model was trained on (its manifest has changed); "
            f"prepare it as it was, or train again with `python train.py {about.name}`"
        )

    def sample(split: str) -> PhotoSample:
        photos = dataset.split(split)
        paths = tuple(dataset.folder / photo.path for photo in photos)
        return PhotoSample(split, paths, class_indices(dataset, photos))

    common = set(about.evaluation_fingerprints) & set(about.training_fingerprints)

    def trained_on(split: str) -> bool:
        """Returns whether at least half of a split's fingerprints are among the training fingerprints."""
        fingerprints = leakage.of(dataset, (split,)) if common else ()
        return bool(fingerprints) and 2 * len(common & set(fingerprints)) >= len(fingerprints)

    return ParitySamples(
        sample("train"), sample("validation"), sample("test"), trained_on("validation"), trained_on("test")
    )


def folder(path: Path, labels: Sequence[str]) -> ParitySamples:
    """Splits a folder of photos into three samples by the SHA-256 of each file, so that copies stay together.

    Args:
        path: one subfolder per class, named like the labels, or photos only, whose classes are then unknown.
        labels: the model's class names.

    Raises:
        PhotoSampleError: the folder does not exist, has too few photos, or has subfolders that match no label.
    """
    if not path.is_dir():
        raise PhotoSampleError(f"there is no folder {path}; name one with photos for the comparison")
    photos = [file for file in sorted(path.rglob("*")) if formats.is_listed(file, _SUFFIXES)]
    labels = [nfc(label) for label in labels]
    classes = [nfc(file.relative_to(path).parts[0]) if file.parent != path else None for file in photos]
    unknown = sorted({name for name in classes if name is not None and name not in labels})
    if any(classes) and (unknown or None in classes):
        found = f"the folder {unknown[0]!r}" if unknown else "photos beside its folders"
        raise PhotoSampleError(
            f"{path} holds {found}; name its folders like the labels ({', '.join(list(labels)[:8])}...), or put all "
            "photos into one folder"
        )
    parts: list[list[int]] = [[], [], []]
    for index, photo in enumerate(photos):
        parts[int(files.digest(photo)[:8], 16) % 3].append(index)
    if min(map(len, parts)) < LEAST:
        raise PhotoSampleError(
            f"{path} holds {len(photos)} photos, too few for separate samples to calibrate, choose and certify with: "
            f"use {12 * LEAST} or more"
        )
    indices = np.array([labels.index(name) for name in classes if name is not None])

    def sample(name: str, part: list[int]) -> PhotoSample:
        known = indices[part] if any(classes) else None
        return PhotoSample(f"{name} third of {path.name}", tuple(photos[index] for index in part), known)

    first, second, last = parts
    return ParitySamples(sample("first", first), sample("second", second), sample("last", last))


def generated(folder: Path, size: int) -> ParitySamples:
    """Returns generated pictures of soft coloured patches, from coarse to fine, the same ones each time.

    Args:
        folder: where the pictures are written.
        size: input side of the model in pixels.
    """
    rng = np.random.default_rng(0)
    paths = []
    for number in range(PICTURES):
        coarse = rng.integers(0, 256, (2 + number % 24, 2 + number % 24, 3), np.uint8)
        paths.append(folder / f"picture{number:02d}.png")
        Image.fromarray(coarse).resize((size, size), Image.Resampling.BICUBIC).save(paths[-1])
    sample = PhotoSample("generated", tuple(paths), None)
    return ParitySamples(sample, sample, sample)
