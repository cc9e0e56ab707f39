"""Copies of files that end up whole, and take up where an interrupted run stopped."""

import hashlib
import os
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

from tqdm import tqdm

from headstand.errors import HeadstandError
from headstand.prepare.manifest import Photo


class ChangedError(HeadstandError):
    """A file that is not what it was when it was read first; `path` is that file."""

    def __init__(self, path: Path) -> None:
        super().__init__(f"{path} changed while it was being prepared: let it come to rest and run it again")
        self.path = path


def copy(files: Sequence[Path], rows: Sequence[Photo], folder: Path) -> None:
    """Copy each file to its row's path below `folder`, and remove all else from there.

    What is there with the right bytes stays, so an interrupted call is taken up again by the next one. Where the disk
    refuses, `folder` goes: it may be what the disk is full of.

    Raises:
        ChangedError: a file's bytes are not the row's any more.
        OSError: a file cannot be read or written.
    """
    try:
        _remove_others(folder, {row.path for row in rows})
        for place in {(folder / row.path).parent for row in rows}:
            place.mkdir(parents=True, exist_ok=True)
        work = tqdm(
            zip(files, rows, strict=True),
            "copying",
            len(rows),
            unit="file",
            leave=False,
            disable=not sys.stderr.isatty(),
        )
        for path, row in work:
            copy_ = folder / row.path
            if copy_.is_file() and hashlib.sha256(copy_.read_bytes()).hexdigest() == row.sha256:
                continue
            data = path.read_bytes()
            if hashlib.sha256(data).hexdigest() != row.sha256:
                raise ChangedError(path)
            copy_.write_bytes(data)
    except OSError:
        shutil.rmtree(folder, ignore_errors=True)
        raise


def _remove_others(folder: Path, names: set[str]) -> None:
    for place, folders, files in os.walk(folder, topdown=False):
        for name in files:
            path = Path(place, name)
            if path.relative_to(folder).as_posix() not in names or path.is_symlink():
                path.unlink()
        for name in folders:
            path = Path(place, name)
            if path.is_symlink():
                path.unlink()
            elif not any(path.iterdir()):
                path.rmdir()
