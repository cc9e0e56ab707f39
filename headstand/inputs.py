"""What a model takes: photos, or heatmaps. Whoever decodes for a model asks here, and need not know which."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Protocol

import numpy as np
from PIL import Image

from headstand import heatmaps, images


class Input(Protocol):
    """One kind of input.

    `kind` is its name in a bundle; `shape` and `dtype` are those of one decoded file, without the batch; `size` is its
    height; `decoder` is the decoder's version; `word` names the input for people.
    """

    @property
    def kind(self) -> str: ...

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

    def examples(self, formats: Sequence[str] = images.FORMATS) -> Iterator[bytes]:
        """Small encoded files, one for each decoder; of photos those of some formats."""


@dataclass(frozen=True)
class Photos:
    """Photos, squashed to a square: `uint8 [size, size, 3]`; `large` ones too where they are the user's own."""

    size: int
    large: bool = False

    @property
    def shape(self) -> tuple[int, ...]:
        return self.size, self.size, 3

    kind = "photos"
    dtype = np.uint8

    @property
    def decoder(self) -> str:
        return images.DECODER

    @property
    def word(self) -> str:
        return f"{self.size} px"

    def read(self, path: Path) -> bytes:
        return images.read(path, self.large)

    def decode(self, source: bytes | Path) -> np.ndarray:
        return images.decode(source, self.size, self.large)

    def examples(self, formats: Sequence[str] = images.FORMATS) -> Iterator[bytes]:
        for name in formats:
            stream = BytesIO()
            Image.new("RGB", (8, 8)).save(stream, name)
            yield stream.getvalue()


@dataclass(frozen=True)
class Heatmaps:
    """A person's heatmaps: `float32 [17, 64, 48]`."""

    kind = "heatmaps"
    shape = heatmaps.SHAPE
    size = heatmaps.HEIGHT
    dtype = np.float32
    decoder = f"heatmaps {heatmaps.DECODER}"
    word = "17 heatmaps of 64 x 48"

    def read(self, path: Path) -> bytes:
        return heatmaps.read(path)

    def decode(self, source: bytes | Path) -> np.ndarray:
        return heatmaps.decode(source)

    def examples(self, formats: Sequence[str] = images.FORMATS) -> Iterator[bytes]:
        yield heatmaps.encode(np.zeros(heatmaps.SHAPE, np.float32))


def named(kind: str, size: int) -> Input:
    """The input that a bundle calls by its kind, for a model with an input of this height.

    Raises:
        ValueError: there is no such kind.
    """
    if kind not in (Photos.kind, Heatmaps.kind):
        raise ValueError(f"unknown kind of input: {kind!r:.40}")
    return Photos(size) if kind == Photos.kind else Heatmaps()


def of(shape: Sequence[int | None]) -> Input:
    """The input of a model, by the shape that it takes without the batch, for prepared files, which may be large."""
    return Heatmaps() if tuple(shape) == heatmaps.SHAPE else Photos(int(shape[0] or 0), large=True)
