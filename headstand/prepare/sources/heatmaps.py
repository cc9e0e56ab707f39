"""The source `heatmaps`: what a pose network says of where 17 joints are, one `.npy` file a person, a folder a class.

The frames of one sequence are nearly alike, so they stay in one split: else the test photos are the training ones, and
the test says nothing. Which sequence a frame is of, its file's name tells.
"""

import hashlib
import re
import warnings
from collections import defaultdict
from dataclasses import replace
from pathlib import Path

from headstand import heatmaps, recipe
from headstand.errors import HeadstandError
from headstand.prepare.examined import Examined
from headstand.prepare.listing import Item, Listing
from headstand.prepare.manifest import SPLITS, nfc
from headstand.prepare.sources import archive, folder

GROUPS = r"^(?:(\d+)|(.+?)[ _.-]*\d*)(?:[ _.-]?(?:flip(?:ped)?|mirror(?:ed)?))?$"
"""What names a sequence where the recipe has no pattern: the file's name without its last number and without the mark
of a mirror image (`girl1_chair070_flipped` is `girl1_chair`); a name that is a number stands for itself."""


class SequenceError(HeadstandError):
    """A pattern that is none, or names that reveal too few sequences."""


def listing(source: recipe.Source, seed: int) -> Listing:
    """List the `.npy` files of `source.folder` by class folder, each with its sequence as its group; none is opened.

    `source.groups` is a regular expression that is searched for in the file's path below its class folder, without the
    `.npy`. What its groups catch, or all of it where it has none, names the sequence or person, in whatever class it is
    met. A file that it does not fit stands for itself. Without a pattern `GROUPS` is used, within each class.

    Raises:
        SequenceError: the pattern is no regular expression, or a class has too few sequences to divide.
        RecipeError, FolderError, ArchiveError: as the source `folder`.
    """
    found = folder.class_folders(archive.unpacked(source.folder or ""), (".npy",), source.layout, sequences=True)
    pattern = _compiled(source.groups)
    items = tuple(replace(item, group=_group(item, found.root, pattern, bool(source.groups))) for item in found.items)
    if not any(item.split for item in items):
        _check_enough(items, source.groups)
    return replace(found, items=items)


def examine(path: Path) -> Examined:
    """What preparation needs to know of a heatmap; it has no signature, so only exact copies are twins.

    Raises:
        HeatmapError: as `headstand.heatmaps.decode`.
    """
    data = heatmaps.read(path)
    heatmaps.decode(data)
    return Examined(".npy", hashlib.sha256(data).hexdigest(), heatmaps.WIDTH, heatmaps.HEIGHT, None)


def _compiled(pattern: str | None) -> re.Pattern[str]:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # of what a future version of Python will read otherwise
            return re.compile(pattern or GROUPS)
    except (re.error, RecursionError, OverflowError, Warning) as error:
        raise SequenceError(
            f"source.groups = '{pattern or '':.80}' is not a regular expression ({error}): "
            r"it should read as '^(girl\d+|guy\d+)', where the brackets hold what names a sequence or person"
        ) from None


def _group(item: Item, root: Path, pattern: re.Pattern[str], given: bool) -> str:
    """The name of an item's sequence; empty where its name reveals none."""
    inside = [nfc(part) for part in item.path.relative_to(root).with_suffix("").parts]
    name = "/".join(inside[inside.index(item.class_) + 1 :] if item.class_ in inside[:-1] else inside)
    match = pattern.search(name)
    caught = (match.groups() or (match[0],)) if match else ()
    key = "/".join(part for part in caught if part)
    # The default pattern knows sequences, not persons: those of two classes have nothing to do with each other.
    return key if given or not key else f"{item.class_}/{key}"


def _check_enough(items: tuple[Item, ...], pattern: str | None) -> None:
    """Each class has a sequence for each split; a file without one stands for itself.

    Raises:
        SequenceError: one has not.
    """
    sequences: dict[str, set[str]] = defaultdict(set)
    for item in items:
        sequences[item.class_].add(item.group or str(item.path))
    for name, groups in sequences.items():
        if len(groups) < len(SPLITS):
            said = f"by source.groups = {pattern!r}" if pattern else "by their names"
            raise SequenceError(
                f"the files of class {name!r} are {said} of {len(groups)} sequence{'s' * (len(groups) != 1)} only "
                f"({', '.join(sorted(groups))}), and the splits need three: give another pattern with --source.groups; "
                "'.+' takes each file for itself, and then the test may know its frames' neighbours"
            )
