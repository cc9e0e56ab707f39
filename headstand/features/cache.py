"""Cache of feature rows on disk, shared by all runs: appended to in batches, read by key.

A folder holds the rows of one configuration (network, weights, size, pooling, decoder). Every writer appends to a file
of its own, a sequence of fixed-width records: key, row, checksum. A writer that is killed leaves at most one partial
record at the end of its file, and readers skip records whose checksum does not match.

Only the keys are held in memory, about 40 bytes per row. Files are read record by record instead of memory-mapped,
since touched pages of a mapping count as memory of the process.
"""

import contextlib
import tempfile
import uuid
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO

import numpy as np

KEY_BYTES = 32
"""Length of a key, a SHA-256 digest."""

_ENTRY = np.dtype([("key", f"S{KEY_BYTES}"), ("file", "<u4"), ("record", "<u4")])
"""Index entry: key, file number, record number. `S` strips trailing zero bytes of a key but compares as if padded with
them, which is exact since all keys have the same length."""


def _record(width: int) -> np.dtype:
    return np.dtype([("key", f"V{KEY_BYTES}"), ("row", "<f4", (width,)), ("crc", "<u4")])


def packed(keys: Sequence[bytes] | np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Returns the file records (key, row, CRC-32) of N keys and their rows `float32 [N, width]`."""
    records = np.empty(len(keys), _record(rows.shape[1]))
    records["key"], records["row"] = np.array(keys, f"V{KEY_BYTES}"), rows
    records["crc"] = [zlib.crc32(record.tobytes()[:-4]) for record in records]
    return records


class FeatureCache:
    """Cache of rows `float32 [width]` by key, in one folder."""

    def __init__(self, folder: Path, width: int) -> None:
        """Opens the folder, creating it if it is missing, and indexes its records.

        Args:
            folder: folder of the record files.
            width: number of values in a row.
        """
        self._folder = folder
        self._record = _record(width)
        self._paths: list[Path] = []
        self._sorted = np.empty(0, _ENTRY)
        self._unsorted: list[np.ndarray] = []
        self._own: tuple[int, int] | None = None
        folder.mkdir(parents=True, exist_ok=True)
        for path in sorted(folder.glob("*.rows")):
            self._index(path)

    def _index(self, path: Path) -> None:
        entries = np.empty(path.stat().st_size // self._record.itemsize, _ENTRY)
        with path.open("rb", buffering=0) as file:
            for record in range(len(entries)):
                file.seek(record * self._record.itemsize)
                entries["key"][record] = file.read(KEY_BYTES)
        entries["file"], entries["record"] = len(self._paths), np.arange(len(entries))
        self._paths.append(path)
        self._unsorted.append(entries)

    def read(self, keys: Sequence[bytes] | np.ndarray, into: np.ndarray) -> list[int]:
        """Copies the cached rows into an array and returns the positions of the missing ones.

        Args:
            keys: N keys of `KEY_BYTES` bytes, or an array of them (`V32`).
            into: `float32 [N, width]`; rows whose key is in the cache are filled.

        Returns:
            The positions of the keys that are not in the cache or whose record is damaged.
        """
        entries = self._entries()
        stored = np.array(keys, f"V{KEY_BYTES}").view(f"S{KEY_BYTES}")
        # A key occurs more than once if a damaged record was computed again or two writers computed the same row.
        first, last = (np.searchsorted(entries["key"], stored, side) for side in ("left", "right"))
        missing = []
        with contextlib.ExitStack() as opened:
            files: dict[int, BinaryIO] = {}
            for position in range(len(stored)):
                for entry in entries[first[position] : last[position]]:
                    number = int(entry["file"])
                    if number not in files:
                        files[number] = opened.enter_context(self._paths[number].open("rb", buffering=0))
                    record = self._at(files[number], int(entry["record"]))
                    if record is not None and record["key"].tobytes() == bytes(keys[position]):
                        into[position] = record["row"]
                        break
                else:
                    missing.append(position)
        return missing

    def _entries(self) -> np.ndarray:
        """Returns the index entries of all rows, sorted by key."""
        if self._unsorted:
            entries = np.concatenate([self._sorted, *self._unsorted])
            self._sorted = entries[np.argsort(entries["key"], kind="stable")]
            self._unsorted = []
        return self._sorted

    def _at(self, file: BinaryIO, number: int) -> np.ndarray | None:
        """Returns a record of a file as a structured scalar; None if it is truncated or damaged."""
        file.seek(number * self._record.itemsize)
        data = file.read(self._record.itemsize)
        if len(data) < self._record.itemsize:
            return None
        record: np.ndarray = np.frombuffer(data, self._record)[0]
        return record if zlib.crc32(data[:-4]) == record["crc"] else None

    def seal(self) -> None:
        """Makes the next `append` start a new file; existing files do not change any more."""
        self._own = None

    def append(self, keys: Sequence[bytes] | np.ndarray, rows: np.ndarray) -> None:
        """Appends rows `float32 [N, width]`; they are handed to the operating system before it returns."""
        records = packed(keys, rows)
        if self._own is None:
            self._own = len(self._paths), 0
            self._paths.append(self._folder / f"{uuid.uuid4().hex}.rows")
        own, written = self._own
        # After a failed write, as on a full disk, the file may end in a partial record: the next rows need a new file.
        self._own = None
        with self._paths[own].open("ab") as file:
            file.write(records.tobytes())
        self._own = own, written + len(records)
        entries = np.empty(len(records), _ENTRY)
        entries["key"] = np.array(keys, f"V{KEY_BYTES}").view(f"S{KEY_BYTES}")
        entries["file"], entries["record"] = own, written + np.arange(len(records))
        self._unsorted.append(entries)


class FeatureTable:
    """A table `float32 [count, width]` in an unnamed temporary file, so that memory does not grow with the photos.

    The file is freed when nothing refers to it any more.
    """

    def __init__(self, folder: Path, count: int, width: int) -> None:
        self._file = tempfile.TemporaryFile(dir=folder, buffering=0)  # noqa: SIM115 - closed by __exit__
        self._shape = count, width

    def __enter__(self) -> "FeatureTable":
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def write(self, index: int, rows: np.ndarray) -> None:
        """Writes rows `float32 [N, width]` from row `index` on.

        They are written to the file and not through the map, whose touched pages would count as memory of the process.
        """
        self._file.seek(index * self._shape[1] * 4)
        data = memoryview(np.ascontiguousarray(rows, "<f4").tobytes())
        while data:
            data = data[self._file.write(data) :]

    def mapped(self) -> np.ndarray:
        """Returns the table as a memory map for reading, which stays valid after the file is closed.

        It is mapped copy-on-write and not read-only, since TensorFlow shares only writable memory; nothing that is
        written to it reaches the file.
        """
        if not self._shape[0]:
            return np.empty(self._shape, np.float32)
        return np.memmap(self._file, np.float32, "c", shape=self._shape)
