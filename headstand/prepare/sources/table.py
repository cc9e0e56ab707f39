"""The source `table`: a CSV file that names each photo's label, and perhaps its split."""

import csv
import io
import os
from pathlib import Path

from headstand import recipe
from headstand.errors import HeadstandError
from headstand.prepare.listing import SPLIT_NAMES, Item, Listing
from headstand.prepare.manifest import natural, nfc
from headstand.prepare.sources.lookup import AmbiguousNameError, Files

COLUMNS = {
    "path": ("path", "file", "filename", "file_name", "filepath", "file_path", "image", "image_id", "id"),
    "label": ("label", "class", "category"),
    "split": ("split",),
}
"""The columns that are read, and what else their headers may be, in any case; other columns are ignored. A header that
comes first here is used where a table has several. `split` may be missing."""

_DELIMITERS = ",;\t|"


class TableError(HeadstandError):
    """A table that cannot be read as one of photos and labels."""


def listing(source: recipe.Source, seed: int) -> Listing:
    """The photos that `source.table` lists: comma-, semicolon- or tab-separated, UTF-8, with a line of column names.

    Paths are relative to the table's folder or absolute, or fit one file there as `lookup.Files.find` describes. A
    `split` is one of `listing.SPLIT_NAMES`, or empty where Headstand is to choose. Files that are missing are left out
    later, with their reason.

    Raises:
        RecipeError: there is no such table.
        TableError: no table, missing columns, an empty label, an unknown split, one photo with two labels or splits, a
            name that fits several files, no file that exists, or fewer than two labels.
    """
    table = recipe.locate(source.table or "", "HEADSTAND_DATA")
    rows = [(line, *_values(table, line, row)) for line, row in _rows(table)]
    try:
        paths = Files(table.parent).find([name for _, name, _, _ in rows])
    except AmbiguousNameError as error:
        raise TableError(f"{table}: {error}") from None
    items: dict[str, Item] = {}
    lines: dict[str, int] = {}
    for (line, name, label, split), path in zip(rows, paths, strict=True):
        item, key = Item(label, path, split=split), str(path)
        if key in items and items[key] != item:
            other = items[key]
            what = ("label", other.class_, item.class_)
            if other.class_ == item.class_:
                what = ("split", other.split or "none", item.split or "none")
            raise TableError(
                f"{table} gives {name!r} two {what[0]}s, {what[1]!r} in line {lines[key]} and "
                f"{what[2]!r} in line {line}: remove one"
            )
        items[key], lines[key] = item, line
    if not items:
        raise TableError(f"{table} has no rows below its column names")
    if not any(os.path.isfile(key) for key in items):  # noqa: PTH113 - the keys are texts
        raise TableError(f"no file that {table} names exists, {next(iter(items))} for one: {_cause(table, rows[0][1])}")
    classes = sorted({item.class_ for item in items.values()}, key=lambda name: (natural(name), name))
    if len(classes) == 1:
        raise TableError(f"{table} has the label {classes[0]!r} only: a classifier needs two or more")
    # As wide as the paths: photos may lie beside the table's folder.
    root = Path(os.path.commonpath([str(table.parent.absolute()), *(os.path.dirname(key) for key in items)]))  # noqa: PTH120
    place = {name: number for number, name in enumerate(classes)}
    ordered = sorted(items.items(), key=lambda entry: (place[entry[1].class_], natural(entry[0]), entry[0]))
    return Listing(root, tuple(classes), tuple(item for _, item in ordered))


def _cause(table: Path, name: str) -> str:
    """What is wrong with a table none of whose names fits a file."""
    text = "its paths are relative to its own folder"
    if name.startswith(("http://", "https://")):
        return f"{text}, and addresses are not downloaded: fetch the photos first"
    near = Files(table.parent).first_photo()
    return f"{text}, where {f'{near} lies' if near else 'no photos lie'}"


def _rows(table: Path) -> list[tuple[int, dict[str, str]]]:
    """The table's rows by column, with the number of the line that each ends in."""
    try:
        data = table.read_bytes()
        # Excel writes "Unicode text" as UTF-16, and a byte order mark before UTF-8.
        text = data.decode("utf-16" if data.startswith((b"\xff\xfe", b"\xfe\xff")) else "utf-8-sig")
        first = text.partition("\n")[0]
        if named := first.strip().lower().startswith("sep="):  # for Excel: the delimiter, in a line of its own
            first = text.partition("\n")[2].partition("\n")[0]
        delimiter = max(_DELIMITERS, key=first.count)
        reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True, skipinitialspace=True)
        lines = [(reader.line_num, [field.strip() for field in fields]) for fields in reader]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise TableError(f"{table} cannot be read as a CSV file in UTF-8: {error}") from error
    lines = [(line, fields) for line, fields in lines[named:] if any(fields)]
    header = lines[0][1] if lines else []
    columns = _columns(table, header)
    for line, fields in lines[1:]:
        # Spreadsheets write empty cells behind the last column, and leave out those of the last columns.
        if any(fields[len(header) :]) or len(fields) <= max(columns["path"], columns["label"]):
            raise TableError(
                f"{table}, line {line}: it has {len(fields)} fields, not as many as there are columns "
                f"({', '.join(name for name in header if name)}); a name that contains {delimiter!r} needs quotes"
            )
    return [
        (line, {name: fields[place] if place < len(fields) else "" for name, place in columns.items()})
        for line, fields in lines[1:]
    ]


def _columns(table: Path, header: list[str]) -> dict[str, int]:
    """Where `path`, `label` and, if it is there, `split` stand in the header."""
    names = [name.casefold() for name in header]
    if any(name and names.count(name) > 1 for name in names):
        raise TableError(f"{table} names a column twice: {', '.join(name for name in header if name)}")
    chosen = {
        column: names.index(next(name for name in known if name in names))
        for column, known in COLUMNS.items()
        if any(name in names for name in known)
    }
    if missing := [name for name in ("path", "label") if name not in chosen]:
        raise TableError(
            f"{table} has no column {' and no column '.join(missing)} but "
            f"{', '.join(name for name in header if name) or 'none'}: its first line must read path,label or "
            "path,label,split"
        )
    return chosen


def _values(table: Path, line: int, row: dict[str, str]) -> tuple[str, str, str]:
    """Path, label and split of a row."""
    name, label, split = row["path"], nfc(row["label"]), row.get("split", "")
    if not name or "\0" in name:
        raise TableError(f"{table}, line {line}: the path is empty")
    if not label:
        raise TableError(f"{table}, line {line}: {name!r} has no label")
    if split and split.casefold() not in SPLIT_NAMES:
        raise TableError(
            f"{table}, line {line}: {split!r} is no split; there are train, validation (val, valid) and test, or "
            "nothing where Headstand is to choose"
        )
    return name, label, SPLIT_NAMES.get(split.casefold(), "")
