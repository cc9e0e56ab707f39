"""Recursive listing of a source folder, without hidden and system folders and without links to other users' files."""

import os
import re
from collections import Counter, deque
from dataclasses import dataclass, field
from pathlib import Path

from headstand.errors import HeadstandError
from headstand.preparation.listing import counted

_SYSTEM = re.compile(
    r"\..*|__macosx.*|__pycache__|@eadir|@recycle|@recently-snapshot|@sharebin|@tmp|@transcode|#recycle|#snapshot"
    r"|~snapshot|\$recycle\.bin|\$extend|system volume information|lost\+found|lost\.dir|found\.\d{3}"
    r"|network trash folder|temporary items|resource\.frk",
    re.IGNORECASE | re.DOTALL,
)
"""Names of folders that operating systems, network drives and notebooks add: hidden, thumbnails, deleted files."""


class WalkError(HeadstandError):
    """Raised for a folder that cannot be read."""


@dataclass(frozen=True)
class Walk:
    """Contents of a folder, recursively; all paths are relative to it, with slashes.

    Attributes:
        files: visible regular files, in no particular order.
        folders: visible folders.
        links: symbolic links that were not followed: broken ones, links to the files of another user, and links to
            a folder that is already listed under its own path.
        system: number of files in hidden and system folders, by folder name; none of these files is in `files`.
    """

    files: list[str] = field(default_factory=list)
    folders: list[str] = field(default_factory=list)
    links: list[str] = field(default_factory=list)
    system: dict[str, int] = field(default_factory=dict)

    def lines(self) -> list[str]:
        """Returns summary lines about the skipped files."""
        count = sum(self.system.values())
        names = ", ".join(sorted(self.system))
        return [f"skipped: {counted(count, 'file')} in system folders ({names})"] if count else []


def is_system(name: str) -> bool:
    """Returns whether a folder of this name is a hidden or a system folder, which does not belong to the data."""
    return bool(_SYSTEM.fullmatch(name))


def walk(root: Path) -> Walk:
    """Lists the files and folders below `root`.

    Links are followed to files and folders that lie in `root`, or belong to the user of this process or to the owner of
    `root`. Each folder is read once, so links cannot form a loop.

    Raises:
        WalkError: a folder cannot be read.
    """
    try:
        return _walk(root)
    except OSError as error:
        raise WalkError(f"{error.filename or root} cannot be read: {error.strerror or error}") from error


def _walk(root: Path) -> Walk:
    home = os.path.realpath(root)
    owners = {os.stat(root).st_uid, _user()}  # noqa: PTH116 - the paths here are texts, there may be a million
    files: list[str] = []
    folders: list[str] = []
    system: Counter[str] = Counter()
    read: set[str] = set()
    links: list[str] = []
    waiting, linked = deque([""]), deque[str]()
    while waiting or linked:
        # Linked folders come last, so that a folder in `root` is listed under its own path.
        below = waiting.popleft() if waiting else linked.popleft()
        path = os.path.join(root, below)  # noqa: PTH118
        real = os.path.realpath(path)
        if real in read:
            links.append(below)
            continue
        read.add(real)
        if below:
            folders.append(below)
        with os.scandir(path) as entries:
            for entry in sorted(entries, key=lambda entry: entry.name):
                name = f"{below}/{entry.name}" if below else entry.name
                link = entry.is_symlink()
                if link and not _may_follow(entry.path, home, owners):
                    links += [] if entry.name.startswith(".") else [name]
                elif entry.is_dir() and is_system(entry.name):
                    system[entry.name] += 0 if link else _files_in(entry.path)
                elif entry.is_dir():
                    (linked if link else waiting).append(name)
                elif entry.is_file() and not entry.name.startswith("."):
                    files.append(name)
    return Walk(files, folders, links, dict(system))


def _user() -> int:
    """Returns the user ID of this process; 0 on a system without user IDs, where it is the owner of every file."""
    return os.getuid() if hasattr(os, "getuid") else 0


def _may_follow(path: str, home: str, owners: set[int]) -> bool:
    """Returns whether a link's target exists, and lies in `home` or belongs to one of `owners`."""
    try:
        status = os.stat(path)  # noqa: PTH116
    except OSError:
        return False
    return status.st_uid in owners or os.path.realpath(path).startswith(os.path.join(home, ""))  # noqa: PTH118


def _files_in(folder: str) -> int:
    return sum(len(names) for _, _, names in os.walk(folder))
