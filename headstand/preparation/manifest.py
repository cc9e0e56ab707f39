"""Manifest of a prepared dataset: a CSV table with one row per photo, from which the splits can be rebuilt exactly."""

import csv
import hashlib
import io
import re
import shlex
import unicodedata
from dataclasses import dataclass, fields
from pathlib import Path, PurePath

from headstand import files
from headstand.errors import HeadstandError

SPLITS = ("train", "validation", "test")


class ManifestError(HeadstandError):
    """Raised if a prepared dataset is missing, or if its manifest is damaged or does not match its folder."""


@dataclass(frozen=True)
class Photo:
    """One row of the manifest: a prepared file.

    Attributes:
        path: relative to the dataset's folder, such as `train/tree/tree0001.jpg`.
        class_: label.
        split: `train`, `validation` or `test`.
        sha256: hex digest of the file's bytes.
        width, height: size in pixels as stored, before any EXIF rotation.
        group: number that this photo shares with its near duplicates.
        original_name: path of the source's file in the source, with control characters escaped; empty if unknown.
    """

    path: str
    class_: str
    split: str
    sha256: str
    width: int
    height: int
    group: int
    original_name: str = ""


_COLUMNS = {field.name: field.name.rstrip("_").replace("_", " ") for field in fields(Photo)}
"""Column of each attribute."""

_OLD_COLUMNS = {name: column for name, column in _COLUMNS.items() if name != "original_name"}
"""The columns of manifests that earlier versions wrote, which are still read."""


@dataclass(frozen=True)
class Dataset:
    """A prepared dataset: its folder and its photos in the manifest's order."""

    folder: Path
    photos: tuple[Photo, ...]

    @property
    def classes(self) -> tuple[str, ...]:
        """The labels in natural order; the position of a label is its class index in every model."""
        return tuple(sorted({photo.class_ for photo in self.photos}, key=natural))

    def split(self, name: str) -> tuple[Photo, ...]:
        """Returns the photos of the split `train`, `validation` or `test`, in the manifest's order."""
        return tuple(photo for photo in self.photos if photo.split == name)

    @property
    def digest(self) -> str:
        """Hex SHA-256 of the manifest without the original names: identifies the data that a model was trained on."""
        return hashlib.sha256(_text(self.photos, _OLD_COLUMNS).encode()).hexdigest()


def natural(name: str) -> tuple[tuple[tuple[int, int | str], ...], str]:
    """Returns a sort key for natural order: `pose2` before `pose10`, ignoring case except as the last resort."""
    parts = re.split(r"(\d+)", name.casefold())
    return tuple((0, int(part)) if part.isdecimal() else (1, part) for part in parts if part), name


def nfc(name: str) -> str:
    """Returns a name in Unicode normalization form C, in which class names are compared.

    macOS and its archives write `é` as `e` and a combining accent, other programs as one character.
    """
    return unicodedata.normalize("NFC", name)


def write(dataset: Dataset) -> Path:
    """Writes `manifest.csv` into the dataset's folder atomically: readers get the old file or the complete new one.

    Returns:
        The path of the file.

    Raises:
        ManifestError: the path of a photo does not match its split and class.
    """
    path = dataset.folder / "manifest.csv"
    _check_labels(path, dataset.photos, "the preparation has mixed them up")
    return files.write(path, _text(dataset.photos, _COLUMNS))


def read(folder: Path) -> Dataset:
    """Reads the manifest of a prepared dataset.

    Raises:
        ManifestError: there is no manifest, it is damaged, or a path in it leads out of the folder or does not match
            the photo's split and class. The message contains the command that prepares the dataset.
    """
    path = folder / "manifest.csv"
    remedy = f"run `{preparing(folder)}`"
    if not path.is_file():
        raise ManifestError(f"there is no prepared data at {folder}: {remedy}")
    names = list(_COLUMNS.values())
    try:
        with path.open(encoding="utf-8", newline="") as file:
            table = csv.DictReader(file)
            if table.fieldnames not in (names, list(_OLD_COLUMNS.values())):
                raise ManifestError(f"{path} has the columns {table.fieldnames}, not {names}: {remedy}")
            rows = list(table)
            if any(None in row for row in rows):
                raise ValueError("a row has more fields than the table has columns")
            if any(None in row.values() for row in rows):
                raise ValueError("a row has fewer fields than the table has columns")
            photos = tuple(
                Photo(
                    row["path"], row["class"], row["split"], row["sha256"],
                    int(row["width"]), int(row["height"]), int(row["group"]), row.get("original name", ""),
                )
                for row in rows
            )  # fmt: skip
    except (ValueError, TypeError, KeyError, csv.Error) as error:
        raise ManifestError(f"{path} is damaged ({error}): {remedy}") from error
    unknown = sorted({photo.split for photo in photos} - set(SPLITS))
    if unknown or not photos:
        raise ManifestError(f"{path} has {f'the unknown splits {unknown}' if unknown else 'no photos'}: {remedy}")
    outside = next((p.path for p in photos if PurePath(p.path).is_absolute() or ".." in PurePath(p.path).parts), None)
    if outside:
        raise ManifestError(f"{path} names {outside!r}, which is outside of its folder: {remedy}")
    _check_labels(path, photos, remedy)
    return Dataset(folder, photos)


def preparing(folder: Path) -> str:
    """Returns the command that prepares a dataset again, from the source that it was prepared from if that is known."""
    from headstand import recipe
    from headstand.preparation import preparation_record  # which imports this module

    name, source = folder.name, preparation_record.source(folder)
    found = shlex.join(["--source", source.location]) if source and source.kind in ("folder", "table") else ""
    file = f"{name}.toml"
    if name in recipe.names() or Path(file).is_file():
        return f"python data_preparation.py {name if name in recipe.names() else file} {found}".rstrip()
    photos = found.removeprefix("--source ") or "PHOTOS"
    return f"python -m headstand explore {photos} --name {name}"


def _check_labels(path: Path, photos: tuple[Photo, ...], remedy: str) -> None:
    """Checks that the path of every photo starts with its split and class.

    This detects labels that were permuted independently of their files.

    Raises:
        ManifestError: a path does not match.
    """
    for photo in photos:
        if PurePath(photo.path).parts[:2] != (photo.split, photo.class_):
            raise ManifestError(
                f"{path} has {photo.path!r} as {photo.class_!r} in {photo.split}, which does not match its folder: "
                f"{remedy}"
            )


def _text(photos: tuple[Photo, ...], columns: dict[str, str]) -> str:
    out = io.StringIO()
    table = csv.writer(out, lineterminator="\n")
    table.writerow(columns.values())
    table.writerows([[getattr(photo, name) for name in columns] for photo in photos])
    return out.getvalue()
