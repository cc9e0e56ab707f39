"""Features on disk: one folder for all runs, appended to batch by batch, read by key.

A folder belongs to one way of computing features (network, weights, size, pooling, decoder). In it every writer has a
file of its own, a sequence of fixed-width records: key, features, checksum. A writer that is killed leaves at most one
half record at the end of its file, and readers pass over what does not check out.
"""

import uuid
import zlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np

KEY_BYTES = 32
"""A key is a SHA-256 digest."""


class FeatureCache:
    """Rows of `float32 [width]` by key."""

    def __init__(self, folder: Path, width: int) -> None:
        """Open the folder (made when missing) and index what is there.

        Args:
            folder: where the records lie.
            width: values in a row.
        """
        self._folder = folder
        self._record = np.dtype([("key", f"V{KEY_BYTES}"), ("row", "<f4", (width,)), ("crc", "<u4")])
        self._files: list[np.ndarray] = []
        # A key stands more than once where a damaged record was computed again, or two writers met.
        self._index: dict[bytes, list[tuple[int, int]]] = {}
        self._own: Path | None = None
        folder.mkdir(parents=True, exist_ok=True)
        for path in sorted(folder.glob("*.rows")):
            whole = path.stat().st_size // self._record.itemsize
            if whole:
                # Mapped, not read: only the rows asked for are paged in.
                self._add(np.memmap(path, self._record, mode="r", shape=(whole,)))

    def _add(self, records: np.ndarray) -> None:
        place = len(self._files)
        self._files.append(records)
        for row, key in enumerate(records["key"]):
            self._index.setdefault(key.tobytes(), []).append((place, row))

    def read(self, keys: Sequence[bytes], into: np.ndarray) -> list[int]:
        """Copy the rows that are known.

        Args:
            keys: N keys of `KEY_BYTES` bytes.
            into: `float32 [N, width]`, filled where a key is known.

        Returns:
            The positions of the keys that are not known, or whose record is damaged.
        """
        missing = []
        for position, key in enumerate(keys):
            for place, row in self._index.get(key, ()):
                record = self._files[place][row]
                if zlib.crc32(record["row"].tobytes(), zlib.crc32(key)) == record["crc"]:
                    into[position] = record["row"]
                    break
            else:
                missing.append(position)
        return missing

    def append(self, keys: Sequence[bytes], rows: np.ndarray) -> None:
        """Add rows (`float32 [N, width]`) and hand them to the operating system before returning."""
        records = np.empty(len(keys), self._record)
        for place, (key, row) in enumerate(zip(keys, rows, strict=True)):
            records[place] = (
                np.void(key),
                row,
                zlib.crc32(np.ascontiguousarray(row, "<f4").tobytes(), zlib.crc32(key)),
            )
        path = self._own or self._folder / f"{uuid.uuid4().hex}.rows"
        # Half a record may stand at the end of a file whose disk was full: what comes after needs a file of its own.
        self._own = None
        with path.open("ab") as file:
            file.write(records.tobytes())
        self._own = path
        self._add(records)
