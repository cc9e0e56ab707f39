"""Decodes photos and their views on threads, ahead of the network, and groups them into batches."""

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import numpy as np

from headstand.features.augmentation import chance, drawing
from headstand.features.photo import FeatureError
from headstand.images import ImageError
from headstand.inputs import InputKind
from headstand.recipe import Augmentation

BATCH = 32
"""Images per step: 20 to 32 measured fastest on two cores. An interruption loses at most one batch."""

_AHEAD = 3
"""Batches that are decoded while the network computes one."""

Job = tuple[Path, int, bytes | None]
"""A photo's file, a row index, and the view's cache key; None instead of the key for the unaugmented photo."""


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


def _pictures(group: Sequence[Job], kind: InputKind, augmentation: Augmentation) -> list[np.ndarray]:
    """Returns one photo and its views, as listed in `group`, in shape and dtype of the network's input.

    Raises:
        FeatureError: the photo cannot be decoded.
    """
    path = group[0][0]
    try:
        data = kind.read(path)
        draw = drawing(data, kind, augmentation) if any(name for _, _, name in group) else None
        return [draw(chance(name)) if draw and name else kind.decode(data) for _, _, name in group]
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
                ahead.append((group, pool.submit(_pictures, group, kind, augmentation)))
                waiting += len(group)
            if not ahead:
                break
            group, future = ahead.popleft()
            waiting -= len(group)
            for (_, place, _), picture in zip(group, future.result(), strict=True):
                batch.append((place, picture))
                if len(batch) == BATCH:
                    yield [place for place, _ in batch], np.stack([picture for _, picture in batch])
                    batch.clear()
        if batch:
            yield [place for place, _ in batch], np.stack([picture for _, picture in batch])
