"""Checks the digests of prepared photos, and decodes photos and views on threads, ahead of the network, in batches."""

import hashlib
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import numpy as np

from headstand.errors import HeadstandError
from headstand.features.augmentation import view_rng, view_sampler
from headstand.images import ImageError
from headstand.inputs import InputKind
from headstand.preparation.manifest import Photo, preparing
from headstand.recipe import Augmentation

BATCH = 32
"""Images per step: 20 to 32 measured fastest on two cores. An interruption loses at most one batch."""

_AHEAD = 3
"""Batches that are decoded while the network computes one."""

Job = tuple[Path, int, bytes | None]
"""A photo's file, a row index, and the view's cache key; None instead of the key for the unaugmented photo."""


class FeatureError(HeadstandError):
    """Features cannot be computed, as when a prepared photo is missing, damaged or changed since preparation."""


def digest(folder: Path, photo: Photo) -> bytes:
    """Returns the SHA-256 of a prepared photo's bytes.

    Raises:
        FeatureError: the file is missing, or its bytes are not those of the manifest.
    """
    path = folder / photo.path
    try:
        sha256 = hashlib.sha256(path.read_bytes())
    except OSError as error:
        raise FeatureError(
            f"cannot read the prepared photo {path} ({error.strerror}): run `{preparing(folder)}`"
        ) from error
    if sha256.hexdigest() != photo.sha256:
        raise FeatureError(f"{path} is not the file that was prepared: run `{preparing(folder)}`")
    return sha256.digest()


def grouped(jobs: Iterable[Job]) -> Iterator[list[Job]]:
    """Yields lists of consecutive jobs of the same photo, each of at most `BATCH` jobs."""
    group: list[Job] = []
    for job in jobs:
        if group and (job[0] != group[0][0] or len(group) == BATCH):
            yield group
            group = []
        group.append(job)
    if group:
        yield group


def _decode_group(group: Sequence[Job], kind: InputKind, augmentation: Augmentation) -> list[np.ndarray]:
    """Returns the decoded photo and its views, as listed in `group`, in shape and dtype of the network's input.

    Raises:
        FeatureError: the photo cannot be decoded.
    """
    path = group[0][0]
    try:
        data = kind.read(path)
        sample = view_sampler(data, kind, augmentation) if any(key for _, _, key in group) else None
        return [sample(view_rng(key)) if sample and key else kind.decode(data) for _, _, key in group]
    except ImageError as error:
        raise FeatureError(f"{path}: {error}; take it out of the source and prepare again") from error


def decoded(
    groups: Iterator[list[Job]], kind: InputKind, augmentation: Augmentation, threads: int | None = None
) -> Iterator[tuple[list[int], np.ndarray]]:
    """Yields batches of row indices and of the network's input, decoded ahead on threads (Pillow releases the GIL).

    Args:
        groups: jobs, grouped by photo.
        kind: input of the network.
        augmentation: settings of the views.
        threads: number of threads; None for the default of `ThreadPoolExecutor`.

    Raises:
        FeatureError: a photo cannot be decoded.
    """
    with ThreadPoolExecutor(threads) as pool:
        ahead: deque[tuple[list[Job], Future[list[np.ndarray]]]] = deque()
        waiting, batch = 0, list[tuple[int, np.ndarray]]()
        while True:
            while waiting <= _AHEAD * BATCH and (group := next(groups, None)):
                ahead.append((group, pool.submit(_decode_group, group, kind, augmentation)))
                waiting += len(group)
            if not ahead:
                break
            group, future = ahead.popleft()
            waiting -= len(group)
            for (_, index, _), array in zip(group, future.result(), strict=True):
                batch.append((index, array))
                if len(batch) == BATCH:
                    yield [index for index, _ in batch], np.stack([array for _, array in batch])
                    batch.clear()
        if batch:
            yield [index for index, _ in batch], np.stack([array for _, array in batch])
