"""The source `folder`: one folder of photos for each class, perhaps already under `train`, `validation` and `test`.

The folder may come as an archive, and either from an address.
"""

import os
from pathlib import Path

from headstand import formats, recipe
from headstand.errors import HeadstandError
from headstand.images import EXTENSIONS
from headstand.prepare.listing import SPLIT_NAMES, Item, Listing
from headstand.prepare.manifest import SPLITS, natural, nfc
from headstand.prepare.sources import archive


class FolderError(HeadstandError):
    """A source folder whose layout is not one folder of photos a class."""


def listing(source: recipe.Source, seed: int) -> Listing:
    """What `source.folder` names: a folder in the checkout or under `HEADSTAND_DATA`, or an archive of one.

    Raises:
        RecipeError: there is none.
        FolderError: as `class_folders`.
        DownloadError, ArchiveError: as `archive.unpacked`.
    """
    return class_folders(archive.unpacked(source.folder or ""))


def class_folders(folder: Path, extensions: tuple[str, ...] = EXTENSIONS) -> Listing:
    """List the files with one of `extensions` by class folder, at the top or under single nested folders.

    Where those folders are `train`, `validation` and `test` (see `listing.SPLIT_NAMES`), the class folders lie in them,
    and every item has its split.

    Raises:
        FolderError: no class folder, one class only, an empty one, or a split that lacks a class.
    """
    root = _class_root(folder, extensions)
    tops = _folders(root)
    splits = [path for path in tops if path.name.casefold() in SPLIT_NAMES]
    if splits and len(splits) == len(tops):
        places = _split_folders(root, splits, extensions)
    elif {SPLIT_NAMES[path.name.casefold()] for path in splits} > {"train"}:
        others = [path for path in tops if path not in splits]
        raise FolderError(
            f"{root} holds {_names(splits)} and beside them {_names(others)}: if it is split already, move the others "
            "out of it; if these are classes, rename the first ones"
        )
    else:
        places = [("", path) for path in tops]
    if not places:
        raise FolderError(_without_classes(root, extensions))
    items: list[Item] = []
    ignored, links = _loose(root), 0
    for split, path in places:
        found, rest, escapes = _photos(path, root.resolve(), extensions)
        ignored, links = ignored + rest, links + escapes
        if not found:
            raise FolderError(f"the class folder {path} holds no photos ({', '.join(extensions)}): fill or remove it")
        items += [Item(nfc(path.name), photo, split=split) for photo in found]
    classes = sorted({nfc(path.name) for _, path in places}, key=lambda name: (natural(name), name))
    if len(classes) == 1:
        raise FolderError(f"there is one class only in {root}, {classes[0]!r}: a classifier needs two or more")
    place = {name: number for number, name in enumerate(classes)}
    items.sort(key=lambda item: place[item.class_])  # stable: the files' order stays
    return Listing(root, tuple(classes), tuple(items), ignored + sum(_loose(path) for path in splits), links)


def _split_folders(root: Path, folders: list[Path], extensions: tuple[str, ...]) -> list[tuple[str, Path]]:
    """The class folders `(split, path)` in folders that are called as splits."""
    found: dict[str, list[Path]] = {}
    for folder in folders:
        split = SPLIT_NAMES[folder.name.casefold()]
        if split in found:
            raise FolderError(f"{root} holds two folders for {split}, {_names(folders)}: join them into one")
        found[split] = _folders(folder)
        if not found[split]:
            raise FolderError(_without_classes(folder, extensions))
    if "train" not in found or len(found) == 1:
        raise FolderError(
            f"{root} holds {_names(folders)} only: a divided dataset needs train, and validation or test; "
            "name the folder itself with --source to have it split"
        )
    classes = {nfc(path.name) for paths in found.values() for path in paths}
    for split, paths in found.items():
        if missing := sorted(classes - {nfc(path.name) for path in paths}, key=natural):
            raise FolderError(
                f"the split {split!r} in {root} lacks the class{'es' * (len(missing) != 1)} {', '.join(missing)}: "
                "each class needs photos in each split; add them, or remove the class from the others"
            )
    return [(split, path) for split in SPLITS for path in found.get(split, [])]


def _without_classes(folder: Path, extensions: tuple[str, ...]) -> str:
    hint = "its photos lie loose in it" if _has_photos(folder, extensions) else "it holds no folders"
    return f"there are no class folders in {folder} ({hint}): make one folder of photos for each class"


def _class_root(folder: Path, extensions: tuple[str, ...]) -> Path:
    """Go down while there is but one folder, and that has no photos of its own but further folders."""
    inner = _folders(folder)
    while len(inner) == 1 and not any(_has_photos(path, extensions) for path in (folder, inner[0])):
        if not _folders(inner[0]):
            break
        folder, inner = inner[0], _folders(inner[0])
    return folder


def _folders(folder: Path) -> list[Path]:
    """The visible folders in one, in natural order; `__MACOSX` is what macOS adds to archives."""
    found = (path for path in folder.iterdir() if path.is_dir() and not path.is_symlink())
    return sorted((path for path in found if not path.name.startswith((".", "__MACOSX"))), key=_order)


def _loose(folder: Path) -> int:
    """How many visible files lie in a folder itself."""
    return sum(not path.name.startswith(".") and path.is_file() for path in folder.iterdir())


def _photos(folder: Path, root: Path, extensions: tuple[str, ...]) -> tuple[list[Path], int, int]:
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
            elif formats.is_listed(path, extensions):
                found.append(path)
            else:
                others += 1
        escapes += sum(Path(place, name).is_symlink() for name in folders)
    return sorted(found, key=lambda path: _order(path.relative_to(folder))), others, escapes


def _has_photos(folder: Path, extensions: tuple[str, ...]) -> bool:
    return any(not path.name.startswith(".") and formats.is_listed(path, extensions) for path in folder.iterdir())


def _order(path: Path) -> tuple[tuple[tuple[int, int | str], ...], str]:
    """Natural order; the plain text decides between names that differ in case alone."""
    return natural(str(path)), str(path)


def _names(paths: list[Path]) -> str:
    return ", ".join(path.name for path in paths)
