"""On-disk cache of metadata extracted from source files, so that a second preparation need not decode them again."""

import hashlib
import json
import os
from contextlib import suppress
from pathlib import Path

from headstand import files
from headstand.images import DECODER

VERSION = f"2-{DECODER}"
"""Version of the cache entries; a new value invalidates all of them."""

Note = tuple[str | int, ...]

State = tuple[int, int]


class ScanCache:
    """Cache with one entry per file below a folder, valid while the file has the same size and modification time.

    An entry is one JSON line of some 300 bytes in `scan/` of the cache folder. Damaged lines are ignored.
    """

    def __init__(self, root: Path, subject: str) -> None:
        """Loads the cached entries of a folder's files.

        Args:
            root: the folder.
            subject: name of the kind of metadata; each kind has its own cache file.
        """
        self._root = root.absolute()
        self._notes: dict[str, tuple[State, Note]] = {}
        key = hashlib.sha256(os.fsencode(self._root) + f"\0{subject}\0{VERSION}".encode()).hexdigest()[:16]
        self._path = files.cache() / "scan" / f"{key}.jsonl"
        with suppress(OSError), self._path.open(encoding="ascii", errors="replace") as file:
            for line in file:
                with suppress(ValueError, TypeError):
                    name, (size, changed), note = json.loads(line)
                    self._notes[name] = (size, changed), tuple(note)

    def state(self, path: Path) -> State:
        """Returns the size in bytes and the modification time in nanoseconds of a file.

        Raises:
            OSError: `stat` fails.
        """
        status = path.stat()
        return status.st_size, status.st_mtime_ns

    def recall(self, path: Path, state: State) -> Note | None:
        """Returns the cached entry of a file; None if there is none or the file's state differs."""
        noted, note = self._notes.get(self._key(path), (None, None))
        return note if noted == state else None

    def keep(self, path: Path, state: State, note: Note) -> None:
        """Stores an entry for a file with the state that it was extracted from."""
        self._notes[self._key(path)] = state, note

    def forget(self, path: Path) -> None:
        """Removes the entry of a file."""
        self._notes.pop(self._key(path), None)

    def save(self) -> None:
        """Writes all entries to disk atomically; errors are ignored, since they only cost time in the next run."""
        with suppress(OSError), files.replacing(self._path) as part, part.open("w", encoding="ascii") as file:
            file.writelines(f"{json.dumps((name, *entry))}\n" for name, entry in self._notes.items())

    def _key(self, path: Path) -> str:
        return os.path.relpath(path.absolute(), self._root)
