"""What was found in a source's files, kept so that a second preparation need not decode them again."""

import hashlib
import json
import os
from contextlib import suppress
from pathlib import Path

from headstand import files
from headstand.images import DECODER

VERSION = f"2-{DECODER}"
"""Version of the notes; a new value forgets all."""

Note = tuple[str | int, ...]

State = tuple[int, int]


class Memory:
    """Notes on the files below a folder, each good as long as its file has the same size and time of change.

    One JSON line a file, some 300 bytes, in `scan/` of the cache folder; a damaged line counts for nothing.
    """

    def __init__(self, root: Path, subject: str) -> None:
        """Open the notes on a folder's files.

        Args:
            root: the folder.
            subject: what the notes are about; those about others are kept apart.
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
        """Size and time of change (ns) of a file.

        Raises:
            OSError: it cannot be looked at.
        """
        status = path.stat()
        return status.st_size, status.st_mtime_ns

    def recall(self, path: Path, state: State) -> Note | None:
        """What was noted of a file; None if nothing, or of another state."""
        noted, note = self._notes.get(self._key(path), (None, None))
        return note if noted == state else None

    def keep(self, path: Path, state: State, note: Note) -> None:
        """Note something of a file as it was in that state."""
        self._notes[self._key(path)] = state, note

    def forget(self, path: Path) -> None:
        """Drop the note of a file."""
        self._notes.pop(self._key(path), None)

    def save(self) -> None:
        """Write all notes in one step. A cache folder that cannot be written costs time later, and nothing else."""
        with suppress(OSError), files.replacing(self._path) as part, part.open("w", encoding="ascii") as file:
            file.writelines(f"{json.dumps((name, *entry))}\n" for name, entry in self._notes.items())

    def _key(self, path: Path) -> str:
        return os.path.relpath(path.absolute(), self._root)
