"""Listing of the folder to check: class folders, split folders with class folders, or a prepared dataset."""

from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath

from headstand import inputs, recipe
from headstand.errors import HeadstandError
from headstand.images import EXTENSIONS, formats
from headstand.preparation import manifest
from headstand.preparation.listing import Item
from headstand.preparation.manifest import natural, nfc
from headstand.preparation.sources import archive, table
from headstand.preparation.sources.layout import FolderError, Layout, recognise
from headstand.preparation.sources.walk import walk

CLUTTER = frozenset({"thumbs.db", "desktop.ini"})
"""Names of files that Windows creates in folders; they are not reported."""


class ExaminationError(HeadstandError):
    """Raised if a folder cannot be checked."""


@dataclass(frozen=True)
class Contents:
    """Listing of a folder's files before any is opened.

    Attributes:
        root: the folder that all names are relative to.
        layout: `classes`, `splits` or `prepared`.
        classes: names of all class folders, empty ones included, in natural order.
        items: all visible files in class folders, whatever their names; for a prepared dataset those of the manifest.
        outside_classes: files that are photos by their name but lie in no class folder.
        links: symbolic links that are not followed.
        digests: SHA-256 of each file in the manifest, by name; None unless the layout is `prepared`.
        originals: name in the source of each file in the manifest, by name, where it is known.
    """

    root: Path
    layout: str
    classes: tuple[str, ...]
    items: tuple[Item, ...]
    outside_classes: tuple[str, ...] = ()
    links: tuple[str, ...] = ()
    digests: dict[str, str] | None = None
    originals: dict[str, str] = field(default_factory=dict)

    def name(self, path: Path) -> str:
        """Returns a file's path relative to the root, with slashes; bytes that are not UTF-8 are backslash-escaped."""
        return path.relative_to(self.root).as_posix().encode("utf-8", "backslashreplace").decode()

    def traced(self, name: str) -> str:
        """Returns the name of a file, with that of the source's file for a prepared one."""
        return f"{name} from {self.originals[name]}" if self.originals.get(name) else name


def contents(folder: Path) -> Contents:
    """Lists the files of a folder.

    Raises:
        ExaminationError: the folder does not exist, contains no folders, or is a prepared dataset of arrays.
        ManifestError: its manifest is damaged.
    """
    if not folder.is_dir():
        raise ExaminationError(f"there is no folder {folder}")
    if (folder / "manifest.csv").is_file():
        return _prepared(folder)
    found = walk(folder)
    visible = [path for path in found.files if PurePosixPath(path).name.lower() not in CLUTTER]
    photos = [path for path in visible if formats.is_listed(folder / path, EXTENSIONS)]
    layout = _recognised(photos, found.folders, folder)
    labels = _class_folders(layout, photos, found.folders)
    known = set(photos)
    items, outside_classes = [], []
    for path in sorted(visible, key=natural):
        if found_in := next((labels[parent] for parent in _parents(path) if parent in labels), None):
            items.append(Item(found_in[0], folder / path, split=found_in[1]))
        elif path in known:
            outside_classes.append(folder / path)
    listed = Contents(
        folder / layout.root,
        "splits" if any(item.split for item in items) else "classes",
        tuple(sorted({class_ for class_, _ in labels.values()}, key=natural)),
        tuple(items),
    )
    return replace(
        listed,
        outside_classes=_names(listed, outside_classes),
        links=_names(listed, [folder / path for path in found.links]),
    )


def _recognised(photos: list[str], folders: list[str], folder: Path) -> Layout:
    """Returns the layout that a preparation recognises; if it recognises none, an empty layout.

    With the empty layout each top-level folder is a class.

    Raises:
        ExaminationError: there are no folders.
    """
    for layout in ("auto", "classes"):
        with suppress(FolderError):
            return recognise(photos, layout=layout, where=str(folder), least=1)
    if not folders:
        raise ExaminationError(f"{folder} contains no folders: name a folder with one folder of photos for each class")
    return Layout("", (), ())


def _class_folders(layout: Layout, photos: list[str], folders: list[str]) -> dict[str, tuple[str, str]]:
    """Returns class and split by folder, for folders with photos of a class and for class folders without photos."""
    labels = {_parents(path)[0]: (class_, split) for path, class_, split in layout.photos}
    filled = {parent for path in photos for parent in _parents(path)}
    outer = {layout.root: ""} if not labels else {}
    for folder, (class_, split) in list(labels.items()):
        if outermost := next(
            (one for one in (folder, *_parents(folder)) if nfc(PurePosixPath(one).name) == class_), None
        ):
            labels.setdefault(outermost, (class_, split))
            outer[_parents(outermost)[0]] = split
    for folder in folders:
        if folder not in filled and _parents(folder)[0] in outer:
            labels[folder] = (nfc(PurePosixPath(folder).name), outer[_parents(folder)[0]])
    return labels


def _parents(path: str) -> list[str]:
    """Returns the parent folders of a path, the innermost first; the last one, the source itself, is `""`."""
    parts = path.split("/")[:-1]
    return ["/".join(parts[:count]) for count in range(len(parts), -1, -1)]


def source(location: str) -> Contents:
    """Lists the files of a source as accepted by the preparation.

    Args:
        location: a folder, an archive of one, a URL of either, or a CSV table.

    Raises:
        HeadstandError: see `archive.unpacked`, `table.listing` and `contents`.
    """
    if not location.lower().endswith(".csv"):
        return contents(archive.unpacked(location))
    listed = table.listing(recipe.Source(kind="table", table=location), 0)
    layout = "splits" if any(item.split for item in listed.items) else "classes"
    return Contents(listed.root, layout, listed.classes, listed.items)


def _prepared(folder: Path) -> Contents:
    dataset = manifest.read(folder)
    if all(inputs.of_file(photo.path).kind != "photos" for photo in dataset.photos):
        raise ExaminationError(f"{folder} contains arrays; only photos can be checked")
    items = tuple(Item(photo.class_, folder / photo.path, str(photo.group), photo.split) for photo in dataset.photos)
    return Contents(
        folder, "prepared", dataset.classes, items,
        digests={photo.path: photo.sha256 for photo in dataset.photos},
        originals={photo.path: photo.original_name for photo in dataset.photos if photo.original_name},
    )  # fmt: skip


def _names(contents: Contents, paths: list[Path]) -> tuple[str, ...]:
    """Returns the names of the paths below the root in natural order; other paths are omitted."""
    return tuple(sorted((contents.name(path) for path in paths if path.is_relative_to(contents.root)), key=natural))
