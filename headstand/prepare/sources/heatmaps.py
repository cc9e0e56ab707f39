"""The source `heatmaps`: what a pose network says of where 17 joints are, one `.npy` file a person, a folder a class.

The frames of one sequence are nearly alike, so they stay in one split: else the test photos are the training ones, and
the test says nothing. Which sequence a frame is of, its file's name tells.
"""

import hashlib
import math
import mmap
import re
import warnings
from collections import defaultdict
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from headstand import recipe
from headstand.errors import HeadstandError
from headstand.prepare.examined import Examined
from headstand.prepare.listing import Item, Listing
from headstand.prepare.manifest import SPLITS
from headstand.prepare.sources import archive, folder

SHAPE = (1, 17, 64, 48)
"""A batch of one, COCO's 17 keypoints, height and width: what ViTPose gives (Xu et al. 2022, arXiv:2204.12484)."""

HEIGHT, WIDTH = SHAPE[2:]

GROUPS = r"^(?:(\d+)|(.+?)[ _.-]*\d*)(?:[ _.-]?(?:flip(?:ped)?|mirror(?:ed)?))?$"
"""What names a sequence where the recipe has no pattern: the file's name without its last number and without the mark
of a mirror image (`girl1_chair070_flipped` is `girl1_chair`); a name that is a number stands for itself."""

MAX_BYTES = 2**20
"""Largest file that is opened; a heatmap has 209,024 bytes, and one of double precision twice as many."""


class HeatmapError(HeadstandError):
    """A pattern that is none, names that reveal too few sequences, or a file that is no heatmap."""


def listing(source: recipe.Source, seed: int) -> Listing:
    """List the `.npy` files of `source.folder` by class folder, each with its sequence as its group; none is opened.

    `source.groups` is a regular expression that is searched for in the file's path below its class folder, without the
    `.npy`. What its groups catch, or all of it where it has none, names the sequence or person, in whatever class it is
    met. A file that it does not fit stands for itself. Without a pattern `GROUPS` is used, within each class.

    Raises:
        HeatmapError: the pattern is no regular expression, or a class has too few sequences to divide.
        RecipeError, FolderError, ArchiveError: as the source `folder`.
    """
    found = folder.class_folders(archive.unpacked(source.folder or ""), (".npy",))
    pattern = _compiled(source.groups)
    items = tuple(replace(item, group=_group(item, found.root, pattern, bool(source.groups))) for item in found.items)
    if not any(item.split for item in items):
        _check_enough(items, source.groups)
    return replace(found, items=items)


def read(path: Path) -> npt.NDArray[np.float32]:
    """A heatmap, `float32 [1, 17, 64, 48]`, mapped from its file: what is not looked at is not read.

    Raises:
        HeatmapError: no array of that shape and type, or cut short. Python objects in it are never loaded.
    """
    size = path.stat().st_size
    if size > MAX_BYTES:
        raise HeatmapError(f"it has {size:,} bytes; a heatmap has {_bytes():,} and a short header")
    with path.open("rb") as file, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of headers that Python 2 wrote, which are read all the same
        try:
            version = np.lib.format.read_magic(file)
            header = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}[version]
            shape, fortran, dtype = header(file)
        except (
            Exception
        ) as error:  # NumPy evaluates the header, so that ValueError, TokenError, MemoryError and more come
            raise HeatmapError("it is not a NumPy array file, or its header is damaged") from error
        start = file.tell()
    if dtype != np.dtype("<f4"):
        raise HeatmapError(f"its numbers are {dtype}, not float32 (little-endian)")
    if shape != SHAPE:
        raise HeatmapError(f"its shape is {list(shape)}, not {list(SHAPE)}")
    if size != start + _bytes():
        raise HeatmapError(f"it has {size - start:,} bytes of numbers, not {_bytes():,}: it is cut short or damaged")
    return np.memmap(path, np.dtype("<f4"), "r", start, SHAPE, "F" if fortran else "C")


def examine(path: Path) -> Examined:
    """What preparation needs to know of a heatmap; it has no signature, so only exact copies are twins.

    Raises:
        HeatmapError: as `read`, or numbers that are infinite or none.
        OSError: it cannot be read.
    """
    strange = int(np.count_nonzero(~np.isfinite(read(path))))
    if strange:
        raise HeatmapError(f"{strange:,} of its numbers are infinite or not a number")
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        return Examined(".npy", hashlib.sha256(data).hexdigest(), WIDTH, HEIGHT, None)


def _bytes() -> int:
    return 4 * math.prod(SHAPE)


def _compiled(pattern: str | None) -> re.Pattern[str]:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # of what a future version of Python will read otherwise
            return re.compile(pattern or GROUPS)
    except (re.error, RecursionError, OverflowError, Warning) as error:
        raise HeatmapError(
            f"source.groups = '{pattern or '':.80}' is not a regular expression ({error}): "
            r"it should read as '^(girl\d+|guy\d+)', where the brackets hold what names a sequence or person"
        ) from None


def _group(item: Item, root: Path, pattern: re.Pattern[str], given: bool) -> str:
    """The name of an item's sequence; empty where its name reveals none."""
    inside = item.path.relative_to(root).with_suffix("").parts
    name = "/".join(inside[inside.index(item.class_) + 1 :])
    match = pattern.search(name)
    caught = (match.groups() or (match[0],)) if match else ()
    key = "/".join(part for part in caught if part)
    # The default pattern knows sequences, not persons: those of two classes have nothing to do with each other.
    return key if given or not key else f"{item.class_}/{key}"


def _check_enough(items: tuple[Item, ...], pattern: str | None) -> None:
    """Each class has a sequence for each split; a file without one stands for itself.

    Raises:
        HeatmapError: one has not.
    """
    sequences: dict[str, set[str]] = defaultdict(set)
    for item in items:
        sequences[item.class_].add(item.group or str(item.path))
    for name, groups in sequences.items():
        if len(groups) < len(SPLITS):
            said = f"by source.groups = {pattern!r}" if pattern else "by their names"
            raise HeatmapError(
                f"the files of class {name!r} are {said} of {len(groups)} sequence{'s' * (len(groups) != 1)} only "
                f"({', '.join(sorted(groups))}), and the splits need three: give another pattern with --source.groups; "
                "'.+' takes each file for itself, and then the test may know its frames' neighbours"
            )
