"""One pass over the source's files: which can be used, and what each is like."""

import hashlib
import os
import sys
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from tqdm import tqdm

from headstand.errors import HeadstandError
from headstand.images import ImageError, load, open_image
from headstand.prepare.conversion import conversions
from headstand.prepare.examined import Examined
from headstand.prepare.listing import Item, Listing
from headstand.prepare.memory import Memory, Note, State
from headstand.prepare.twins import Signature

EXTENSION = {"JPEG": ".jpg", "MPO": ".jpg", "PNG": ".png", "WEBP": ".webp", "GIF": ".gif", "BMP": ".bmp"}
"""The file name's end for each format that Pillow finds in a file, whatever the file was called."""

BLOCK = 4096
"""Files between two savings of what was found: what a killed run loses at most."""

Examine = Callable[[Path], Examined]


@dataclass(frozen=True)
class Candidate:
    """An item whose file can be used, and what it is like."""

    item: Item
    file: Examined


def examine(path: Path) -> Examined:
    """What preparation needs to know of a photo; all of it is decoded. It must be within the services' limits.

    Raises:
        ImageError: as `headstand.images.decode`.
        OSError: it cannot be read.
    """
    try:
        return _examine(path, large=False)
    except ImageError as error:
        if error.code != "too_large":
            raise
        raise ImageError(error.code, f"{error}; --source.large true accepts larger files of your own") from error


def examine_large(path: Path) -> Examined:
    """The same for a photo that may be larger than what the services accept."""
    return _examine(path, large=True)


def _examine(path: Path, large: bool) -> Examined:
    with path.open("rb") as file:
        data = load(file, large)
    with open_image(data, large) as image:
        format_, (width, height) = image.format or "", image.size
        signature = Signature.of(data)  # first, as it tells whether the rest of the file is sound
        digest = hashlib.sha256(data).hexdigest()
        return Examined(EXTENSION[format_], digest, width, height, signature, conversions(image))


def scan(listing: Listing, read: Examine = examine) -> tuple[list[Candidate], list[tuple[Item, str]]]:
    """Read every file, with as many threads as cores; those that an earlier run has read are not opened again.

    Args:
        listing: the items.
        read: what tells of a file, or raises a `HeadstandError` or `OSError` where it cannot be used.

    Returns:
        The items that can be used, in the listing's order, and the others with the reason why not.
    """
    memory = Memory(listing.root, f"{read.__module__}.{read.__qualname__}")
    found: list[Candidate] = []
    left_out: list[tuple[Item, str]] = []
    bar = tqdm(desc="reading", total=len(listing.items), unit="file", leave=False, disable=not sys.stderr.isatty())
    pool = ThreadPoolExecutor(os.cpu_count())
    try:
        for start in range(0, len(listing.items), BLOCK):
            block = listing.items[start : start + BLOCK]
            for item, note in zip(block, _notes(block, memory, read, pool), strict=True):
                bar.update()
                if len(note) == 1:
                    left_out.append((item, str(note[0])))
                else:
                    found.append(Candidate(item, _told(note)))
    finally:
        pool.shutdown(cancel_futures=True)
        bar.close()
    return found, left_out


def forget(listing: Listing, item: Item, read: Examine = examine) -> None:
    """Have an item's file read again by the next `scan`."""
    memory = Memory(listing.root, f"{read.__module__}.{read.__qualname__}")
    memory.forget(item.path)
    memory.save()


def _notes(block: tuple[Item, ...], memory: Memory, read: Examine, pool: ThreadPoolExecutor) -> Iterable[Note]:
    """The note on each item, from memory or from its file; what is new is saved, whatever happens."""
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


def _note(item: Item, memory: Memory, read: Examine) -> tuple[Note, State | None]:
    """What is to be said of a file, and its state where that is new and worth keeping."""
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


def _told(note: Note) -> Examined:
    extension, sha256, width, height, text, *names = note
    signature = Signature(str(text)) if text else None
    return Examined(str(extension), str(sha256), int(width), int(height), signature, tuple(map(str, names)))
