"""Table of feature rows in a temporary file, so that memory does not grow with the number of photos."""

import tempfile
from pathlib import Path

import numpy as np


class FeatureTable:
    """A table `float32 [count, width]` in an unnamed temporary file, freed when nothing refers to it any more."""

    def __init__(self, folder: Path, count: int, width: int) -> None:
        self._file = tempfile.TemporaryFile(dir=folder, buffering=0)  # noqa: SIM115 - closed by __exit__
        self._shape = count, width

    def __enter__(self) -> "FeatureTable":
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def write(self, place: int, rows: np.ndarray) -> None:
        """Writes rows `float32 [N, width]` from the row index `place` on.

        They are written to the file and not through the map, whose touched pages would count as memory of the process.
        """
        self._file.seek(place * self._shape[1] * 4)
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
