"""Kinds of model input, photos and pose heatmaps, behind one interface for reading and decoding files."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Protocol

import numpy as np
from PIL import Image

from headstand import images
from headstand.poses import heatmap_file


class InputKind(Protocol):
    """Interface of a kind of model input.

    Attributes:
        kind: its name in a bundle's metadata.
        size: height of the decoded array.
        shape: shape of one decoded file, without the batch axis.
        dtype: dtype of one decoded file.
        decoder: version of the decoder.
        word: description of the input for messages.
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
        """Returns the bytes of a file.

        Raises:
            ImageError: the file cannot be read.
        """

    def decode(self, source: bytes | Path) -> np.ndarray:
        """Decodes an encoded file to an array of `shape` and `dtype`.

        Raises:
            ImageError: the file cannot be decoded.
        """

    def examples(self, formats: Sequence[str] = images.FORMATS) -> Iterator[bytes]:
        """Yields small encoded files for warming up the decoders: for photos one per format, for heatmaps one."""


@dataclass(frozen=True)
class PhotoInput:
    """Input of photos, resized to a square without keeping the aspect ratio: `uint8 [size, size, 3]`.

    Attributes:
        size: side of the square in pixels.
        large: apply the larger limits for a user's own files; see `images.open_image`.
    """

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
class HeatmapInput:
    """Input of one person's pose heatmaps: `float32 [17, 64, 48]`."""

    kind = "heatmaps"
    shape = heatmap_file.SHAPE
    size = heatmap_file.HEIGHT
    dtype = np.float32
    decoder = f"heatmaps {heatmap_file.DECODER}"
    word = "17 heatmaps of 64 x 48"

    def read(self, path: Path) -> bytes:
        return heatmap_file.read(path)

    def decode(self, source: bytes | Path) -> np.ndarray:
        return heatmap_file.decode(source)

    def examples(self, formats: Sequence[str] = images.FORMATS) -> Iterator[bytes]:
        yield heatmap_file.encode(np.zeros(heatmap_file.SHAPE, np.float32))


def named(kind: str, size: int) -> InputKind:
    """Returns the input of a kind, as named in a bundle's metadata.

    Args:
        kind: "photos" or "heatmaps".
        size: height of the model's input; ignored for heatmaps.

    Raises:
        ValueError: the kind is unknown.
    """
    if kind not in (PhotoInput.kind, HeatmapInput.kind):
        raise ValueError(f"unknown kind of input: {kind!r:.40}")
    return PhotoInput(size) if kind == PhotoInput.kind else HeatmapInput()


def of(shape: Sequence[int | None]) -> InputKind:
    """Returns the input for a model's input shape without the batch axis, with the limits for a user's own files."""
    return HeatmapInput() if tuple(shape) == heatmap_file.SHAPE else PhotoInput(int(shape[0] or 0), large=True)
