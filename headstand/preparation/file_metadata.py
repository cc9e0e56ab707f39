"""Metadata of one source file, a photo or another kind of file, that the preparation and the quality check use."""

from dataclasses import dataclass
from typing import Any

from headstand.preparation.near_duplicates import Signature

EXTENSIONS = {
    "JPEG": (".jpg", ".jpeg", ".jpe", ".jfif"), "MPO": (".jpg", ".jpeg", ".jpe", ".jfif"), "PNG": (".png",),
    "WEBP": (".webp",), "GIF": (".gif",), "BMP": (".bmp",),
    "AVIF": (".avif",), "HEIC": (".heic", ".heif", ".hif"), "TIFF": (".tif", ".tiff"),
}  # fmt: skip
"""Valid file name extensions by Pillow format, the usual one first; the format is detected from the content."""


@dataclass(frozen=True)
class Measures:
    """Quality measures of a picture's luma at `examination.SIDE` pixels.

    Attributes:
        darkest, brightest: 1st and 99th percentile, 0..255.
        contrast: standard deviation.
        entropy: entropy of the histogram in bits, 0..8.
        blur: 0 (sharp) to 1 after Crete et al. 2007 (Proc. SPIE 6492): the fraction of the differences between
            neighbouring pixels that remains when the picture is blurred again, in the direction where it is larger.
        filled: fraction of rows at the bottom of a JPEG that libjpeg filled with grey because data is missing.
    """

    darkest: float
    brightest: float
    contrast: float
    entropy: float
    blur: float
    filled: float = 0.0


@dataclass(frozen=True)
class FileMetadata:
    """Metadata of a usable source file.

    Attributes:
        extension: file name extension of the actual format, with the dot.
        sha256: hex digest of the bytes.
        width, height: size in pixels as stored, before any EXIF rotation.
        signature: for finding near duplicates; None for files that are not pictures, which only match exact copies.
        conversions: conversions that the decoder applies, keys of `headstand.preparation.conversion.CONVERSIONS`.
        format: Pillow's name of the format; empty for files that are not pictures, as the following.
        orientation: EXIF orientation, 1 for upright.
        measures: quality measures.
    """

    extension: str
    sha256: str
    width: int
    height: int
    signature: Signature | None = None
    conversions: tuple[str, ...] = ()
    format: str = ""
    orientation: int = 1
    measures: Measures | None = None

    @property
    def upright(self) -> tuple[int, int]:
        """Width and height in pixels after the EXIF rotation."""
        return (self.height, self.width) if self.orientation > 4 else (self.width, self.height)

    def as_json(self) -> dict[str, Any]:
        """Returns the metadata as JSON values."""
        signature, measures = self.signature and self.signature.text, self.measures and vars(self.measures)
        return vars(self) | {"signature": signature, "measures": measures}

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> "FileMetadata":
        """Restores metadata from the result of `as_json`.

        Raises:
            TypeError, ValueError, KeyError, SignatureError: the values are damaged.
        """
        restored = {
            "signature": Signature(values["signature"]) if values["signature"] else None,
            "conversions": tuple(values["conversions"]),
            "measures": Measures(**values["measures"]) if values["measures"] else None,
        }
        return cls(**{**values, **restored})
