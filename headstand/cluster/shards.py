"""Shards: files of the feature cache that are written once, whole, each by one worker."""

import hashlib
import uuid
from pathlib import Path

import numpy as np

from headstand.learn.cache import KEY_BYTES, packed


def write(folder: str, keys: np.ndarray, rows: np.ndarray) -> None:
    """Write rows as a file of the cache's format, in one step.

    It is called by what is in it: where a worker dies and its block is computed again, the same file is written again,
    and no row stands twice.

    Args:
        folder: the cache's.
        keys: `uint8 [N, 32]`.
        rows: `float32 [N, width]`.
    """
    data = packed(np.ascontiguousarray(keys).view(f"V{KEY_BYTES}").reshape(-1), rows).tobytes()
    name = hashlib.sha256(np.ascontiguousarray(keys).tobytes()).hexdigest()[:32]
    place = Path(folder)
    place.mkdir(parents=True, exist_ok=True)
    temporary = place / f".{name}.{uuid.uuid4().hex}.part"
    try:
        temporary.write_bytes(data)
        temporary.replace(place / f"{name}.rows")
    finally:
        temporary.unlink(missing_ok=True)
