"""Reading of the files to check: format, metadata, decoding errors and image quality measures of each one."""

import hashlib
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
from PIL import Image
from scipy.ndimage import uniform_filter1d
from tqdm import tqdm

from headstand import cores
from headstand.images import ImageError, decode, formats, load, open_image, orientation
from headstand.prepare import alignment
from headstand.prepare.conversion import conversions
from headstand.prepare.listing import Item
from headstand.prepare.near_duplicates import LUMA, Signature

SIDE = 256
"""Longer side in pixels to which pictures are reduced before measuring, about the input size of a backbone."""


@dataclass(frozen=True)
class Measures:
    """Quality measures of a picture's luma at `SIDE` pixels.

    Attributes:
        darkest, brightest: 1st and 99th percentile, 0..255.
        contrast: standard deviation.
        entropy: entropy of the histogram in bits, 0..8.
        blur: 0 (sharp) to 1 after Crete et al. 2007 (Proc. SPIE 6492): the fraction of the differences between
            neighbouring pixels that remains when the picture is blurred again, in the direction where it is larger.
    """

    darkest: float
    brightest: float
    contrast: float
    entropy: float
    blur: float


@dataclass(frozen=True)
class FileCheck:
    """Result of reading one file.

    Attributes:
        item: the file and its class.
        name: path relative to the checked folder.
        problem: code and message if the file is unusable; at most `sha256` of the attributes below is then set.
        sha256: hex digest of the bytes.
        format: Pillow's name of the format.
        width, height: size in pixels as stored, before any EXIF rotation.
        conversions: conversions that the decoder applies, keys of `headstand.prepare.conversion.CONVERSIONS`.
        turn: EXIF orientation, 1 for upright.
        signature: for finding near duplicates.
        measures: quality measures.
        thumbnail: grayscale, squashed to a square, `uint8 [64, 64]`.
    """

    item: Item
    name: str
    problem: tuple[str, str] | None = None
    sha256: str = ""
    format: str = ""
    width: int = 0
    height: int = 0
    conversions: tuple[str, ...] = ()
    turn: int = 1
    signature: Signature | None = None
    measures: Measures | None = None
    thumbnail: np.ndarray | None = None

    @property
    def upright(self) -> tuple[int, int]:
        """Width and height in pixels after the EXIF rotation."""
        return (self.height, self.width) if self.turn in (5, 6, 7, 8) else (self.width, self.height)


def examine(items: Sequence[Item], names: Sequence[str], large: bool = False) -> list[FileCheck]:
    """Reads files with as many threads as cores and returns one result per file in input order.

    Progress is shown on standard error.

    Args:
        items: the files.
        names: path of each file relative to the checked folder.
        large: apply the larger size limits for a user's own files.
    """
    with ThreadPoolExecutor(cores.available()) as pool:
        work = pool.map(partial(_examine, large=large), items, names)
        return list(tqdm(work, "examining", len(items), unit="file", leave=False, disable=not sys.stderr.isatty()))


def _examine(item: Item, name: str, large: bool) -> FileCheck:
    try:
        with item.path.open("rb") as file:
            data = load(file, large)
    except FileNotFoundError:
        return FileCheck(item, name, ("missing_file", "it is not there"))
    except OSError as error:
        return FileCheck(item, name, ("unreadable", error.strerror or str(error)))
    except ImageError as error:
        return FileCheck(item, name, (error.code, str(error)))
    if not data:
        return FileCheck(item, name, ("empty_file", "0 bytes"))
    digest = hashlib.sha256(data).hexdigest()
    try:
        with open_image(data, large) as image:
            # First, because it decodes the whole file, so that damage raises the decoder's error here.
            signature = Signature.of(data)
            exam = FileCheck(
                item, name, None, digest, image.format or "", *image.size, conversions(image), orientation(image)
            )
        scale = min(1.0, SIDE / max(exam.upright))
        width, height = (max(1, round(side * scale)) for side in exam.upright)
        pixels = decode(data, (width, height), large)
        if exam.format == "JPEG" and (grey := _grey_bottom(pixels)):
            return FileCheck(item, name, ("truncated", f"the lower {grey:.0%} of the picture are plain grey"), digest)
        luma = pixels @ LUMA.astype(np.float32)
        shrunk = Image.fromarray(luma.astype(np.uint8)).resize((alignment.SIDE,) * 2, Image.Resampling.BILINEAR)
        return replace(exam, signature=signature, measures=_measures(luma), thumbnail=np.asarray(shrunk))
    except ImageError as error:
        return FileCheck(item, name, (_code(error, data), str(error)), digest)


def _code(error: ImageError, data: bytes) -> str:
    """Returns the code of the finding; only Pillow's message distinguishes a truncated file from a damaged one."""
    if error.code == "not_an_image" and (kind := formats.identify(data)) and kind.image:
        return "unsupported_format"
    if error.code == "corrupt_image":
        return "truncated" if "truncated" in str(error) else "damaged"
    return error.code


def _grey_bottom(pixels: np.ndarray) -> float:
    """Returns the fraction of rows at the bottom that libjpeg filled in for missing data: 128 in all channels.

    Returns 0 for less than 3 % of the rows or all of them.
    """
    grey: np.ndarray = np.abs(pixels.astype(np.int16) - 128).max((1, 2)) <= 1
    rows = len(grey) if grey.all() else int(np.argmin(grey[::-1]))
    return rows / len(grey) if rows >= 0.03 * len(grey) and rows < len(grey) else 0.0


def _measures(luma: np.ndarray) -> Measures:
    counts = np.bincount(luma.astype(np.uint8).ravel(), minlength=256) / luma.size
    some = counts[counts > 0]
    cumulated = np.cumsum(counts)
    return Measures(
        float(np.searchsorted(cumulated, 0.01)),
        float(np.searchsorted(cumulated, 0.99)),
        float(luma.std()),
        float(-(some * np.log2(some)).sum()),
        max(_blur(luma, axis) for axis in (0, 1)),
    )


def _blur(luma: np.ndarray, axis: int) -> float:
    sharp = np.abs(np.diff(luma, axis=axis))
    soft = np.abs(np.diff(uniform_filter1d(luma, 9, axis), axis=axis))
    total = float(sharp.sum())
    return 1 - float(np.maximum(sharp - soft, 0).sum()) / total if total else 1.0
