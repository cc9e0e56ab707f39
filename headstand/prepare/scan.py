"""Scan of a source's files: reads each one, extracts its metadata, and leaves out unusable files."""

import hashlib
import sys
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from tqdm import tqdm

from headstand import cores
from headstand.errors import HeadstandError
from headstand.images import ImageError, load, open_image
from headstand.prepare.conversion import conversions
from headstand.prepare.file_metadata import FileMetadata
from headstand.prepare.listing import Item, Listing
from headstand.prepare.near_duplicates import Signature
from headstand.prepare.scan_cache import Note, ScanCache, State

EXTENSION = {"JPEG": ".jpg", "MPO": ".jpg", "PNG": ".png", "WEBP": ".webp", "GIF": ".gif", "BMP": ".bmp"}
"""File name extension for each Pillow format; the format is detected from the content, not from the file name."""

BLOCK = 4096
"""Number of files after which the cache is saved: the most that a killed run has to read again."""

Examine = Callable[[Path], FileMetadata]


@dataclass(frozen=True)
class ScannedFile:
    """An item whose file is usable, with the metadata of the file."""

    item: Item
    file: FileMetadata


def examine(path: Path) -> FileMetadata:
    """Returns the metadata of a photo, which is decoded completely and must be within the limits of the services.

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
        data = load(file, large)
    with open_image(data, large) as image:
        format_, (width, height) = image.format or "", image.size
        signature = Signature.of(data)  # first, because it decodes the file and so detects damage
        digest = hashlib.sha256(data).hexdigest()
        return FileMetadata(EXTENSION[format_], digest, width, height, signature, conversions(image))


def scan(listing: Listing, read: Examine = examine) -> tuple[list[ScannedFile], list[tuple[Item, str]]]:
    """Reads every file with as many threads as cores; unchanged files that an earlier run has read come from the cache.

    Args:
        listing: the items.
        read: returns the metadata of a file, or raises a `HeadstandError` or `OSError` if it is unusable.

    Returns:
        The usable items in the listing's order, and the others each with the reason.
    """
    memory = ScanCache(listing.root, f"{read.__module__}.{read.__qualname__}")
    found: list[ScannedFile] = []
    left_out: list[tuple[Item, str]] = []
    bar = tqdm(desc="reading", total=len(listing.items), unit="file", leave=False, disable=not sys.stderr.isatty())
    pool = ThreadPoolExecutor(cores.available())
    try:
        for start in range(0, len(listing.items), BLOCK):
            block = listing.items[start : start + BLOCK]
            for item, note in zip(block, _notes(block, memory, read, pool), strict=True):
                bar.update()
                if len(note) == 1:
                    left_out.append((item, str(note[0])))
                else:
                    found.append(ScannedFile(item, _told(note)))
    finally:
        pool.shutdown(cancel_futures=True)
        bar.close()
    return found, left_out


def forget(listing: Listing, item: Item, read: Examine = examine) -> None:
    """Removes an item's file from the cache, so that the next `scan` reads it again."""
    memory = ScanCache(listing.root, f"{read.__module__}.{read.__qualname__}")
    memory.forget(item.path)
    memory.save()


def _notes(block: tuple[Item, ...], memory: ScanCache, read: Examine, pool: ThreadPoolExecutor) -> Iterable[Note]:
    """Yields the cache entry of each item, from the cache or from its file; saves new entries even after an error."""
    new = False
    try:
        for item, (note, state) in zip(block, pool.map(lambda item: _note(item, memory, read), block), strict=True):
            if state:
                memory.keep(item.path, state, note)
                new = True
            yield note
    finally:
        if new:
            memory.save()


def _note(item: Item, memory: ScanCache, read: Examine) -> tuple[Note, State | None]:
    """Returns the cache entry of a file, and the file's state if the entry is new and can be cached, otherwise None.

    The entry of an unusable file is a tuple with only the reason. Operating system errors are not cached.
    """
    try:
        state = memory.state(item.path)
        known = memory.recall(item.path, state)
        if known:
            return known, None
        told = read(item.path)
    except HeadstandError as error:
        return (str(error),), state
    except OSError as error:
        return (f"cannot be read ({error.strerror or error})",), None
    text = told.signature.text if told.signature else ""
    return (told.extension, told.sha256, told.width, told.height, text, *told.conversions), state


def _told(note: Note) -> FileMetadata:
    extension, sha256, width, height, text, *names = note
    signature = Signature(str(text)) if text else None
    return FileMetadata(str(extension), str(sha256), int(width), int(height), signature, tuple(map(str, names)))
