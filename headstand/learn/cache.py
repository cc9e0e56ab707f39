"""Rows on disk: one folder for all runs, appended to batch by batch, read by key.

A folder belongs to one way of computing rows (network, weights, size, pooling, decoder). In it every writer has a
file of its own, a sequence of fixed-width records: key, row, checksum. A writer that is killed leaves at most one
half record at the end of its file, and readers pass over what does not check out.

Memory holds the keys alone, some 40 bytes a row: files are read record by record and not mapped, since what is mapped
and touched counts as the process's own.
"""

import contextlib
import uuid
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO

import numpy as np

KEY_BYTES = 32
"""A key is a SHA-256 digest."""

_ENTRY = np.dtype([("key", f"S{KEY_BYTES}"), ("file", "<u4"), ("record", "<u4")])
"""Where a row lies. `S` drops zero bytes at a key's end, and compares as if they were there: all keys are as long."""


def _record(width: int) -> np.dtype:
    return np.dtype([("key", f"V{KEY_BYTES}"), ("row", "<f4", (width,)), ("crc", "<u4")])


def packed(keys: Sequence[bytes] | np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Records of N keys and their rows `float32 [N, width]`, as the files hold them."""
    records = np.empty(len(keys), _record(rows.shape[1]))
    records["key"], records["row"] = np.array(keys, f"V{KEY_BYTES}"), rows
    records["crc"] = [zlib.crc32(record.tobytes()[:-4]) for record in records]
    return records


class FeatureCache:
    """Rows of `float32 [width]` by key."""

    def __init__(self, folder: Path, width: int) -> None:
        """Open the folder (made when missing) and index what is there.

        Args:
            folder: where the records lie.
            width: values in a row.
        """
        self._folder = folder
        self._record = _record(width)
        self._paths: list[Path] = []
        self._sorted = np.empty(0, _ENTRY)
        self._fresh: list[np.ndarray] = []
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
        self._fresh.append(entries)

    def read(self, keys: Sequence[bytes] | np.ndarray, into: np.ndarray) -> list[int]:
        """Copy the rows that are known.

        Args:
            keys: N keys of `KEY_BYTES` bytes, or an array of them (`V32`).
            into: `float32 [N, width]`, filled where a key is known.

        Returns:
            The positions of the keys that are not known, or whose record is damaged.
        """
        entries = self._entries()
        asked = np.array(keys, f"V{KEY_BYTES}").view(f"S{KEY_BYTES}")
        # A key stands more than once where a damaged record was computed again, or two writers met.
        first, last = (np.searchsorted(entries["key"], asked, side) for side in ("left", "right"))
        missing = []
        with contextlib.ExitStack() as opened:
            files: dict[int, BinaryIO] = {}
            for position in range(len(asked)):
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
        """Where all rows lie, sorted by key."""
        if self._fresh:
            entries = np.concatenate([self._sorted, *self._fresh])
            self._sorted = entries[np.argsort(entries["key"], kind="stable")]
            self._fresh = []
        return self._sorted

    def _at(self, file: BinaryIO, number: int) -> np.ndarray | None:
        """A record (a structured scalar); None where it is cut short or damaged."""
        file.seek(number * self._record.itemsize)
        data = file.read(self._record.itemsize)
        if len(data) < self._record.itemsize:
            return None
        record: np.ndarray = np.frombuffer(data, self._record)[0]
        return record if zlib.crc32(data[:-4]) == record["crc"] else None

    def seal(self) -> None:
        """Begin a new file with what comes next: those that are there stay as they are."""
        self._own = None

    def append(self, keys: Sequence[bytes] | np.ndarray, rows: np.ndarray) -> None:
        """Add rows (`float32 [N, width]`) and hand them to the operating system before returning."""
        records = packed(keys, rows)
        if self._own is None:
            self._own = len(self._paths), 0
            self._paths.append(self._folder / f"{uuid.uuid4().hex}.rows")
        own, written = self._own
        # Half a record may stand at the end of a file whose disk was full: what comes after needs a file of its own.
        self._own = None
        with self._paths[own].open("ab") as file:
            file.write(records.tobytes())
        self._own = own, written + len(records)
        entries = np.empty(len(records), _ENTRY)
        entries["key"] = np.array(keys, f"V{KEY_BYTES}").view(f"S{KEY_BYTES}")
        entries["file"], entries["record"] = own, written + np.arange(len(records))
        self._fresh.append(entries)
