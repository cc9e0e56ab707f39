"""Files and folders that are complete or absent: atomic writes, digests, locks and the cache directory.

Temporary files and locks have hidden names, which listings of photos and copies of folders leave out.
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
"""Bytes of a file's name in its temporary file's name, which must stay below 255 bytes."""

_CACHE = ".cache/headstand"

_numbers = itertools.count()


@contextmanager
def replacing(path: Path, folder: Path | None = None) -> Iterator[Path]:
    """Write a file in one step: readers see the old content or the new one.

    Args:
        path: of the file. Its folder is made if need be.
        folder: of the temporary file, on the same file system; that of `path` by default.

    Yields:
        The path of a temporary file to write, which no other thread or process uses. It replaces `path` when the block
        ends without an exception, and is removed otherwise.
    """
    folder = folder or path.parent
    path.parent.mkdir(parents=True, exist_ok=True)
    name = os.fsencode(path.name)[:_LONGEST].decode("utf-8", "ignore")
    part = folder / f".{name}.{os.getpid()}-{next(_numbers)}.part"
    try:
        yield part
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def write(path: Path, data: bytes | str) -> Path:
    """Write bytes, or text as UTF-8 with its line ends unchanged, in one step, and return the path."""
    with replacing(path) as part:
        part.write_bytes(data.encode() if isinstance(data, str) else data)
    return path


@contextmanager
def building(target: Path) -> Iterator[Path]:
    """Fill a new folder in one step. At most one process may do so at a time: see `sole`.

    Yields:
        The path of an empty temporary folder. It becomes `target` when the block ends without an exception, and is
        removed otherwise; one that a killed process left is removed first.

    Raises:
        OSError: `target` exists and is not an empty folder, or the disk refuses.
    """
    part = target.with_name(f".{target.name}.part")
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)
    try:
        yield part
        if target.exists():
            target.rmdir()  # an empty one, or this fails; Windows does not rename onto it
        part.rename(target)
    finally:
        shutil.rmtree(part, ignore_errors=True)


def digest(path: Path) -> str:
    """The SHA-256 of a file's content in hexadecimal digits.

    Raises:
        OSError: it cannot be read.
    """
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextmanager
def sole(target: Path) -> Iterator[None]:
    """Hold the lock of `target`: a second process that wants to make it waits here, and then finds it made.

    The lock ends with the process, however that ends; its empty file `.NAME.lock` stays.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(target.with_name(f".{target.name}.lock")):
        yield


def cache() -> Path:
    """The directory of all caches: `HEADSTAND_CACHE`, by default `.cache/headstand` in the working directory.

    If `HEADSTAND_CACHE` is an address, the directory is a local one that stands for it; `headstand.remote.cached`
    shares some of its folders.
    """
    location = os.environ.get("HEADSTAND_CACHE") or _CACHE
    if "://" in location:
        return Path(_CACHE) / hashlib.sha256(location.rstrip("/").encode()).hexdigest()[:16]
    return Path(location).expanduser()
