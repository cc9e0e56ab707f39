"""What a source holds, before anything is opened: items with their class, group and split."""

from dataclasses import dataclass
from pathlib import Path

SPLIT_NAMES = {
    "train": "train", "training": "train", "trn": "train",
    "validation": "validation", "val": "validation", "valid": "validation", "validate": "validation",
    "dev": "validation",
    "test": "test", "testing": "test", "tst": "test", "eval": "test", "evaluation": "test", "holdout": "test",
}  # fmt: skip
"""What the splits are called in sources that are divided already, in lower case."""


@dataclass(frozen=True)
class Item:
    """One file of a source.

    `group` names what belongs together according to the source (crops of one photo, frames of one sequence): such items
    never lie in two splits; empty where the source states nothing. `split` is `train`, `validation` or `test` where the
    source has divided its items itself; empty where Headstand is to choose.
    """

    class_: str
    path: Path
    group: str = ""
    split: str = ""


@dataclass(frozen=True)
class Listing:
    """All items of a source.

    Attributes:
        root: a folder that all items lie below.
        classes: in natural order.
        items: in natural order of class and path.
        ignored: how many visible files below `root` are no items by their name.
        links: how many symbolic links were not followed.
        left_out: what cannot be an item, each with the reason: an object whose box lies outside of its photo.
        lines: what was recognised, and what was left out by the folder that it lies in, as lines to print.
    """

    root: Path
    classes: tuple[str, ...]
    items: tuple[Item, ...]
    ignored: int = 0
    links: int = 0
    left_out: tuple[tuple[str, str], ...] = ()
    lines: tuple[str, ...] = ()
