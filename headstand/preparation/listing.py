"""Listing of a data source before any file is opened: items with their class, group and split."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

SPLIT_NAMES = {
    "train": "train", "training": "train", "trn": "train",
    "validation": "validation", "val": "validation", "valid": "validation", "validate": "validation",
    "dev": "validation",
    "test": "test", "testing": "test", "tst": "test", "eval": "test", "evaluation": "test", "holdout": "test",
}  # fmt: skip
"""Recognised names of splits in sources, in lower case, each with the split that it stands for."""

_NAMED = 5
"""Maximum number of names that a message lists."""


@dataclass(frozen=True)
class Item:
    """One file of a source.

    Attributes:
        class_: label.
        path: the file.
        group: name of the group that the source defines (crops of one photo, frames of one sequence). Items of a group
            never lie in two splits. Empty if the source defines no group.
        split: `train`, `validation` or `test` if the source has predefined splits; empty if Headstand is to choose.
    """

    class_: str
    path: Path
    group: str = ""
    split: str = ""


@dataclass(frozen=True)
class Listing:
    """All items of a source.

    Attributes:
        root: a folder that contains all items.
        classes: labels in natural order.
        items: in natural order of class and path.
        ignored: number of visible files below `root` that are not items by their name.
        links: number of symbolic links that were not followed.
        left_out: name and reason of each entry that cannot be an item, such as an object whose bounding box lies
            outside of its photo.
        lines: lines to print about the recognised layout and the folders that were left out.
    """

    root: Path
    classes: tuple[str, ...]
    items: tuple[Item, ...]
    ignored: int = 0
    links: int = 0
    left_out: tuple[tuple[str, str], ...] = ()
    lines: tuple[str, ...] = ()


def enumeration(names: Sequence[str]) -> str:
    """Returns the first names, separated by commas, and the number of the others, for a message."""
    return ", ".join(names[:_NAMED]) + (f" and {len(names) - _NAMED} more" if len(names) > _NAMED else "")


def counted(count: int, noun: str) -> str:
    """Returns a number with its noun, `1 photo` or `2 photos`, for a message."""
    return f"{count} {noun}{'s' * (count != 1)}"
