"""Source `table`: a CSV file with the path, the label and optionally the split of each photo."""

import csv
import io
import os
from pathlib import Path

from headstand import recipe
from headstand.errors import HeadstandError
from headstand.preparation.listing import SPLIT_NAMES, Item, Listing
from headstand.preparation.manifest import natural, nfc
from headstand.preparation.sources.lookup import AmbiguousNameError, Files

COLUMNS = {
    "path": ("path", "file", "filename", "file_name", "filepath", "file_path", "image", "image_id", "id"),
    "label": ("label", "class", "category"),
    "split": ("split",),
}
"""Accepted headers of each column, in any case; other columns are ignored. If a table has several of a column's
headers, the first one listed here is used. `split` may be missing."""

_DELIMITERS = ",;\t|"


class TableError(HeadstandError):
    """Raised for a table that cannot be read as a list of photos and labels."""


def listing(source: recipe.Source, seed: int) -> Listing:
    """Lists the photos of the CSV file `source.table`.

    The file is separated by commas, semicolons, tabs or `|`, in UTF-8 or UTF-16 with a byte order mark, with a line of
    column names. Paths are relative to the table's folder or absolute, or match one file there as described in
    `lookup.Files.find`. A `split` is one of `listing.SPLIT_NAMES`, or empty if Headstand assigns it. Missing files are
    excluded later, with the reason.

    Raises:
        RecipeError: the table does not exist.
        TableError: not a table, missing columns, an empty label, an unknown split, one photo with two labels or splits,
            a name that matches several files, no existing file, or fewer than two labels.
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
    classes = sorted({item.class_ for item in items.values()}, key=natural)
    if len(classes) == 1:
        raise TableError(f"{table} has the label {classes[0]!r} only: a classifier needs two or more")
    # The common parent of all paths, as photos may lie outside the table's folder.
    root = Path(os.path.commonpath([str(table.parent.absolute()), *(os.path.dirname(key) for key in items)]))  # noqa: PTH120
    index = {name: number for number, name in enumerate(classes)}
    ordered = sorted(items.items(), key=lambda entry: (index[entry[1].class_], natural(entry[0])))
    return Listing(root, tuple(classes), tuple(item for _, item in ordered))


def _cause(table: Path, name: str) -> str:
    """Returns the likely reason why no name of a table matches a file."""
    text = "its paths are relative to its own folder"
    if name.startswith(("http://", "https://")):
        return f"{text}, and addresses are not downloaded: fetch the photos first"
    near = Files(table.parent).first_photo()
    return f"{text}, where {f'{near} lies' if near else 'no photos lie'}"


def _rows(table: Path) -> list[tuple[int, dict[str, str]]]:
    """Returns the table's rows as dictionaries by column, each with the number of the line that it ends in."""
    try:
        data = table.read_bytes()
        # Excel writes "Unicode text" as UTF-16, and a byte order mark before UTF-8.
        text = data.decode("utf-16" if data.startswith((b"\xff\xfe", b"\xfe\xff")) else "utf-8-sig")
        first = text.partition("\n")[0]
        if named := first.strip().lower().startswith("sep="):  # Excel's line that declares the delimiter
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
        # Spreadsheets write extra empty cells after the last column, and omit empty cells of the last columns.
        if any(fields[len(header) :]) or len(fields) <= max(columns["path"], columns["label"]):
            raise TableError(
                f"{table}, line {line}: it has {len(fields)} fields, not as many as there are columns "
                f"({', '.join(name for name in header if name)}); a name that contains {delimiter!r} needs quotes"
            )
    return [
        (line, {name: fields[index] if index < len(fields) else "" for name, index in columns.items()})
        for line, fields in lines[1:]
    ]


def _columns(table: Path, header: list[str]) -> dict[str, int]:
    """Returns the indices of `path`, `label` and, if present, `split` in the header."""
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
    """Returns path, label and split of a row; raises `TableError` if one of them is invalid."""
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
