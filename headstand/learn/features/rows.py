"""Features of any number of photos, on the disk while they are gathered."""

import tempfile
from pathlib import Path

import numpy as np


class Rows:
    """A table `float32 [count, width]` in a file without a name, which goes when nothing refers to it any more."""

    def __init__(self, folder: Path, count: int, width: int) -> None:
        self._file = tempfile.TemporaryFile(dir=folder, buffering=0)  # noqa: SIM115 - closed by __exit__
        self._shape = count, width

    def __enter__(self) -> "Rows":
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def write(self, place: int, rows: np.ndarray) -> None:
        """Put rows from `place` on. Written and not through the map: its pages would count as the process's own."""
        self._file.seek(place * self._shape[1] * 4)
        data = memoryview(np.ascontiguousarray(rows, "<f4").tobytes())
        while data:
            data = data[self._file.write(data) :]

    def mapped(self) -> np.ndarray:
        """The table, for reading; it outlives the closing of the file.

        Mapped copy-on-write and not read-only: TensorFlow shares writable memory only, and nothing reaches the file.
        """
        if not self._shape[0]:
            return np.empty(self._shape, np.float32)
        return np.memmap(self._file, np.float32, "c", shape=self._shape)
