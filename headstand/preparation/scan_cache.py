"""On-disk cache of metadata extracted from source files, so that a second preparation need not decode them again."""

import hashlib
import json
import os
from contextlib import suppress
from pathlib import Path

from headstand import files
from headstand.errors import HeadstandError
from headstand.images import DECODER, isolated
from headstand.preparation.file_metadata import FileMetadata

VERSION = f"4-{DECODER}-{'-'.join(filter(isolated.enabled, isolated.MODULES))}"
"""Version of the cache entries; a new value invalidates all of them.

It has the formats that not every installation decodes, because the refusals of files are cached too.
"""

State = tuple[int, int]
"""Result of `files.state` for a file."""


class ScanCache:
    """Cache with one entry per file below a folder, valid while the file has the same size and modification time.

    An entry is one JSON line of some 500 bytes in `scan/` of the cache folder: a file's metadata, or the reason why it
    is unusable. Damaged lines are ignored.
    """

    def __init__(self, root: Path, subject: str) -> None:
        """Loads the cached entries of a folder's files.

        Args:
            root: the folder.
            subject: name of the kind of metadata; each kind has its own cache file.
        """
        self._entries: dict[str, tuple[State, FileMetadata | str]] = {}
        key = hashlib.sha256(os.fsencode(root.absolute()) + f"\0{subject}\0{VERSION}".encode()).hexdigest()[:16]
        self._path = files.cache() / "scan" / f"{key}.jsonl"
        with suppress(OSError), self._path.open(encoding="ascii", errors="replace") as file:
            for line in file:
                with suppress(ValueError, TypeError, KeyError, HeadstandError):
                    name, (size, changed), result = json.loads(line)
                    result = result if isinstance(result, str) else FileMetadata.from_json(result)
                    self._entries[name] = (size, changed), result

    def recall(self, path: Path, state: State) -> FileMetadata | str | None:
        """Returns the cached result of a file; None if there is none or the file's state differs."""
        cached, result = self._entries.get(self._key(path), (None, None))
        return result if cached == state else None

    def keep(self, path: Path, state: State, result: FileMetadata | str) -> None:
        """Stores the result of a file with the state that it belongs to."""
        self._entries[self._key(path)] = state, result

    def forget(self, path: Path) -> None:
        """Removes the entry of a file."""
        self._entries.pop(self._key(path), None)

    def save(self) -> None:
        """Writes all entries to disk atomically; errors are ignored, since they only cost time in the next run."""
        with suppress(OSError), files.replacing(self._path) as part, part.open("w", encoding="ascii") as file:
            for name, (state, result) in self._entries.items():
                file.write(f"{json.dumps((name, state, result if isinstance(result, str) else result.as_json()))}\n")

    def _key(self, path: Path) -> str:
        return os.fspath(path.absolute())
