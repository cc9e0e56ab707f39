"""What a model takes: photos, or heatmaps. Whoever decodes for a model asks here, and need not know which."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np

from headstand import heatmaps, images


class Input(Protocol):
    """One kind of input.

    `shape` and `dtype` are those of one decoded file, without the batch; `size` is its height; `decoder` is the
    decoder's version; `word` names the input for people.
    """

    @property
    def size(self) -> int: ...

    @property
    def shape(self) -> tuple[int, ...]: ...

    @property
    def dtype(self) -> type[np.generic]: ...

    @property
    def decoder(self) -> str: ...

    @property
    def word(self) -> str: ...

    def read(self, path: Path) -> bytes:
        """The bytes of a file; ImageError where it cannot be read."""

    def decode(self, source: bytes | Path) -> np.ndarray:
        """An encoded file as an array of `shape` and `dtype`; ImageError where it cannot be used."""


@dataclass(frozen=True)
class Photos:
    """Photos, squashed to a square: `uint8 [size, size, 3]`."""

    size: int

    @property
    def shape(self) -> tuple[int, ...]:
        return self.size, self.size, 3

    dtype = np.uint8
    decoder = images.DECODER

    @property
    def word(self) -> str:
        return f"{self.size} px"

    def read(self, path: Path) -> bytes:
        return images.read(path)

    def decode(self, source: bytes | Path) -> np.ndarray:
        return images.decode(source, self.size)


@dataclass(frozen=True)
class Heatmaps:
    """A person's heatmaps: `float32 [17, 64, 48]`."""

    shape = heatmaps.SHAPE
    size = heatmaps.HEIGHT
    dtype = np.float32
    decoder = f"heatmaps {heatmaps.DECODER}"
    word = "17 heatmaps of 64 x 48"

    def read(self, path: Path) -> bytes:
        return heatmaps.read(path)

    def decode(self, source: bytes | Path) -> np.ndarray:
        return heatmaps.decode(source)


def of(shape: Sequence[int | None]) -> Input:
    """The input of a model, by the shape that it takes without the batch."""
    return Heatmaps() if tuple(shape) == heatmaps.SHAPE else Photos(int(shape[0] or 0))
