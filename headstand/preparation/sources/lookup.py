"""Lookup of the files that a table lists, tolerant of differences in case, folders and extensions."""

import os
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from functools import cached_property, partial
from itertools import takewhile
from pathlib import Path, PurePosixPath

from headstand.errors import HeadstandError
from headstand.images import EXTENSIONS, formats
from headstand.preparation.manifest import nfc


class AmbiguousNameError(HeadstandError):
    """Raised for a name that matches more than one file."""


class Files:
    """Index of the files below a table's folder by path and by name."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder.absolute()

    def find(self, names: Sequence[str]) -> list[Path]:
        """Returns the file of each name in a table.

        A name matches the file with the same path relative to the table's folder; backslashes, case, Unicode
        normalization form and a missing photo extension are ignored. If no name of the table matches any file, all
        names are matched without their common leading folders (`/elsewhere/photos/1.jpg`). If that matches none
        either, names without folders, such as IDs, are searched in all folders. The same rule applies to the whole
        table, so that another file is never used for a missing photo.

        Returns:
            Absolute paths; for a name without a match the path as stated.

        Raises:
            AmbiguousNameError: a name matches several files.
        """
        exact = [self._exact(name) for name in names]
        found = exact
        if not all(exact):
            plain = [_plain(name) for name in names]
            for rule in self._rules(plain):
                found = [path or self._one(name, rule(name)) for path, name in zip(exact, plain, strict=True)]
                if any(found):
                    break
        return [path or self._stated(name) for path, name in zip(found, names, strict=True)]

    def first_photo(self) -> str:
        """Returns the path of the first photo below the folder, relative to it; empty if there are none."""
        found = (path for path in self._listed if formats.is_listed(path, EXTENSIONS))
        return next((str(path.relative_to(self._folder)) for path in found), "")

    def _stated(self, name: str) -> Path:
        return Path(os.path.normpath(self._folder / name))

    def _exact(self, name: str) -> Path | None:
        candidates = (self._stated(text) for text in dict.fromkeys((name, name.replace("\\", "/"))))
        return next((path for path in candidates if os.path.isfile(path)), None)  # noqa: PTH113 - any text, also too long

    def _rules(self, names: Sequence[str]) -> Iterable[Callable[[str], list[Path]]]:
        columns = zip(*(PurePosixPath(name).parent.parts for name in names), strict=False)
        shared = sum(1 for _ in takewhile(lambda folders: len(set(folders)) == 1, columns))
        for count in range(shared + 1):
            yield partial(self._below, count)
        yield lambda name: [] if "/" in name else self._by_name.get(name, [])

    def _below(self, dropped: int, name: str) -> list[Path]:
        return self._by_path.get("/".join(PurePosixPath(name).parts[dropped:]), [])

    def _one(self, name: str, files: list[Path]) -> Path | None:
        if len(files) > 1:
            shown = " or ".join(str(path.relative_to(self._folder)) for path in files[:2])
            raise AmbiguousNameError(f"{name!r} can be {shown}: state the path with its extension")
        return files[0] if files else None

    @cached_property
    def _listed(self) -> list[Path]:
        found = []
        for parent, folders, files in os.walk(self._folder):
            folders[:] = sorted(name for name in folders if not name.startswith("."))
            found += [Path(parent, name) for name in sorted(files) if not name.startswith(".")]
        return found

    @cached_property
    def _by_path(self) -> dict[str, list[Path]]:
        return _index((path.relative_to(self._folder).as_posix(), path) for path in self._listed)

    @cached_property
    def _by_name(self) -> dict[str, list[Path]]:
        return _index((path.name, path) for path in self._listed)


def _plain(name: str) -> str:
    return nfc(os.path.normpath(name.replace("\\", "/"))).casefold()


def _index(files: Iterable[tuple[str, Path]]) -> dict[str, list[Path]]:
    """Returns files by normalized name, with and without a photo extension."""
    index: dict[str, list[Path]] = defaultdict(list)
    for name, path in files:
        index[_plain(name)].append(path)
        if path.suffix.lower() in EXTENSIONS:
            index[_plain(name[: -len(path.suffix)])].append(path)
    return index
