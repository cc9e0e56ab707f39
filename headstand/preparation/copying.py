"""Copying of dataset files with checksum verification; an interrupted copy is resumed by the next call."""

import hashlib
import shutil
from collections.abc import Sequence
from pathlib import Path

from headstand import threads
from headstand.errors import HeadstandError
from headstand.files import digest
from headstand.preparation.manifest import Photo


class ChangedError(HeadstandError):
    """Raised if a source file has changed since it was first read; `path` is that file."""

    def __init__(self, path: Path) -> None:
        super().__init__(
            f"{path} changed while it was being prepared: stop other programs that write to it and prepare again"
        )
        self.path = path


def copy(files: Sequence[Path], rows: Sequence[Photo], folder: Path) -> None:
    """Copies each file to the path of its row below `folder` and removes all other files from `folder`.

    Files that are already there with the right SHA-256 are kept, so the next call resumes an interrupted one.

    Args:
        files: source files.
        rows: manifest rows, one per source file in the same order.
        folder: target folder; created if missing.

    Raises:
        ChangedError: the SHA-256 of a source file differs from its row's.
        OSError: a file cannot be read or written. `folder` is then removed, since it may be what fills the disk.
    """
    try:
        _remove_others(folder, {row.path for row in rows})
        for parent in {(folder / row.path).parent for row in rows}:
            parent.mkdir(parents=True, exist_ok=True)
        pairs = list(zip(files, rows, strict=True))
        for _ in threads.parallel(lambda pair: _copy(*pair, folder), pairs, "copying", "file"):
            pass
    except OSError:
        shutil.rmtree(folder, ignore_errors=True)
        raise


def _copy(path: Path, row: Photo, folder: Path) -> None:
    copy_ = folder / row.path
    if copy_.is_file() and digest(copy_) == row.sha256:
        return
    data = path.read_bytes()
    if hashlib.sha256(data).hexdigest() != row.sha256:
        raise ChangedError(path)
    copy_.write_bytes(data)


def _remove_others(folder: Path, names: set[str]) -> None:
    for path in sorted(folder.rglob("*"), reverse=True):  # what is in a folder comes before the folder
        if path.is_dir() and not path.is_symlink():
            if not any(path.iterdir()):
                path.rmdir()
        elif path.is_symlink() or path.relative_to(folder).as_posix() not in names:
            path.unlink()
