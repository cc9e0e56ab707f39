"""The source `folder`: a folder that holds one folder of photos for each class."""

import os
from dataclasses import dataclass
from pathlib import Path

from headstand import recipe
from headstand.errors import HeadstandError
from headstand.images import EXTENSIONS
from headstand.prepare.manifest import natural

SPLIT_NAMES = {"train", "training", "test", "testing", "val", "valid", "validation", "dev", "eval"}


class FolderError(HeadstandError):
    """A source folder whose layout is not one folder of photos a class."""


@dataclass(frozen=True)
class Listing:
    """What lies in a folder of class folders.

    `photos` are `(class, path)` in natural order; `ignored` counts the files that are no photos by their name, hidden
    files and links that lead out of the folder left aside; `links` counts those links.
    """

    root: Path
    classes: tuple[str, ...]
    photos: tuple[tuple[str, Path], ...]
    ignored: int
    links: int


def fetch(source: recipe.Source, seed: int) -> Path:
    """The folder that `source.folder` names: as it is, in the checkout or under `HEADSTAND_DATA`.

    Raises:
        RecipeError: there is none.
        FolderError: it is a file.
    """
    folder = recipe.locate(source.folder or "", "HEADSTAND_DATA")
    if not folder.is_dir():
        raise FolderError(f"{folder} is a file; the source must be a folder with one folder of photos for each class")
    return folder


def listing(folder: Path) -> Listing:
    """List the class folders, at the top or under single nested folders as archives have them.

    Raises:
        FolderError: no class folder, one only, an empty one, or a folder that is split already.
    """
    root = _class_root(folder)
    classes = _folders(root)
    if not classes:
        hint = "its photos lie loose in it" if _has_photos(root) else "it holds no folders"
        raise FolderError(f"there are no class folders in {root} ({hint}): make one folder of photos for each class")
    if {path.name.casefold() for path in classes} <= SPLIT_NAMES:
        raise FolderError(
            f"{root} holds {_names(classes)}: it is split already, and Headstand splits itself; "
            "put all photos of a class into one folder, or name one of these with --source"
        )
    photos: list[tuple[str, Path]] = []
    ignored, links = sum(not path.name.startswith(".") and path.is_file() for path in root.iterdir()), 0
    for path in classes:
        found, others, escapes = _photos(path, root.resolve())
        ignored, links = ignored + others, links + escapes
        if not found:
            raise FolderError(f"the class folder {path} holds no photos ({', '.join(EXTENSIONS)}): fill or remove it")
        photos += [(path.name, photo) for photo in found]
    if len(classes) == 1:
        raise FolderError(f"there is one class only in {root}, {classes[0].name!r}: a classifier needs two or more")
    return Listing(root, tuple(path.name for path in classes), tuple(photos), ignored, links)


def _class_root(folder: Path) -> Path:
    """Go down while there is but one folder, and that has no photos of its own but further folders."""
    inner = _folders(folder)
    while len(inner) == 1 and not _has_photos(folder) and not _has_photos(inner[0]) and _folders(inner[0]):
        folder, inner = inner[0], _folders(inner[0])
    return folder


def _folders(folder: Path) -> list[Path]:
    """The visible folders in one, in natural order; `__MACOSX` is what macOS adds to archives."""
    found = (path for path in folder.iterdir() if path.is_dir() and not path.is_symlink())
    return sorted((path for path in found if not path.name.startswith((".", "__MACOSX"))), key=_order)


def _photos(folder: Path, root: Path) -> tuple[list[Path], int, int]:
    """Photos under a class folder, at any depth; how many other files; how many links that lead out of `root`."""
    found, others, escapes = [], 0, 0
    for place, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        for name in names:
            path = Path(place, name)
            if name.startswith("."):
                continue
            # Not Path.resolve, which raises on a link to itself before Python 3.13.
            if path.is_symlink() and not Path(os.path.realpath(path)).is_relative_to(root):
                escapes += 1
            elif path.suffix.lower() in EXTENSIONS and path.is_file():
                found.append(path)
            else:
                others += 1
        escapes += sum(Path(place, name).is_symlink() for name in folders)
    return sorted(found, key=lambda path: _order(path.relative_to(folder))), others, escapes


def _has_photos(folder: Path) -> bool:
    return any(path.suffix.lower() in EXTENSIONS and path.is_file() for path in folder.iterdir())


def _order(path: Path) -> tuple[tuple[tuple[int, int | str], ...], str]:
    """Natural order; the plain text decides between names that differ in case alone."""
    return natural(str(path)), str(path)


def _names(paths: list[Path]) -> str:
    return ", ".join(path.name for path in paths)
