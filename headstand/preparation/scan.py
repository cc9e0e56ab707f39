"""Scan of a source's files: reads each one, extracts its metadata, and leaves out unusable files."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from tqdm import tqdm

from headstand import files, threads
from headstand.errors import HeadstandError
from headstand.images import ImageError, load
from headstand.preparation import examination
from headstand.preparation.file_metadata import FileMetadata
from headstand.preparation.listing import Item, Listing
from headstand.preparation.scan_cache import ScanCache, State

BLOCK = 4096
"""Number of files after which the cache is saved: the most that a killed run has to read again."""

Examine = Callable[[Path], FileMetadata]


@dataclass(frozen=True)
class ScannedFile:
    """An item whose file is usable, with the metadata of the file."""

    item: Item
    file: FileMetadata


def examine(path: Path) -> FileMetadata:
    """Returns the metadata of a photo (see `headstand.preparation.examination.examine`).

    Raises:
        ImageError: the photo cannot be decoded or exceeds the limits, as in `headstand.images.decode`.
        OSError: the file cannot be read.
    """
    try:
        return _examine(path, large=False)
    except ImageError as error:
        if error.code != "too_large":
            raise
        raise ImageError(error.code, f"{error}; --source.large true accepts larger files of your own") from error


def examine_large(path: Path) -> FileMetadata:
    """Returns the metadata of a photo like `examine`, with the higher size limits for a user's own files."""
    return _examine(path, large=True)


def _examine(path: Path, large: bool) -> FileMetadata:
    with path.open("rb") as file:
        return examination.examine(load(file, large), large).file


def scan(listing: Listing, read: Examine = examine) -> tuple[list[ScannedFile], list[tuple[Item, str]]]:
    """Reads every file with as many threads as cores; unchanged files that an earlier run has read come from the cache.

    Args:
        listing: the items.
        read: returns the metadata of a file, or raises a `HeadstandError` or `OSError` if it is unusable.

    Returns:
        The usable items in the listing's order, and the others each with the reason.
    """
    cache = _cache(listing, read)
    found: list[ScannedFile] = []
    left_out: list[tuple[Item, str]] = []
    with tqdm(desc="reading", total=len(listing.items), unit="file", leave=False, disable=None) as bar:
        for start in range(0, len(listing.items), BLOCK):
            block = listing.items[start : start + BLOCK]
            for item, result in zip(block, _results(block, cache, read), strict=True):
                bar.update()
                if isinstance(result, str):
                    left_out.append((item, result))
                else:
                    found.append(ScannedFile(item, result))
    return found, left_out


def forget(listing: Listing, item: Item, read: Examine = examine) -> None:
    """Removes an item's file from the cache, so that the next `scan` reads it again."""
    cache = _cache(listing, read)
    cache.forget(item.path)
    cache.save()


def _cache(listing: Listing, read: Examine) -> ScanCache:
    return ScanCache(listing.root, f"{read.__module__}.{read.__qualname__}")


def _results(block: tuple[Item, ...], cache: ScanCache, read: Examine) -> Iterable[FileMetadata | str]:
    """Yields the result for each item, from the cache or from its file; saves new results even after an error."""
    new = False
    try:
        work = threads.parallel(lambda item: _result(item, cache, read), block)
        for item, (result, state) in zip(block, work, strict=True):
            if state:
                cache.keep(item.path, state, result)
                new = True
            yield result
    finally:
        if new:
            cache.save()


def _result(item: Item, cache: ScanCache, read: Examine) -> tuple[FileMetadata | str, State | None]:
    """Returns a file's metadata, or the reason why it is unusable, and its state if the result is to be cached.

    The state is None if the result comes from the cache, or is an error of the operating system.
    """
    try:
        state = files.state(item.path)
        known = cache.recall(item.path, state)
        if known is not None:
            return known, None
        return read(item.path), state
    except HeadstandError as error:
        return str(error), state
    except OSError as error:
        return f"cannot be read ({error.strerror or error})", None
