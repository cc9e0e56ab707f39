"""Which photos belong together, so that they never lie in two splits: twins, probable twins, what the source ties."""

import os
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from tqdm import tqdm

from headstand.images import decode
from headstand.prepare import alignment, likely, twins
from headstand.prepare.manifest import Dataset
from headstand.prepare.scan import Candidate

LUMA = np.array([0.299, 0.587, 0.114])
"""ITU-R BT.601."""


def alike(photos: Sequence[Candidate]) -> tuple[np.ndarray, list[likely.Pair] | None]:
    """Find out which photos show the same picture.

    Probable twins, the same picture turned or cropped, are searched among at most `likely.MOST` photos. A pair that is
    no pair costs a photo its free place; one that is missed costs the test its honesty.

    Returns:
        Group numbers, `int64 [N]`, from 0 by first appearance: twins share one, and so do probable twins. And the pairs
        of probable twins by their places; None where they were not searched.

    Raises:
        ImageError: a file that has been damaged since it was read.
    """
    sure = twins.groups([_signature(photo) for photo in photos], [photo.file.sha256 for photo in photos])
    pairs = _likely([photo.item.path for photo in photos], photos, sure)
    return _joined(sure, pairs or []), pairs


def apart(photos: list[Candidate], others: dict[str, Dataset]) -> tuple[list[Candidate], list[tuple[Candidate, str]]]:
    """Leave out the photos that have a twin, or a probable one, among the validation and test photos of `others`.

    Args:
        photos: of this dataset.
        others: prepared datasets by name.

    Returns:
        The photos that stay, and those that do not with the reason.

    Raises:
        ImageError: a file that has been damaged since it was read.
    """
    near: list[tuple[Candidate, str]] = []
    for name, dataset in others.items():
        examined = [*dataset.split("validation"), *dataset.split("test")]
        paths = [dataset.folder / photo.path for photo in examined]
        digests = {photo.sha256 for photo in examined}
        close = twins.twins_of_any([_signature(photo) for photo in photos], twins.signatures(paths))
        close |= np.array([photo.file.sha256 in digests for photo in photos], dtype=bool)
        # Only pairs across count: all photos of one side are taken for one group.
        sides = np.repeat([0, 1], [len(photos), len(paths)])
        for pair in _likely([*(photo.item.path for photo in photos), *paths], photos, sides) or []:
            close[min(pair.first, pair.second)] = True
        reason = f"twins of validation or test photos of {name}"
        near += [(photo, reason) for photo, out in zip(photos, close, strict=True) if out]
        photos = [photo for photo, out in zip(photos, close, strict=True) if not out]
    return photos, near


def _joined(groups: np.ndarray, pairs: Sequence[likely.Pair]) -> np.ndarray:
    """The groups with those of each pair made one, numbered as before by first appearance."""
    links = coo_array(
        (np.ones(len(pairs)), (groups[[p.first for p in pairs]], groups[[p.second for p in pairs]])),
        shape=(int(groups.max(initial=-1)) + 1,) * 2,
    )
    labels = connected_components(links, directed=False)[1][groups] if len(groups) else groups
    _, where, numbers = np.unique(labels, return_index=True, return_inverse=True)
    return np.argsort(np.argsort(where))[numbers].astype(np.int64)


def _likely(paths: Sequence[Path], photos: Sequence[Candidate], groups: np.ndarray) -> list[likely.Pair] | None:
    """Probable twins among files; None where some are no pictures or there are too many to search."""
    if len(paths) > likely.MOST or any(photo.file.signature is None for photo in photos):
        return None
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        work = pool.map(_thumbnail, paths)
        shown = tqdm(work, "comparing", len(paths), unit="photo", leave=False, disable=not sys.stderr.isatty())
        thumbnails = np.array(list(shown), dtype=np.uint8).reshape(-1, alignment.SIDE, alignment.SIDE)
    return likely.pairs(thumbnails, groups)


def _thumbnail(path: Path) -> np.ndarray:
    return (decode(path, alignment.SIDE, large=True) @ LUMA).astype(np.uint8)


def _signature(photo: Candidate) -> twins.Signature:
    return photo.file.signature or twins.PLAIN
