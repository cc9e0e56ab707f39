"""Atomic writes of files and folders, digests, states, locks, and the cache directory.

Names of temporary files and locks start with a dot, so that listings of photos and copies of folders skip them.
"""

import hashlib
import itertools
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock

_LONGEST = 100
"""Bytes of the file name that are kept in the name of its temporary file, which must stay below 255 bytes."""

_CACHE = ".cache/headstand"

_numbers = itertools.count()


@contextmanager
def replacing(path: Path, folder: Path | None = None) -> Iterator[Path]:
    """Writes a file atomically: readers see either the old or the new content.

    Args:
        path: path of the file. Its folder is created if necessary.
        folder: folder of the temporary file, on the same file system; by default that of `path`.

    Yields:
        The path of a temporary file to write, unique to this call. It replaces `path` when the block ends without an
        exception, and is removed otherwise.
    """
    folder = folder or path.parent
    if not path.parent.is_dir():  # quicker than creating it in vain
        path.parent.mkdir(parents=True, exist_ok=True)
    name = os.fsencode(path.name)[:_LONGEST].decode("utf-8", "ignore")
    part = folder / f".{name}.{os.getpid()}-{next(_numbers)}.part"
    try:
        yield part
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def write(path: Path, data: bytes | str) -> Path:
    """Writes bytes, or text as UTF-8 without newline conversion, atomically, and returns the path."""
    with replacing(path) as part:
        part.write_bytes(data.encode() if isinstance(data, str) else data)
    return path


@contextmanager
def building(target: Path) -> Iterator[Path]:
    """Creates a folder atomically. Only one process at a time may do so for a target: see `sole`.

    Yields:
        The path of an empty temporary folder. It is renamed to `target` when the block ends without an exception, and
        removed otherwise. One left by a killed process is removed first.

    Raises:
        OSError: `target` exists and is not an empty folder, or a file cannot be written.
    """
    part = target.with_name(f".{target.name}.part")
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)
    try:
        yield part
        if target.exists():
            target.rmdir()  # fails unless it is empty; Windows cannot rename onto an existing folder
        part.rename(target)
    finally:
        shutil.rmtree(part, ignore_errors=True)


def digest(path: Path) -> str:
    """Returns the SHA-256 digest of a file's content in hexadecimal digits.

    Raises:
        OSError: the file cannot be read.
    """
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def state(path: Path) -> tuple[int, int]:
    """Returns a file's size in bytes and its modification time in nanoseconds, which are quicker to read than a digest.

    Raises:
        OSError: `stat` fails.
    """
    status = path.stat()
    return status.st_size, status.st_mtime_ns


@contextmanager
def sole(target: Path) -> Iterator[None]:
    """Holds an exclusive lock for `target`, so that a second process waits and then finds the target finished.

    The lock is released when the process ends in any way; its empty file `.NAME.lock` remains.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(target.with_name(f".{target.name}.lock")):
        yield


def cache() -> Path:
    """Returns the directory of all caches: `HEADSTAND_CACHE`, by default `.cache/headstand` in the working directory.

    If `HEADSTAND_CACHE` is a URL, the directory is a local mirror, named after a hash of the URL;
    `headstand.storage.cached` synchronises some of its folders.
    """
    location = os.environ.get("HEADSTAND_CACHE") or _CACHE
    if "://" in location:
        return Path(_CACHE) / hashlib.sha256(location.rstrip("/").encode()).hexdigest()[:16]
    return Path(location).expanduser()
