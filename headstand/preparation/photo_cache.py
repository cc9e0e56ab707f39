"""On-disk cache of examined photos by the SHA-256 of their bytes: metadata and two small pictures of each."""

import contextlib
import io
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from headstand import files
from headstand.errors import HeadstandError
from headstand.images import DECODER
from headstand.preparation import alignment
from headstand.preparation.file_metadata import FileMetadata

VERSION = f"2-{DECODER}"
"""Version of the entries; a new value invalidates all of them."""

SIDE = 112
"""Side in pixels of the colour picture."""

QUALITY = 95
"""JPEG quality of the colour picture, which then takes 4 kB."""


@dataclass(frozen=True)
class ExaminedPhoto:
    """Results of examining one photo, about 8 kB in the cache.

    Attributes:
        file: metadata.
        luma: grayscale, squashed to a square, `uint8 [64, 64]`.
        encoded: the colour picture as JPEG.
    """

    file: FileMetadata
    luma: np.ndarray
    encoded: bytes

    @classmethod
    def of(cls, file: FileMetadata, luma: np.ndarray, color: Image.Image) -> "ExaminedPhoto":
        """Creates the results from pictures of any size."""
        data = io.BytesIO()
        color.resize((SIDE, SIDE), Image.Resampling.BILINEAR).save(data, "JPEG", quality=QUALITY, subsampling=0)
        shrunk = Image.fromarray(luma).resize((alignment.SIDE,) * 2, Image.Resampling.BILINEAR)
        return cls(file, np.asarray(shrunk), data.getvalue())

    @property
    def color(self) -> np.ndarray:
        """The photo squashed to a square, `uint8 [SIDE, SIDE, 3]`."""
        return np.asarray(Image.open(io.BytesIO(self.encoded), formats=["JPEG"]))


def fitted(square: np.ndarray, size: tuple[int, int], side: int) -> np.ndarray:
    """Returns a squashed picture in its aspect ratio, `uint8 [height, width, 3]`.

    Args:
        square: RGB pixels.
        size: original width and height in pixels.
        side: longer side of the result.
    """
    width, height = (max(1, round(length * side / max(size))) for length in size)
    return np.asarray(Image.fromarray(square).resize((width, height), Image.Resampling.BILINEAR))


def write(photo: ExaminedPhoto, large: bool) -> None:
    """Stores a photo; errors are ignored, since they only cost time later.

    Args:
        photo: the results.
        large: whether the photo was examined with the larger limits for a user's own files.
    """
    header = json.dumps({"large": large, "file": photo.file.as_json()}).encode()
    with contextlib.suppress(OSError):
        files.write(_path(photo.file.sha256), header + b"\n" + photo.luma.tobytes() + photo.encoded)


def read(sha256: str, large: bool) -> ExaminedPhoto | None:
    """Returns a stored photo; None if there is none or its entry is damaged.

    Args:
        sha256: digest of the photo's bytes.
        large: whether to return it also if it was examined with the larger limits.
    """
    try:
        header, luma, encoded = _parts(sha256)
        values = json.loads(header)
        photo = ExaminedPhoto(FileMetadata.from_json(values["file"]), luma, encoded)
        return photo if photo.encoded and (large or not values["large"]) else None
    except (OSError, ValueError, TypeError, KeyError, HeadstandError):
        return None


def read_luma(sha256: str) -> np.ndarray | None:
    """Returns the grayscale picture of a stored photo, without its metadata, which take longer to read."""
    try:
        return _parts(sha256)[1]
    except (OSError, ValueError):
        return None


def _parts(sha256: str) -> tuple[bytes, np.ndarray, bytes]:
    """Returns the metadata as JSON, the grayscale picture and the encoded colour picture of an entry."""
    header, pictures = _path(sha256).read_bytes().split(b"\n", 1)
    pixels = alignment.SIDE**2
    luma = np.frombuffer(pictures[:pixels], np.uint8).reshape(alignment.SIDE, alignment.SIDE)
    return header, luma, pictures[pixels:]


def _path(sha256: str) -> Path:
    return Path(files.cache(), "examined", VERSION, sha256[:2], sha256)
