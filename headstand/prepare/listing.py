"""What a source holds, before anything is opened: items with their class, and the source's word on group and split."""

from dataclasses import dataclass
from pathlib import Path

SPLIT_NAMES = {
    "train": "train", "training": "train",
    "validation": "validation", "val": "validation", "valid": "validation", "dev": "validation",
    "test": "test", "testing": "test", "eval": "test",
}  # fmt: skip
"""What the splits are called in sources that are divided already, in lower case."""


@dataclass(frozen=True)
class Item:
    """One file of a source.

    `group` names what belongs together by the source's own word (crops of one photo, frames of one sequence): such
    items never lie in two splits; empty where the source says nothing. `split` is `train`, `validation` or `test` where
    the source has divided its items itself; empty where Headstand is to choose.
    """

    class_: str
    path: Path
    group: str = ""
    split: str = ""


@dataclass(frozen=True)
class Listing:
    """All items of a source.

    `items` are in natural order of class and path, all below `root`; `classes` in natural order; `ignored` counts the
    files that are no items by their name, hidden files and links that lead out of the source left aside; `links` counts
    those links. `left_out` has what cannot be an item, each with the reason why: an object's box outside of its photo.
    """

    root: Path
    classes: tuple[str, ...]
    items: tuple[Item, ...]
    ignored: int = 0
    links: int = 0
    left_out: tuple[tuple[str, str], ...] = ()
