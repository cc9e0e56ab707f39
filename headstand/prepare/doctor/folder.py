"""What lies in the examined folder: class folders, split folders of them, or a prepared dataset."""

from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

from headstand import formats, recipe
from headstand.errors import HeadstandError
from headstand.images import EXTENSIONS
from headstand.prepare import manifest
from headstand.prepare.listing import Item
from headstand.prepare.manifest import natural, nfc
from headstand.prepare.sources import archive, table
from headstand.prepare.sources.layout import FolderError, Layout, recognise
from headstand.prepare.sources.walk import walk

CLUTTER = frozenset({"thumbs.db", "desktop.ini"})
"""Files that Windows leaves in folders; they are not reported."""


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
        links: symbolic links that are not followed.
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
    found = walk(folder)
    visible = [path for path in found.files if PurePosixPath(path).name.lower() not in CLUTTER]
    photos = [path for path in visible if formats.is_listed(folder / path, EXTENSIONS)]
    layout = _recognised(photos, found.folders, folder)
    homes = _homes(layout, photos, found.folders)
    known = set(photos)
    items, loose = [], []
    for path in sorted(visible, key=lambda path: (natural(path), path)):
        if home := next((homes[parent] for parent in _parents(path) if parent in homes), None):
            items.append(Item(home[0], folder / path, split=home[1]))
        elif path in known:
            loose.append(folder / path)
    made = Contents(
        folder / layout.root,
        "splits" if any(item.split for item in items) else "classes",
        tuple(sorted({class_ for class_, _ in homes.values()}, key=lambda name: (natural(name), name))),
        tuple(items),
    )
    return replace(made, loose=_names(made, loose), links=_names(made, [folder / path for path in found.links]))


def _recognised(photos: list[str], folders: list[str], folder: Path) -> Layout:
    """The layout as a preparation recognises it; where that refuses it, each outer folder is a class."""
    for layout in ("auto", "classes"):
        with suppress(FolderError):
            return recognise(photos, layout=layout, where=str(folder), least=1)
    if not folders:
        raise ExaminationError(f"{folder} holds no folders: name a folder with one folder of photos for each class")
    return Layout("", (), ())


def _homes(layout: Layout, photos: list[str], folders: list[str]) -> dict[str, tuple[str, str]]:
    """Class and split by folder: of the folders that hold photos of a class, and of class folders without photos."""
    homes = {_parents(path)[0]: (class_, split) for path, class_, split in layout.photos}
    filled = {parent for path in photos for parent in _parents(path)}
    outer = {layout.root: ""} if not homes else {}
    for folder, (class_, split) in list(homes.items()):
        if home := next((one for one in (folder, *_parents(folder)) if nfc(PurePosixPath(one).name) == class_), None):
            homes.setdefault(home, (class_, split))
            outer[_parents(home)[0]] = split
    for folder in folders:
        if folder not in filled and _parents(folder)[0] in outer:
            homes[folder] = (nfc(PurePosixPath(folder).name), outer[_parents(folder)[0]])
    return homes


def _parents(path: str) -> list[str]:
    """The folders that a path lies in, the innermost first; the source itself is empty."""
    parts = path.split("/")[:-1]
    return ["/".join(parts[:count]) for count in range(len(parts), -1, -1)]


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


def _names(made: Contents, paths: list[Path]) -> tuple[str, ...]:
    """Names below the root; what lies elsewhere was passed over with its folder."""
    return tuple(sorted((made.name(path) for path in paths if path.is_relative_to(made.root)), key=natural))
