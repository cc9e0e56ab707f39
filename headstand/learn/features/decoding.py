"""Photos and their views, decoded ahead of the network and put into batches."""

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import numpy as np

from headstand.images import ImageError
from headstand.inputs import Input
from headstand.learn.augment import chance, drawing
from headstand.learn.features.photo import FeatureError
from headstand.recipe import Augmentation

BATCH = 32
"""Images a step: 20 to 32 measured fastest on two cores, and what is lost at most when the work is interrupted."""

_AHEAD = 3
"""Batches that are decoded while one is computed."""

Job = tuple[Path, int, bytes | None]
"""A photo's file, a position, and the view's name; None for the photo itself."""


def grouped(jobs: Iterable[Job]) -> Iterator[list[Job]]:
    """Jobs of one photo together, at most a batch of them."""
    group: list[Job] = []
    for job in jobs:
        if group and (job[0] != group[0][0] or len(group) == BATCH):
            yield group
            group = []
        group.append(job)
    if group:
        yield group


def _pictures(group: Sequence[Job], kind: Input, augmentation: Augmentation) -> list[np.ndarray]:
    """One photo itself and as views, as the network's input has it."""
    path = group[0][0]
    try:
        data = kind.read(path)
        draw = drawing(data, kind, augmentation) if any(name for _, _, name in group) else None
        return [draw(chance(name)) if draw and name else kind.decode(data) for _, _, name in group]
    except ImageError as error:
        raise FeatureError(f"{path}: {error}; take it out of the source and prepare again") from error


def decoded(
    groups: Iterator[list[Job]], kind: Input, augmentation: Augmentation, threads: int | None = None
) -> Iterator[tuple[list[int], np.ndarray]]:
    """Batches of positions and of the network's input, decoded ahead on threads (Pillow frees the interpreter)."""
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
