"""Registry of the kinds of model input: photos, and those of other packages in `REGISTERED`.

The rest of the program reads, decodes, augments and draws inputs through `InputKind` and needs to know no kind.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from headstand import images
from headstand.poses.heatmap_input import HeatmapInput

_TEXTS = {
    "title": "what is in the picture?",
    "heading": "Show it a picture",
    "thing": "picture",
    "choose": "Choose a picture",
    "drop": "Drop a picture here",
    "tap": "Tap to choose a picture",
    "takes": "JPEG, PNG, WebP, GIF, BMP, AVIF, HEIC or TIFF",
    "samples": "No picture at hand? Try one of these",
    # Without HEIC, because Safari then converts HEIC photos to JPEG, whose decoding takes a tenth of the time.
    "accept": "image/jpeg,image/png,image/webp,image/gif,image/bmp,image/avif,image/tiff",
}


@dataclass(frozen=True)
class PhotoInput:
    """Input of photos, resized to a square without keeping the aspect ratio: `uint8 [size, size, 3]`.

    Attributes:
        size: side of the square in pixels; for other kinds the height of the decoded array.
        large: apply the larger limits for a user's own files; see `images.open_image`.
        kind: name in a bundle's metadata.
        shape: shape of one decoded file, without the batch axis.
        dtype: dtype of one decoded file.
        decoder: version of the decoder.
        description: the input in a few words, for messages.
        details: the input for the API's description.
        suffixes: suffixes of the files' names, in lower case.
        texts: texts of the services' web page. `accept` is the filter of the file chooser.
    """

    size: int
    large: bool = False

    kind = "photos"
    dtype = np.uint8
    details = "photos"
    suffixes = images.EXTENSIONS
    texts = _TEXTS

    @property
    def shape(self) -> tuple[int, ...]:
        return self.size, self.size, 3

    @property
    def decoder(self) -> str:
        return images.DECODER

    @property
    def description(self) -> str:
        return f"{self.size} px"

    def read(self, path: Path) -> bytes:
        """Returns the bytes of a file.

        Raises:
            ImageError: the file cannot be read.
        """
        return images.read(path, self.large)

    def decode(self, source: bytes | Path) -> np.ndarray:
        """Decodes an encoded file to an array of `shape` and `dtype`.

        Raises:
            ImageError: the file cannot be decoded.
        """
        return images.decode(source, self.size, self.large)

    def examples(self, formats: Sequence[str] = images.FORMATS) -> Iterator[bytes]:
        """Yields small encoded files for warming up this process's decoders: one per photo format or other kind."""
        for name in formats:
            stream = BytesIO()
            Image.new("RGB", (8, 8)).save(stream, name)
            yield stream.getvalue()

    def metadata(self, dtype: str) -> dict[str, Any]:
        """Returns the description of a model's input tensor of this dtype for a bundle's metadata."""
        return {
            "size": self.size,
            "dtype": dtype,
            "range": [0, 255],
            "resize": "squash to a square, bilinear with antialiasing",
            "decoder": self.decoder,
        }

    def mirror(self, batch: np.ndarray) -> np.ndarray:
        """Returns the mirror images of decoded files, `[N, *shape]`."""
        return batch[:, :, ::-1]

    def picture(self, decoded: np.ndarray) -> np.ndarray:
        """Returns a picture of a decoded file, `uint8 [H, W, 3]`."""
        return decoded


InputKind = PhotoInput | HeatmapInput

REGISTERED = {HeatmapInput.kind: HeatmapInput()}
"""The kinds of input other than photos, by name. JSON requests have a field of this name with the values."""

SOURCES = {
    "heatmaps": "headstand.poses.heatmap_source",
    "actions": "headstand.poses.action_source",
    "rendered": "headstand.poses.rendered",
}
"""Modules of the data sources that are not in `headstand.preparation.sources`, by the recipe's `source.kind`."""


def named(kind: str, size: int) -> InputKind:
    """Returns the input of a kind, as named in a bundle's metadata.

    Args:
        kind: `photos` or a key of `REGISTERED`.
        size: side of photos in pixels; ignored for other kinds.

    Raises:
        ValueError: the kind is unknown.
    """
    if kind != PhotoInput.kind and kind not in REGISTERED:
        raise ValueError(f"unknown kind of input: {kind!r:.40}")
    return REGISTERED.get(kind) or PhotoInput(size)


def of(shape: Sequence[int | None]) -> InputKind:
    """Returns the input for a model's input shape without the batch axis, with the limits for a user's own files."""
    found = (kind for kind in REGISTERED.values() if kind.shape == tuple(shape))
    return next(found, None) or PhotoInput(int(shape[0] or 0), large=True)


def of_backbone(name: str, size: int) -> InputKind:
    """Returns the input of a backbone, with the limits for a user's own files."""
    found = (kind for kind in REGISTERED.values() if name in kind.backbones)
    return next(found, None) or PhotoInput(size, large=True)


def of_file(path: str, size: int = 1) -> InputKind:
    """Returns the input that a file of a prepared dataset is decoded for, with the limits for a user's own files."""
    found = (kind for kind in REGISTERED.values() if path.endswith(kind.suffixes))
    return next(found, None) or PhotoInput(size, large=True)
