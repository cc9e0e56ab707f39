"""Grouping of near duplicates and geometric matches, so that a group never lies in two splits."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from headstand.preparation import geometric_matches, near_duplicates
from headstand.preparation.examination import lumas, signatures
from headstand.preparation.geometric_matches import MatchedPair
from headstand.preparation.manifest import Dataset
from headstand.preparation.scan import ScannedFile


def near_duplicate_groups(photos: Sequence[ScannedFile]) -> tuple[np.ndarray, list[MatchedPair] | None]:
    """Groups photos that show the same picture.

    Geometric matches, the same picture rotated or cropped, are searched among at most `geometric_matches.MOST` photos.
    A false match only constrains the split; a missed match leaks a training image into the test split.

    Returns:
        Group numbers, `int64 [N]`, from 0 by first appearance: near duplicates and geometric matches share one. And the
        pairs of geometric matches, as indices into `photos`; None if they were not searched.

    Raises:
        ImageError: a file has been damaged since it was read.
    """
    groups = near_duplicates.groups([_signature(photo) for photo in photos], [photo.file.sha256 for photo in photos])
    pairs = _geometric_matches([(photo.item.path, photo.file.sha256) for photo in photos], photos, groups)
    linked = np.array([(groups[pair.first], groups[pair.second]) for pair in pairs or []], dtype=np.int64)
    joined = near_duplicates.components(int(groups.max(initial=-1)) + 1, *linked.reshape(-1, 2).T)
    return joined[groups], pairs


def disjoint_splits(
    photos: list[ScannedFile], others: dict[str, Dataset]
) -> tuple[list[ScannedFile], list[tuple[ScannedFile, str]]]:
    """Excludes photos with a near duplicate or geometric match among the validation and test photos of other datasets.

    Args:
        photos: photos of this dataset.
        others: prepared datasets by name.

    Returns:
        The remaining photos, and the excluded ones each with the reason.

    Raises:
        ImageError: a file has been damaged since it was read.
    """
    excluded: list[tuple[ScannedFile, str]] = []
    for name, dataset in others.items():
        evaluated = [*dataset.split("validation"), *dataset.split("test")]
        paths = [dataset.folder / photo.path for photo in evaluated]
        digests = {photo.sha256 for photo in evaluated}
        close = near_duplicates.near_duplicates_of_any([_signature(photo) for photo in photos], signatures(paths))
        close |= np.array([photo.file.sha256 in digests for photo in photos], dtype=bool)
        # Only pairs between the two datasets count: pairs within one group are not searched.
        sides = np.repeat([0, 1], [len(photos), len(paths)])
        files = [
            *((photo.item.path, photo.file.sha256) for photo in photos),
            *((path, photo.sha256) for path, photo in zip(paths, evaluated, strict=True)),
        ]
        for pair in _geometric_matches(files, photos, sides) or []:
            close[min(pair.first, pair.second)] = True
        reason = f"near duplicates of validation or test photos of {name}"
        excluded += [(photo, reason) for photo, out in zip(photos, close, strict=True) if out]
        photos = [photo for photo, out in zip(photos, close, strict=True) if not out]
    return photos, excluded


def _geometric_matches(
    files: Sequence[tuple[Path, str]], photos: Sequence[ScannedFile], groups: np.ndarray
) -> list[MatchedPair] | None:
    """Returns the geometric matches among files, each with its digest.

    Returns None if some `photos` are not pictures or there are too many files.
    """
    if len(files) > geometric_matches.MOST or any(photo.file.signature is None for photo in photos):
        return None
    return geometric_matches.matches(lumas(files), groups)


def _signature(photo: ScannedFile) -> near_duplicates.Signature:
    return photo.file.signature or near_duplicates.PLAIN
