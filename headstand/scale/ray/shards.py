"""Shards of the feature cache: files that workers write in one step and never change."""

import hashlib
from pathlib import Path

import numpy as np

from headstand import files
from headstand.features.cache import KEY_BYTES, packed
from headstand.storage import Mirror, is_remote


class Shards:
    """Writer of shards into the cache folder, a path or a remote address that workers can access."""

    def __init__(self, location: str) -> None:
        self._folder = Path(location)
        self._mirror = Mirror(location, self._folder) if is_remote(location) else None

    def write(self, keys: np.ndarray, rows: np.ndarray) -> None:
        """Writes rows as one file in the cache's format, in one step.

        The file name is a hash of the keys: if a worker dies and its block is computed again, the same file is written
        again, and no row is duplicated.

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
