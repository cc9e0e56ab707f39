"""The source `table`: a CSV file that names each photo's label, and perhaps its split."""

import csv
import os
from pathlib import Path

from headstand import recipe
from headstand.errors import HeadstandError
from headstand.prepare.listing import SPLIT_NAMES, Item, Listing
from headstand.prepare.manifest import natural

COLUMNS = ("path", "label", "split")
"""What is read; `split` may be missing. Other columns are passed over."""


class TableError(HeadstandError):
    """A table that cannot be read as one of photos and labels."""


def listing(source: recipe.Source, seed: int) -> Listing:
    """What `source.table` names: comma-separated, UTF-8, with a line of column names.

    Paths are relative to the table's folder or absolute. A `split` is one of `listing.SPLIT_NAMES`, or empty where
    Headstand is to choose. Files that are missing are left out later, with their reason.

    Raises:
        RecipeError: there is no such table.
        TableError: no table, missing columns, an empty label, an unknown split, one photo with two labels or splits, no
            file that exists, or fewer than two labels.
    """
    table = recipe.locate(source.table or "", "HEADSTAND_DATA")
    items: dict[str, Item] = {}
    lines: dict[str, int] = {}
    for line, row in _rows(table):
        item = _item(table, line, row)
        key = str(item.path)
        if key in items and items[key] != item:
            other = items[key]
            what = ("label", other.class_, item.class_)
            if other.class_ == item.class_:
                what = ("split", other.split or "none", item.split or "none")
            raise TableError(
                f"{table} gives {row['path'].strip()!r} two {what[0]}s, {what[1]!r} in line {lines[key]} and "
                f"{what[2]!r} in line {line}: remove one"
            )
        items[key], lines[key] = item, line
    if not items:
        raise TableError(f"{table} has no rows below its column names")
    if not any(os.path.isfile(key) for key in items):  # noqa: PTH113 - the keys are texts
        first = next(iter(items))
        raise TableError(
            f"no file that {table} names exists, {first} for one: its paths are relative to its own folder"
        )
    classes = sorted({item.class_ for item in items.values()}, key=lambda name: (natural(name), name))
    if len(classes) == 1:
        raise TableError(f"{table} has the label {classes[0]!r} only: a classifier needs two or more")
    # As wide as the paths: photos may lie beside the table's folder.
    root = Path(os.path.commonpath([str(table.parent.absolute()), *(os.path.dirname(key) for key in items)]))  # noqa: PTH120
    place = {name: number for number, name in enumerate(classes)}
    ordered = sorted(items.items(), key=lambda entry: (place[entry[1].class_], natural(entry[0]), entry[0]))
    return Listing(root, tuple(classes), tuple(item for _, item in ordered))


def _rows(table: Path) -> list[tuple[int, dict[str, str]]]:
    """The table's rows with the number of the line each ends in."""
    try:
        # `utf-8-sig`: spreadsheets put a mark at the beginning.
        with table.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file, strict=True)
            names = [name.strip() for name in reader.fieldnames or []]
            if missing := [name for name in COLUMNS[:2] if name not in names]:
                raise TableError(
                    f"{table} has no column {' and no column '.join(missing)} but {', '.join(names) or 'none'}: its "
                    "first line must read path,label or path,label,split"
                )
            if len(set(names)) < len(names):
                raise TableError(f"{table} names a column twice: {', '.join(names)}")
            reader.fieldnames = names
            rows = [(reader.line_num, row) for row in reader]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise TableError(f"{table} cannot be read as a CSV file in UTF-8: {error}") from error
    for line, row in rows:
        if None in row or None in row.values():
            raise TableError(
                f"{table}, line {line}: it has not as many fields as there are columns ({', '.join(names)})"
            )
    return rows


def _item(table: Path, line: int, row: dict[str, str]) -> Item:
    name, label, split = row["path"].strip(), row["label"].strip(), row.get("split", "").strip()
    if not name or "\0" in name:
        raise TableError(f"{table}, line {line}: the path is empty")
    if not label:
        raise TableError(f"{table}, line {line}: {name!r} has no label")
    if split and split.casefold() not in SPLIT_NAMES:
        raise TableError(
            f"{table}, line {line}: {split!r} is no split; there are train, validation (val, valid) and test, or "
            "nothing where Headstand is to choose"
        )
    path = Path(os.path.normpath(table.parent.absolute() / name))
    return Item(label, path, split=SPLIT_NAMES.get(split.casefold(), ""))
