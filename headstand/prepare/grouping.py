"""Grouping of near duplicates and geometric matches, so that a group never lies in two splits."""

import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from tqdm import tqdm

from headstand import cores
from headstand.images import decode
from headstand.prepare import alignment, geometric_matches, near_duplicates
from headstand.prepare.manifest import Dataset
from headstand.prepare.scan import ScannedFile


def near_duplicate_groups(
    photos: Sequence[ScannedFile],
) -> tuple[np.ndarray, list[geometric_matches.MatchedPair] | None]:
    """Groups photos that show the same picture.

    Geometric matches, the same picture rotated or cropped, are searched among at most `likely.MOST` photos. A false
    match only constrains the split; a missed match leaks a training image into the test split.

    Returns:
        Group numbers, `int64 [N]`, from 0 by first appearance: near duplicates and geometric matches share one. And the
        pairs of geometric matches, as indices into `photos`; None if they were not searched.

    Raises:
        ImageError: a file has been damaged since it was read.
    """
    sure = near_duplicates.groups([_signature(photo) for photo in photos], [photo.file.sha256 for photo in photos])
    pairs = _likely([photo.item.path for photo in photos], photos, sure)
    return _joined(sure, pairs or []), pairs


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
    near: list[tuple[ScannedFile, str]] = []
    for name, dataset in others.items():
        examined = [*dataset.split("validation"), *dataset.split("test")]
        paths = [dataset.folder / photo.path for photo in examined]
        digests = {photo.sha256 for photo in examined}
        close = near_duplicates.near_duplicates_of_any(
            [_signature(photo) for photo in photos], near_duplicates.signatures(paths)
        )
        close |= np.array([photo.file.sha256 in digests for photo in photos], dtype=bool)
        # Only pairs between the two datasets count: pairs within one group are not searched.
        sides = np.repeat([0, 1], [len(photos), len(paths)])
        for pair in _likely([*(photo.item.path for photo in photos), *paths], photos, sides) or []:
            close[min(pair.first, pair.second)] = True
        reason = f"twins of validation or test photos of {name}"
        near += [(photo, reason) for photo, out in zip(photos, close, strict=True) if out]
        photos = [photo for photo, out in zip(photos, close, strict=True) if not out]
    return photos, near


def _joined(groups: np.ndarray, pairs: Sequence[geometric_matches.MatchedPair]) -> np.ndarray:
    """Returns group numbers after merging the two groups of each pair, numbered from 0 by first appearance."""
    links = coo_array(
        (np.ones(len(pairs)), (groups[[p.first for p in pairs]], groups[[p.second for p in pairs]])),
        shape=(int(groups.max(initial=-1)) + 1,) * 2,
    )
    labels = connected_components(links, directed=False)[1][groups] if len(groups) else groups
    _, where, numbers = np.unique(labels, return_index=True, return_inverse=True)
    return np.argsort(np.argsort(where))[numbers].astype(np.int64)


def _likely(
    paths: Sequence[Path], photos: Sequence[ScannedFile], groups: np.ndarray
) -> list[geometric_matches.MatchedPair] | None:
    """Returns the geometric matches among files; None if some `photos` are not pictures or there are too many files."""
    if len(paths) > geometric_matches.MOST or any(photo.file.signature is None for photo in photos):
        return None
    with ThreadPoolExecutor(cores.available()) as pool:
        work = pool.map(_thumbnail, paths)
        shown = tqdm(work, "comparing", len(paths), unit="photo", leave=False, disable=not sys.stderr.isatty())
        thumbnails = np.array(list(shown), dtype=np.uint8).reshape(-1, alignment.SIDE, alignment.SIDE)
    return geometric_matches.matches(thumbnails, groups)


def _thumbnail(path: Path) -> np.ndarray:
    return (decode(path, alignment.SIDE, large=True) @ near_duplicates.LUMA).astype(np.uint8)


def _signature(photo: ScannedFile) -> near_duplicates.Signature:
    return photo.file.signature or near_duplicates.PLAIN
