"""Tree of the folders of a photo source, built from relative paths; no files are read."""

from collections.abc import Iterable, Sequence

from headstand.preparation.manifest import natural


class Folder:
    """Tree node of a folder: the photos directly in it, its subfolders by name, and the number of photos below it."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.name = path.rpartition("/")[2]
        self.photos: list[str] = []
        self.folders: dict[str, Folder] = {}
        self.total = 0

    @property
    def filled(self) -> list["Folder"]:
        """Returns the subfolders with photos below them, in natural order."""
        return [self.folders[name] for name in sorted(self.folders, key=natural) if self.folders[name].total]

    @property
    def empty(self) -> list["Folder"]:
        """Returns the subfolders without photos below them, in natural order."""
        return [self.folders[name] for name in sorted(self.folders, key=natural) if not self.folders[name].total]

    def folders_below(self) -> list["Folder"]:
        """Returns the folders with photos directly in them, among this folder and all below it."""
        found, waiting = [], [self]
        while waiting:
            folder = waiting.pop()
            waiting += folder.folders.values()
            if folder.photos:
                found.append(folder)
        return found

    def below(self) -> list[str]:
        """Returns the paths of all photos below the folder."""
        return [path for folder in self.folders_below() for path in folder.photos]


def build_tree(photos: Iterable[str], folders: Iterable[str]) -> Folder:
    """Returns the root of the folder tree of some paths."""
    top = Folder("")
    for path in folders:
        _reach(top, path.split("/"))
    for path in photos:
        along = _reach(top, path.split("/")[:-1])
        along[-1].photos.append(path)
        for folder in along:
            folder.total += 1
    return top


def _reach(top: Folder, parts: Sequence[str]) -> list[Folder]:
    """Returns the folders on a path from the root, and creates the missing ones."""
    found = [top]
    for part in parts:
        folder = found[-1]
        if part not in folder.folders:
            folder.folders[part] = Folder(f"{folder.path}/{part}" if folder.path else part)
        found.append(folder.folders[part])
    return found


def skip_wrappers(folder: Folder) -> Folder:
    """Returns the folder below any wrappers, which are folders whose photos all lie in subfolders of one subfolder."""
    while not folder.photos and len(folder.filled) == 1:
        (inner,) = folder.filled
        if inner.photos or not inner.filled:
            break
        folder = inner
    return folder


def relative_path(path: str, folder: Folder) -> str:
    """Returns the path of a photo relative to a folder above it."""
    return path[len(folder.path) + 1 :] if folder.path else path
