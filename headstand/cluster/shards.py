"""Shards: files of the feature cache that are written once, whole, each by one worker."""

import hashlib
from pathlib import Path

import numpy as np

from headstand import files
from headstand.learn.cache import KEY_BYTES, packed
from headstand.remote import Mirror, is_remote


class Shards:
    """The cache's folder, as workers see it: a path, or an address."""

    def __init__(self, place: str) -> None:
        self._folder = Path(place)
        self._mirror = Mirror(place, self._folder) if is_remote(place) else None

    def write(self, keys: np.ndarray, rows: np.ndarray) -> None:
        """Write rows as a file of the cache's format, in one step.

        It is called by what is in it: where a worker dies and its block is computed again, the same file is written
        again, and no row stands twice.

        Args:
            keys: `uint8 [N, 32]`.
            rows: `float32 [N, width]`.
        """
        keys = np.ascontiguousarray(keys)
        data = packed(keys.view(f"V{KEY_BYTES}").reshape(-1), rows).tobytes()
        name = f"{hashlib.sha256(keys.tobytes()).hexdigest()[:32]}.rows"
        if self._mirror:
            self._mirror.write(name, data)
            return
        files.write(self._folder / name, data)
