"""What lies in the examined folder: class folders, split folders of them, or a prepared dataset."""

import os
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from headstand import formats, recipe
from headstand.errors import HeadstandError
from headstand.images import EXTENSIONS
from headstand.prepare import manifest
from headstand.prepare.listing import SPLIT_NAMES, Item
from headstand.prepare.manifest import natural, nfc
from headstand.prepare.sources import archive, table

CLUTTER = frozenset({"thumbs.db", "desktop.ini", "__macosx"})
"""What Windows and macOS leave in folders; nobody needs to hear of it."""


class ExaminationError(HeadstandError):
    """A folder that the doctor cannot examine."""


@dataclass(frozen=True)
class Contents:
    """A folder's files, before any is opened.

    Attributes:
        root: what all names are relative to.
        layout: `classes`, `splits` or `prepared`.
        classes: every class folder's name, also of empty ones, in natural order.
        items: every visible file in a class folder, whatever its name; for a prepared dataset the manifest's.
        loose: files that look like photos and lie in no class folder.
        links: links that lead out of the folder.
        digests: `prepared` only: the SHA-256 that the manifest gives each file, by name.
    """

    root: Path
    layout: str
    classes: tuple[str, ...]
    items: tuple[Item, ...]
    loose: tuple[str, ...] = ()
    links: tuple[str, ...] = ()
    digests: dict[str, str] | None = None

    def name(self, path: Path) -> str:
        """A file's path relative to the root, with slashes, printable also where it is not UTF-8."""
        return path.relative_to(self.root).as_posix().encode("utf-8", "backslashreplace").decode()


def contents(folder: Path) -> Contents:
    """List a folder.

    Raises:
        ExaminationError: it is not there, or holds no folders.
        ManifestError: its manifest is damaged.
    """
    if not folder.is_dir():
        raise ExaminationError(f"there is no folder {folder}")
    if (folder / "manifest.csv").is_file():
        return _prepared(folder)
    root = _root(folder)
    names = _folders(root)
    if not names:
        raise ExaminationError(f"{root} holds no folders: name a folder with one folder of photos for each class")
    splits = [path for path in names if path.name.casefold() in SPLIT_NAMES]
    if len(splits) < 2 or len(splits) < len(names):
        homes = [("", path) for path in names]
        layout, outer = "classes", [root]
    else:
        homes = [(SPLIT_NAMES[split.name.casefold()], path) for split in splits for path in _folders(split)]
        layout, outer = "splits", [root, *splits]
    items, links = [], []
    for split, home in homes:
        for path in _files(home):
            if _leads_out(path, root):
                links.append(path)
            elif path.is_file() and path.name.lower() not in CLUTTER:
                items.append(Item(nfc(home.name), path, split=split))
    loose = [path for place in outer for path in place.iterdir() if _is_photo(path)]
    classes = tuple(sorted({nfc(home.name) for _, home in homes}, key=lambda name: (natural(name), name)))
    made = Contents(root, layout, classes, tuple(items))
    return replace(made, loose=_names(made, loose), links=_names(made, links))


def source(location: str) -> Contents:
    """The contents of what a preparation accepts as its source.

    Args:
        location: a folder, an archive of one, an address of either, or a CSV table.

    Raises:
        HeadstandError: as `archive.unpacked`, `table.listing` or `contents`.
    """
    if not location.lower().endswith(".csv"):
        return contents(archive.unpacked(location))
    listed = table.listing(recipe.Source(kind="table", table=location), 0)
    layout = "splits" if any(item.split for item in listed.items) else "classes"
    return Contents(listed.root, layout, listed.classes, listed.items)


def _prepared(folder: Path) -> Contents:
    dataset = manifest.read(folder)
    if all(photo.path.endswith(".npy") for photo in dataset.photos):
        raise ExaminationError(f"{folder} holds arrays, and the doctor examines photos")
    items = tuple(Item(photo.class_, folder / photo.path, str(photo.group), photo.split) for photo in dataset.photos)
    return Contents(
        folder, "prepared", dataset.classes, items, digests={photo.path: photo.sha256 for photo in dataset.photos}
    )


def _root(folder: Path) -> Path:
    """Go down while there is one folder only that holds further folders, as unpacked archives have it."""
    inner = _folders(folder)
    while len(inner) == 1 and _folders(inner[0]) and not any(map(_is_photo, folder.iterdir())):
        folder, inner = inner[0], _folders(inner[0])
    return folder


def _folders(folder: Path) -> list[Path]:
    found = (path for path in folder.iterdir() if path.is_dir() and not path.is_symlink())
    seen = (path for path in found if not path.name.startswith(".") and path.name.lower() not in CLUTTER)
    return sorted(seen, key=lambda path: (natural(path.name), path.name))


def _files(folder: Path) -> Iterator[Path]:
    """Visible files and links to anything at any depth, in natural order."""
    for place, folders, names in os.walk(folder):
        links = [name for name in folders if Path(place, name).is_symlink()]
        folders[:] = sorted((name for name in folders if not name.startswith(".")), key=natural)
        for name in sorted([*names, *links], key=lambda name: (natural(name), name)):
            if not name.startswith("."):
                yield Path(place, name)


def _leads_out(path: Path, root: Path) -> bool:
    return path.is_symlink() and not path.resolve().is_relative_to(root.resolve())


def _is_photo(path: Path) -> bool:
    return not path.name.startswith(".") and formats.is_listed(path, EXTENSIONS)


def _names(made: Contents, paths: list[Path]) -> tuple[str, ...]:
    return tuple(sorted((made.name(path) for path in paths), key=natural))
