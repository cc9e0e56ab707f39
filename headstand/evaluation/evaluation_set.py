"""Loads the labelled photos that a model is evaluated on: a split of a prepared dataset, or a folder."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from headstand import environment, inputs
from headstand.errors import HeadstandError
from headstand.features import digest
from headstand.heads.checkpoint import ModelMetadata
from headstand.images import formats
from headstand.inputs import PhotoInput
from headstand.preparation import manifest
from headstand.preparation.doctor.checked_folder import contents
from headstand.preparation.listing import Listing
from headstand.preparation.manifest import Photo, nfc
from headstand.preparation.scan import examine, scan


class EvaluationSetError(HeadstandError):
    """Photos that a model cannot be evaluated on."""


@dataclass(frozen=True)
class EvaluationSet:
    """Labelled photos for an evaluation.

    Attributes:
        folder: folder that the paths of the photos are relative to.
        split: name of the split; empty for a folder without splits.
        own: whether the photos are a split of the dataset that the model was trained on.
        photos: the N photos.
        labels: class indices in the model's order, `int32 [N]`.
        left_out: name of each unusable file, with the reason.
    """

    folder: Path
    split: str
    own: bool
    photos: tuple[Photo, ...]
    labels: np.ndarray
    left_out: tuple[tuple[str, str], ...] = ()

    def __str__(self) -> str:
        return f"the {self.split} split of {self.folder}" if self.split else str(self.folder)


def of_dataset(folder: Path, split: str, about: ModelMetadata) -> EvaluationSet:
    """Returns a split of a prepared dataset.

    Raises:
        HeadstandError: the dataset is not prepared or has changed, has no photos in the split or photos of the wrong
            kind, or has classes that the model does not have.
    """
    dataset = manifest.read(folder)
    photos = dataset.split(split)
    if not photos:
        raise EvaluationSetError(f"{folder} has no photos for {split}: prepare it again")
    _check_kind(photos, folder, about)
    for photo in photos:
        digest(folder, photo)
    return EvaluationSet(folder, split, dataset.digest == about.data, photos, _labels(photos, folder, about))


def of_folder(folder: Path, split: str | None, about: ModelMetadata) -> EvaluationSet:
    """Returns the photos of a folder: class folders, split folders with class folders, or a prepared dataset.

    Args:
        folder: the folder; it is only read.
        split: split to evaluate on; None means `test` if the folder has splits. An error if it has none.
        about: metadata of the model.

    Raises:
        HeadstandError: the folder does not exist, has no usable photos or no such split, or has a class that the model
            does not have.
    """
    if (folder / "manifest.csv").is_file():
        return of_dataset(folder, split or "test", about)
    found = contents(folder)
    split = split or ("test" if found.layout == "splits" else "")
    if split and found.layout != "splits":
        raise EvaluationSetError(f"{folder} is not divided into splits: leave --split out")
    kind = inputs.of_backbone(about.backbone, about.size)
    items = tuple(item for item in found.items if item.split == split and formats.is_listed(item.path, kind.suffixes))
    candidates, unusable = scan(
        Listing(found.root, found.classes, items), examine if isinstance(kind, PhotoInput) else kind.examine
    )
    left_out = tuple((found.name(item.path), reason) for item, reason in unusable)
    if not candidates:
        first = f"; {left_out[0][0]}: {left_out[0][1]}" if left_out else f" ({', '.join(kind.suffixes)})"
        raise EvaluationSetError(
            f"{found.root} has no photos{f' for {split}' if split else ''} that can be used{first}"
        )
    photos = tuple(
        Photo(
            item.path.relative_to(found.root).as_posix(), item.class_, item.split, file.sha256,
            file.width, file.height, group,
        )
        for group, (item, file) in enumerate((candidate.item, candidate.file) for candidate in candidates)
    )  # fmt: skip
    return EvaluationSet(found.root, split, False, photos, _labels(photos, found.root, about), left_out)


def _check_kind(photos: tuple[Photo, ...], folder: Path, about: ModelMetadata) -> None:
    """Raises an `EvaluationSetError` if the model takes another kind of input than the folder holds."""
    held, taken = inputs.of_file(photos[0].path).kind, inputs.of_backbone(about.backbone, about.size).kind
    if held != taken:
        raise EvaluationSetError(f"{folder} contains {held}, but {about.name} takes {taken}")


def _labels(photos: tuple[Photo, ...], folder: Path, about: ModelMetadata) -> np.ndarray:
    index = {nfc(name): number for number, name in enumerate(about.labels)}
    unknown = sorted({nfc(photo.class_) for photo in photos} - set(index))
    if unknown:
        named, known = (
            ", ".join(map(repr, classes[:most])) + " ..." * (len(classes) > most)
            for classes, most in ((unknown, 5), (about.labels, 10))
        )
        similar = environment.suggestion(unknown[0], index, prefix="")
        raise EvaluationSetError(
            f"{folder} has photos of {named}{similar}, but the model's classes are {known}: rename the class folders "
            "to the model's classes, or remove the others"
        )
    return np.array([index[nfc(photo.class_)] for photo in photos], np.int32)
