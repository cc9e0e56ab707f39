"""Source `heatmaps`: heatmaps of 17 joints from a pose network, one `.npy` file per person, one folder per class.

The frames of one sequence are near duplicates. They stay in one split, else training frames leak into the test split.
The sequence of a frame is derived from its file name.
"""

import hashlib
import re
import warnings
from collections import defaultdict
from dataclasses import replace
from pathlib import Path

from headstand import recipe
from headstand.errors import HeadstandError
from headstand.poses import heatmap_file
from headstand.preparation.file_metadata import FileMetadata
from headstand.preparation.listing import Item, Listing
from headstand.preparation.manifest import SPLITS, nfc
from headstand.preparation.sources import archive, folder

GROUPS = r"^(?:(\d+)|(.+?)[ _.-]*\d*)(?:[ _.-]?(?:flip(?:ped)?|mirror(?:ed)?))?$"
"""Default pattern for the name of a sequence: the file's name without its last number and without the suffix of a
mirror image (`girl1_chair070_flipped` is `girl1_chair`). A name that is only a number is a sequence of its own."""


class SequenceError(HeadstandError):
    """Raised if the pattern is not a regular expression, or yields too few sequences."""


def listing(source: recipe.Source, seed: int) -> Listing:
    """Lists the `.npy` files of `source.folder` by class folder, with the sequence as group, without opening them.

    `source.groups` is a regular expression that is searched for in the file's path below its class folder, without
    `.npy`. The text of its groups, or of the whole match if it has none, is the name of the sequence or person, across
    classes. A file without a match is a sequence of its own. Without `source.groups`, `GROUPS` is used, and sequences
    of different classes are distinct.

    Raises:
        SequenceError: the pattern is not a regular expression, or a class has too few sequences to split.
        RecipeError, FolderError, ArchiveError: as the source `folder`.
    """
    found = folder.class_folders(archive.unpacked(source.folder or ""), (".npy",), source.layout, sequences=True)
    pattern = _compiled(source.groups)
    items = tuple(replace(item, group=_group(item, found.root, pattern, bool(source.groups))) for item in found.items)
    if not any(item.split for item in items):
        _check_enough(items, source.groups)
    return replace(found, items=items)


def examine(path: Path) -> FileMetadata:
    """Returns digest and size of a heatmap file; it has no signature, so only exact duplicates are detected.

    Raises:
        HeatmapError: as `headstand.poses.heatmap_file.decode`.
    """
    data = heatmap_file.read(path)
    heatmap_file.decode(data)
    return FileMetadata(".npy", hashlib.sha256(data).hexdigest(), heatmap_file.WIDTH, heatmap_file.HEIGHT, None)


def _compiled(pattern: str | None) -> re.Pattern[str]:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # refuse patterns that a future version of Python will read differently
            return re.compile(pattern or GROUPS)
    except (re.error, RecursionError, OverflowError, Warning) as error:
        raise SequenceError(
            f"source.groups = '{pattern or '':.80}' is not a regular expression ({error}): "
            r"use one such as '^(girl\d+|guy\d+)', whose group identifies a sequence or person"
        ) from None


def _group(item: Item, root: Path, pattern: re.Pattern[str], given: bool) -> str:
    """Returns the name of an item's sequence; empty if the pattern does not match its name."""
    inside = [nfc(part) for part in item.path.relative_to(root).with_suffix("").parts]
    name = "/".join(inside[inside.index(item.class_) + 1 :] if item.class_ in inside[:-1] else inside)
    match = pattern.search(name)
    groups = (match.groups() or (match[0],)) if match else ()
    key = "/".join(part for part in groups if part)
    # The default pattern yields sequences, not persons, so equal names in two classes are unrelated.
    return key if given or not key else f"{item.class_}/{key}"


def _check_enough(items: tuple[Item, ...], pattern: str | None) -> None:
    """Checks that each class has at least one sequence per split; a file without a group is its own sequence.

    Raises:
        SequenceError: a class has fewer.
    """
    sequences: dict[str, set[str]] = defaultdict(set)
    for item in items:
        sequences[item.class_].add(item.group or str(item.path))
    for name, groups in sequences.items():
        if len(groups) < len(SPLITS):
            rule = f"source.groups = {pattern!r}" if pattern else "the file names"
            raise SequenceError(
                f"the files of class {name!r} form only {len(groups)} sequence{'s' * (len(groups) != 1)} by {rule} "
                f"({', '.join(sorted(groups))}), and the splits need three: set another pattern with --source.groups; "
                "'.+' treats each file as a sequence, so that neighbouring frames may be in different splits"
            )
