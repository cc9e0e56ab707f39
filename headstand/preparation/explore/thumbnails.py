"""Thumbnails and mean images of a prepared dataset, from the small pictures of its examined photos."""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image

from headstand import threads
from headstand.errors import HeadstandError
from headstand.images import ImageError
from headstand.preparation.examination import examined
from headstand.preparation.manifest import Dataset, Photo, preparing
from headstand.preparation.photo_cache import SIDE, fitted

SMALL = 72
"""Longest side in pixels of a photo if there are more than `FEW` classes."""

FEW = 16
"""Maximum number of classes for which photos are shown large, with a longest side of `SIDE`."""

SHOWN = 8
"""Number of photos of each class that are shown."""

AVERAGED = 100
"""Maximum number of photos in the mean image of a class.

It bounds the time by the number of classes instead of the number of photos."""


class ThumbnailError(HeadstandError):
    """Raised if a prepared file is missing or damaged."""


@dataclass(frozen=True)
class Thumbnails:
    """Thumbnails and mean images for the plots and the report.

    Attributes:
        side: longest side of a thumbnail in pixels.
        shown: sample photos by class, at most `SHOWN` each.
        pictures: thumbnails by a photo's path, `uint8 [height, width, 3]`, uncropped, the longest side `side`.
        means: mean images by class of at most `AVERAGED` photos squashed to a square, `uint8 [SIDE, SIDE, 3]`.
    """

    side: int
    shown: dict[str, list[Photo]]
    pictures: dict[str, np.ndarray]
    means: dict[str, np.ndarray]

    @classmethod
    def of(cls, dataset: Dataset, others: Iterable[Photo] = ()) -> "Thumbnails":
        """Reads the photos that are shown or averaged, class by class, with as many threads as cores.

        Args:
            dataset: prepared dataset of photos, or of arrays `[..., height, width]`, which are summed over the leading
                axes.
            others: photos that need a thumbnail in addition to the sample photos of the classes.

        Raises:
            ThumbnailError: a file is missing or damaged.
        """
        members: dict[str, list[Photo]] = defaultdict(list)
        for photo in dataset.photos:
            members[photo.class_].append(photo)
        side = SIDE if len(members) <= FEW else SMALL
        shown = {name: _evenly(members[name], SHOWN) for name in dataset.classes}
        wanted = {photo.path for photos in shown.values() for photo in photos} | {photo.path for photo in others}
        pictures: dict[str, np.ndarray] = {}
        means: dict[str, np.ndarray] = {}
        for name in dataset.classes:
            averaged = {photo.path for photo in _evenly(members[name], AVERAGED)}
            needed = [photo for photo in members[name] if photo.path in averaged | wanted]
            total = np.zeros((SIDE, SIDE, 3), dtype=np.uint32)
            small = threads.parallel(partial(_read, dataset.folder, wanted, side), needed)
            for photo, (square, whole) in zip(needed, small, strict=True):
                if photo.path in averaged:
                    total += square
                if whole is not None:
                    pictures[photo.path] = whole
            means[name] = np.round(total / len(averaged)).astype(np.uint8)
        return cls(side, shown, pictures, means)


def stretched(picture: np.ndarray) -> np.ndarray:
    """Returns a picture with its contrast stretched to the full range, `uint8 [height, width, 3]`.

    The stretching maps the 1st and 99th percentiles to 0 and 255; pictures where they differ by less than 8 are
    returned unchanged. Mean images need it because their contrast is low.
    """
    low, high = np.percentile(picture, (1, 99))
    if high - low < 8:
        return picture
    return np.clip((picture - low) * (255 / (high - low)), 0, 255).astype(np.uint8)


def _read(folder: Path, wanted: set[str], side: int, photo: Photo) -> tuple[np.ndarray, np.ndarray | None]:
    """Reads a file as a square of `SIDE` pixels and, if its path is in `wanted`, also as a thumbnail, otherwise None.

    Raises:
        ThumbnailError: the file is missing or damaged.
    """
    path = folder / photo.path
    try:
        if path.suffix == ".npy":
            square, size = _heat(path)
        else:
            known = examined(path, photo.sha256)
            square, size = known.color, known.file.upright
    except (ImageError, OSError, EOFError, ValueError, TypeError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else error
        raise ThumbnailError(
            f"{path} cannot be shown ({reason}): remove {folder} and run `{preparing(folder)}`"
        ) from error
    return square, fitted(square, size, side) if photo.path in wanted else None


def _heat(path: Path) -> tuple[np.ndarray, tuple[int, int]]:
    """Reads an array of heatmaps `[..., height, width]` as a grayscale picture.

    Returns:
        The sum over the leading axes, scaled from black to white, `uint8 [SIDE, SIDE, 3]`; and width and height of the
        heatmaps.

    Raises:
        ValueError: the file is not a numeric array with at least two axes.
    """
    array = np.load(path, mmap_mode="r", allow_pickle=False)
    if array.ndim < 2 or not array.size:
        raise ValueError(f"its shape is {list(array.shape)}")
    heat = np.nan_to_num(np.asarray(array, dtype=np.float64).reshape(-1, *array.shape[-2:])).sum(axis=0)
    span = heat.max() - heat.min()
    grey = np.round((heat - heat.min()) * (255 / span if span else 0)).astype(np.uint8)
    square = Image.fromarray(grey).convert("RGB").resize((SIDE, SIDE), Image.Resampling.BILINEAR)
    return np.asarray(square), (grey.shape[1], grey.shape[0])


def _evenly(photos: list[Photo], count: int) -> list[Photo]:
    """Returns at most `count` photos at even intervals; in file order, neighbours are often similar."""
    indices = np.linspace(0, len(photos) - 1, min(count, len(photos))).round().astype(int)
    return [photos[index] for index in indices]
