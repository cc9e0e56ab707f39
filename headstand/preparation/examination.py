"""Examination of photos: one reading and one decoding give everything that preparation, quality check and plots need.

The results are cached by the photo's digest (`photo_cache`), so that each step asks for them here.
"""

import hashlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from headstand import images, threads
from headstand.images.encoded import damage_reported
from headstand.preparation import alignment, photo_cache
from headstand.preparation.conversion import conversions
from headstand.preparation.file_metadata import EXTENSIONS, FileMetadata, Measures
from headstand.preparation.near_duplicates import PLAIN, Signature
from headstand.preparation.photo_cache import ExaminedPhoto

LUMA = np.array([0.299, 0.587, 0.114], np.float32)
"""Weights of R, G and B in the luma (ITU-R BT.601)."""

SIDE = 256
"""Longer side in pixels to which photos are decoded, about the input size of a backbone."""


def examine(data: bytes, large: bool = False) -> ExaminedPhoto:
    """Decodes a photo, unless the cache has it, and returns its metadata and small pictures.

    The photo is decoded completely and must be within the limits of the services.

    Args:
        data: the encoded photo.
        large: apply the larger limits for a user's own files.

    Raises:
        ImageError: the photo cannot be decoded or exceeds the limits, as in `headstand.images.decode`.
    """
    digest = hashlib.sha256(data).hexdigest()
    photo = photo_cache.read(digest, large)
    if photo is None:
        photo = _decoded(data, digest, large)
        photo_cache.write(photo, large)
    return photo


def examined(path: Path, sha256: str) -> ExaminedPhoto:
    """Returns a photo that was examined before, from the cache or, if it is not there, from its file.

    Raises:
        ImageError: the file cannot be read or decoded.
    """
    return photo_cache.read(sha256, large=True) or examine(images.read(path, large=True), large=True)


def lumas(photos: Sequence[tuple[Path, str]]) -> np.ndarray:
    """Returns the grayscale pictures of examined photos, each given by path and digest, `uint8 [N, 64, 64]`.

    Raises:
        ImageError: a file cannot be read or decoded.
    """

    def luma(photo: tuple[Path, str]) -> np.ndarray:
        stored = photo_cache.read_luma(photo[1])
        return examined(*photo).luma if stored is None else stored

    return np.array(list(threads.parallel(luma, photos)), dtype=np.uint8).reshape(-1, alignment.SIDE, alignment.SIDE)


def signatures(paths: Sequence[Path]) -> list[Signature]:
    """Returns the signatures of photos in their order, computed with as many threads as cores.

    Progress is shown on standard error.

    Raises:
        ImageError: a file cannot be decoded.
    """

    def signature(path: Path) -> Signature:
        return examine(images.read(path, large=True), large=True).file.signature or PLAIN

    return list(threads.parallel(signature, paths, "comparing"))


def _decoded(data: bytes, digest: str, large: bool) -> ExaminedPhoto:
    with damage_reported(), images.open_image(data, large) as image:
        names = conversions(image, data)
        turn = images.orientation(image) if "EXIF turn" in names else 1  # for which Pillow would decode any PNG
        width, height = image.size
        scale = min(1.0, SIDE / max(width, height))
        stored = (max(1, round(width * scale)), max(1, round(height * scale)))
        format_ = image.format or ""
        pixels = images.pixels(image, data, stored[::-1] if turn > 4 else stored, large, draft=stored)
    luma = pixels @ LUMA
    grey = luma.astype(np.uint8)
    file = FileMetadata(
        EXTENSIONS[format_][0], digest, width, height, Signature.of(grey), names, format_, turn,
        _measures(luma, grey, _filled(pixels) if format_ == "JPEG" else 0.0),
    )  # fmt: skip
    return ExaminedPhoto.of(file, grey, Image.fromarray(pixels))


def _filled(pixels: np.ndarray) -> float:
    """Returns the fraction of rows at the bottom that libjpeg filled in for missing data: 128 in all channels.

    Returns 0 for less than 3 % of the rows or all of them.
    """
    if np.ptp(pixels[-1]) > 2:  # as in nearly every photo
        return 0.0
    grey: np.ndarray = np.abs(pixels.astype(np.int16) - 128).max((1, 2)) <= 1
    rows = len(grey) if grey.all() else int(np.argmin(grey[::-1]))
    return rows / len(grey) if rows >= 0.03 * len(grey) and rows < len(grey) else 0.0


def _measures(luma: np.ndarray, grey: np.ndarray, filled: float) -> Measures:
    counts = np.bincount(grey.ravel(), minlength=256) / grey.size
    occurring = counts[counts > 0]
    cumulated = np.cumsum(counts)
    return Measures(
        float(np.searchsorted(cumulated, 0.01)),
        float(np.searchsorted(cumulated, 0.99)),
        float(luma.std()),
        float(-(occurring * np.log2(occurring)).sum()),
        max(_blur(luma, axis) for axis in (0, 1)),
        filled,
    )


def _blur(luma: np.ndarray, axis: int) -> float:
    lines = np.moveaxis(luma, axis, 0)
    sharp = np.abs(np.diff(lines, axis=0))
    # Averages of 9 neighbouring pixels one pixel apart differ by the outermost two; pixels are mirrored at the border.
    padded = np.pad(lines, ((4, 4), (0, 0)), "symmetric")
    soft = np.abs(padded[9:] - padded[:-9]) / 9
    total = float(sharp.sum())
    return 1 - float(np.maximum(sharp - soft, 0).sum()) / total if total else 1.0
