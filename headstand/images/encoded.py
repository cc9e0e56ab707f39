"""Opening of encoded images, with limits that refuse costly ones before any pixel is decoded.

Files come from untrusted clients. The limits bound the memory and time of Pillow's parsers and decoders;
docs/threat-model.md lists the reason for each limit.
"""

import os
import re
import struct
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import Any, BinaryIO

from PIL import (
    ExifTags,
    Image,
    UnidentifiedImageError,
    WebPImagePlugin,  # noqa: F401 - otherwise Pillow imports forty plugins, PDF's among them, to find it
)

from headstand.errors import ImageError
from headstand.images import formats
from headstand.images.isolated import MODULES, IsolatedImage, enabled

FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP")
"""Formats that are decoded in this process, by Pillow's names; those of `isolated.MODULES` have one of their own.

MPO, which some phones and cameras write into a `.jpg`, opens as JPEG. PSD, EPS and others are refused, because their
parsers are large and users of a classifier do not send them.
"""

MAX_BYTES = 20 * 2**20
"""Maximum size of an encoded image in bytes."""

MAX_PIXELS = 64_000_000
"""Maximum size of an image in pixels, according to its header; at four bytes per pixel this is 256 MB.

The largest usual photos of phones have 50 million. Some kinds of image have a lower limit, see `max_pixels`.
"""

MAX_MEMORY = 400_000_000
"""Maximum memory for decoding one image to a given size, in bytes as estimated by `memory`."""

OWN_BYTES, OWN_PIXELS, OWN_MEMORY = 256 * 2**20, 256_000_000, 1_600_000_000
"""The same limits for a user's own files if `source.large` is set; the services never use them.

Phones take photos of up to 200 million pixels.
"""

MAX_SIDE = 65_535
"""Maximum width and height in pixels, which is also the maximum of the formats JPEG and GIF.

One row of a PNG of 64 million by one pixel has 256 MB, and decoders hold several rows.
"""

MAX_EXIF = 2**20
"""Maximum size of EXIF in bytes, because its values become Python objects of many times their size.

A JPEG segment has 64 KB.
"""

_MAX_SCANS = 100
"""Maximum number of scans in a JPEG; a progressive photo has about 10.

Each scan is a pass over the whole image and needs only 100 bytes, so that a file of 20 MB could take hours.
"""

_MAX_MARKERS = 10_000
"""Maximum number of markers in a JPEG's first image, without restart markers. A photo has some dozens."""

_MAX_SCANNED = 1_600_000_000
"""Maximum number of pixels in all scans of a JPEG together: 25 scans of the largest image."""

_MAX_READS = 1_000_000
"""Maximum number of reads from one file; a photo needs a few thousand.

Pillow reads segments, chunks, blocks and runs in Python, with several reads for each: 20 MB of empty segments take 20
million reads, ten seconds and most of a gigabyte.
"""

_MAX_PACKED = 256
"""Maximum number of compressed chunks in a PNG besides its pixels. Each kilobyte of them may inflate to a megabyte."""

_MAX_EXIF_PARTS = 32
"""Maximum number of EXIF segments in a JPEG, which has one, and one more for each embedded image.

Pillow concatenates them and copies all previous ones each time, so that many segments take hours.
"""

EXTENSIONS = (
    ".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".gif", ".bmp",
    ".avif", ".heic", ".heif", ".hif", ".tif", ".tiff",
)  # fmt: skip
"""Extensions of image files; the format of a file is determined by its content."""

_MARKER = re.compile(rb"\xff[\x02-\xcf\xd8-\xfe]")
"""Matches a JPEG marker other than restart markers, fill bytes and stuffed zeros (ITU T.81, B.1.1).

libjpeg searches for these markers after compressed data and between segments.
"""

_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_PROGRESSIVE = frozenset((0xC2, 0xC6, 0xCA, 0xCE))
_SCAN, _END = 0xDA, 0xD9
"""Codes of JPEG markers: start of frame, of progressive frame, of scan, and end of image (ITU T.81, table B.1)."""

_STORAGE = {"1": 1, "L": 1, "P": 1, "I;16": 2, "I;16B": 2}
"""Bytes per pixel in Pillow's memory, by mode; 4 for all other modes, including RGB."""

# Pillow warns of large images and odd EXIF. The limits here replace these warnings, which do not belong in a service's
# log. Not with `warnings.catch_warnings` around each call, which changes the filters of all threads: two threads that
# leave it in another order than they entered it restore each other's filters.
warnings.filterwarnings("ignore", module=r"PIL\.")

# `open_image` checks the size itself and reports it.
Image.MAX_IMAGE_PIXELS = None


@contextmanager
def damage_reported() -> Iterator[None]:
    """Reports every error of decoding as an `ImageError`: Pillow raises OSError, SyntaxError, struct.error and more.

    Raises:
        ImageError: `corrupt_image`, or `too_large` if there is not enough memory.
    """
    try:
        yield
    except ImageError:
        raise
    except MemoryError:
        raise ImageError("too_large", "the image takes more memory to decode than there is") from None
    except Exception as error:
        raise ImageError("corrupt_image", f"the image is damaged or cut short ({reason(error)})") from error


class _Source(BytesIO):
    """In-memory file that allows a limited number of reads."""

    _reads = 0

    def read(self, size: int | None = -1, /) -> bytes:
        self._reads += 1
        if self._reads > _MAX_READS:
            raise ImageError("too_large", "the image consists of too many small parts")
        return super().read(size)


def open_image(data: bytes, large: bool = False) -> Image.Image:
    """Opens an encoded image after all checks that need no decoding: length, format, pixels, scans, costly parts.

    Args:
        data: the encoded image.
        large: apply `OWN_BYTES`, `OWN_PIXELS` and `OWN_MEMORY` in place of the services' limits.

    Raises:
        ImageError: `not_an_image`, `too_large` or `corrupt_image`.
    """
    _check_size(len(data), large)
    _check_parts(data)
    kind = formats.isolated(data)
    try:
        image = IsolatedImage(data, kind, large) if kind else Image.open(_Source(data), formats=FORMATS)
    except ImageError:
        raise
    except UnidentifiedImageError:
        why = formats.refusal(data)
        known = ", ".join((*FORMATS, *filter(enabled, MODULES)))
        text = f"the data is not an image of a known format ({known})" + (f"; {why}" if why else "")
        raise ImageError("not_an_image", text) from None
    except MemoryError:
        raise ImageError("too_large", "the image takes more memory to open than there is") from None
    except Exception as error:
        raise ImageError("corrupt_image", f"the image's header is damaged ({reason(error)})") from error
    try:
        _check_image(image, data, large)
    except BaseException:
        image.close()
        raise
    return image


def _check_image(image: Image.Image, data: bytes, large: bool) -> None:
    """Raises ImageError if an opened image exceeds the limits."""
    width, height = image.size
    limit = max_pixels(image, large)
    if width * height > limit:
        raise ImageError("too_large", f"the image is {width} x {height}; at most {limit:,} pixels are allowed")
    if max(width, height) > MAX_SIDE:
        raise ImageError(
            "too_large", f"the image is {width} x {height}; at most {MAX_SIDE:,} pixels per side are allowed"
        )
    if image.format in ("JPEG", "MPO"):
        coefficients, _ = _jpeg(data)
        check_memory(coefficients, large)
        scans = _scans(data) if coefficients else 1  # libjpeg reads no further ones, because it keeps no coefficients
        if scans > _MAX_SCANS or (scans > 1 and scans * width * height > _MAX_SCANNED * (4 if large else 1)):
            raise ImageError("too_large", f"the JPEG has {scans} scans, too many for its size")
    if isinstance(image, IsolatedImage):
        check_memory(image.needed, large)


def _check_size(size: int, large: bool) -> None:
    limit = OWN_BYTES if large else MAX_BYTES
    if size > limit:
        raise ImageError("too_large", f"the image has {size:,} bytes; at most {limit:,} are allowed")


def _check_parts(data: bytes) -> None:
    """Raises ImageError if the file has too many EXIF segments or compressed chunks, which are costly to parse.

    They are counted by their names anywhere in the file. A name of four bytes occurs by chance in one of two hundred
    files of 20 MB, hence limits above one.
    """
    if data.startswith(b"\xff\xd8") and data.count(b"Exif\0\0") > _MAX_EXIF_PARTS:
        raise ImageError("too_large", f"the JPEG has more than {_MAX_EXIF_PARTS} EXIF segments")
    if data.startswith(b"\x89PNG") and sum(map(data.count, (b"iCCP", b"zTXt", b"iTXt"))) > _MAX_PACKED:
        raise ImageError("too_large", f"the PNG has more than {_MAX_PACKED} compressed texts and profiles")


def max_pixels(image: Image.Image, large: bool = False) -> int:
    """Returns the maximum number of pixels of an opened image, lower if its decoder takes more memory or time."""
    pixels = OWN_PIXELS if large else MAX_PIXELS
    if image.format == "WEBP" or has_deep_key(image):
        return pixels // 4  # the decoder holds several copies of the image
    if _is_run_length(image):
        return pixels // 4  # Pillow decodes run by run in Python
    return pixels


def check_memory(size: int, large: bool = False) -> None:
    """Checks the memory that decoding an image takes against the limit.

    Args:
        size: bytes.
        large: apply `OWN_MEMORY` in place of `MAX_MEMORY`.

    Raises:
        ImageError: `too_large`.
    """
    limit = OWN_MEMORY if large else MAX_MEMORY
    if size > limit:
        raise ImageError(
            "too_large",
            f"the image takes about {size // 10**6:,} MB of memory to decode; at most {limit // 10**6:,} are "
            "allowed: send it smaller, or as a JPEG in one scan (not progressive)",
        )


def memory(image: Image.Image, data: bytes) -> tuple[int, int]:
    """Returns an estimate of the bytes that decoding takes, without the file itself and the final conversion.

    Args:
        image: the opened image, after `draft` if it is to be decoded at a smaller scale.
        data: its encoded bytes.

    Returns:
        The bytes that are held until the image is closed, including the pixels; and the additional bytes that the
        decoder takes and frees.
    """
    pixels = image.width * image.height
    held = pixels * _STORAGE.get(image.mode, 4)
    if isinstance(image, IsolatedImage):
        return 2 * held, image.needed  # the pixels, and the bytes that come from the process
    if image.format in ("JPEG", "MPO"):
        coefficients, others = _jpeg(data)
        return held + others, coefficients
    if image.format == "WEBP":
        # libwebp's canvas and that of the previous frame, both RGBA, and the bytes that Pillow copies from them; the
        # file is copied for the decoder and for each chunk that Pillow reads.
        return held + 8 * pixels + 3 * len(data), 4 * pixels
    if image.format == "PNG":
        # With a transparent 16-bit colour: the image's low bytes, its bands and masks; see `images`.
        return held + _texts(data), 10 * pixels if has_deep_key(image) else 0
    if image.format == "GIF":
        return held + pixels + 3 * len(data), 0  # the image that replaces the first frame; comments
    # A run-length-encoded BMP: the array of decoded pixels, and its copy.
    return held + (2 * pixels if _is_run_length(image) else 0), 0


def _jpeg(data: bytes) -> tuple[int, int]:
    """Returns the bytes that libjpeg and Pillow hold for a JPEG in addition to its pixels.

    A file of several scans, progressive or with a separate scan for each component, is decoded after its last scan:
    until then libjpeg keeps two bytes for each coefficient of all blocks (jdcoefct.c, jinit_d_coef_controller). The
    first scan determines this (jdinput.c, initial_setup).

    Returns:
        The bytes of the coefficients, 0 for a file of one scan; and the bytes of pixel rows and segments.
    """
    whole = rows = 0
    progressive, components = False, 0
    for code, at in _markers(data):
        if code in _FRAMES and len(data) > at + 8:
            # Length, precision, height, width, number of components; per component id, sampling factors and table.
            height, width, components = struct.unpack_from(">HHB", data, at + 3)
            factors = [(byte >> 4 or 1, byte & 15 or 1) for byte in data[at + 9 : at + 8 + 3 * components : 3]]
            across, down = (max(column, default=1) for column in zip(*factors, strict=True)) if factors else (1, 1)
            # Each component's blocks fill whole MCUs: units of all components' blocks (ITU T.81, A.2).
            units = -(-width // (8 * across)) * -(-height // (8 * down))
            whole = max(whole, 128 * units * sum(h * v for h, v in factors))
            rows = max(rows, 40 * width * components)
            progressive = progressive or code in _PROGRESSIVE
        elif code == _SCAN:
            several = progressive or data[at + 2 : at + 3] < bytes([components])
            return whole if several else 0, rows + 3 * at
    return 0, rows  # no scan: Pillow or libjpeg refuses the file


def _scans(data: bytes) -> int:
    """Returns the number of scans in a JPEG's first image.

    A video (motion photos) or more images (MPO) may follow the first image, and segments may contain previews; libjpeg
    reads none of them.
    """
    return sum(code == _SCAN for code, _ in _markers(data))


def _markers(data: bytes) -> Iterator[tuple[int, int]]:
    """Yields the code of each marker of a JPEG's first image and the position after it, as libjpeg finds them.

    Raises:
        ImageError: `too_large`, there are too many markers.
    """
    at = 2
    for _ in range(_MAX_MARKERS):
        found = _MARKER.search(data, at)
        if not found or data[found.end() - 1] == _END:
            return
        at = found.end()
        yield data[at - 1], at
        at += max(int.from_bytes(data[at : at + 2]), 2)
    raise ImageError("too_large", f"the JPEG has more than {_MAX_MARKERS:,} segments")


def _texts(data: bytes) -> int:
    """Returns the maximum number of bytes that a PNG's texts and other chunks take in Pillow's memory.

    Pillow decompresses at most one megabyte of a chunk and keeps 64 million characters of text. One character outside
    Unicode's Basic Multilingual Plane makes every character of an `iTXt` take four bytes.
    """
    texts = others = 0
    at = 8
    for _ in range(_MAX_READS // 3):  # Pillow reads a chunk in three parts: length and type, content, checksum
        if at + 8 > len(data):
            break
        length, kind = struct.unpack_from(">I4s", data, at)
        if kind in (b"iTXt", b"zTXt", b"tEXt"):
            packed = 0 if kind == b"tEXt" else min(1032 * length, 2**20)  # deflate's best ratio is 1032
            texts += length + max(length, packed) * (4 if kind == b"iTXt" else 1)
        elif kind not in (b"IDAT", b"fdAT"):
            others += length
        at += 12 + length
    return min(texts, 4 * 64 * 2**20) + min(others, len(data))


def has_deep_key(image: Image.Image) -> bool:
    """Returns whether an opened image is a PNG of 16-bit RGB with a transparent colour (chunk `tRNS`)."""
    return "transparency" in image.info and raw_mode(image) == "RGB;16B"


def raw_mode(image: Image.Image) -> str:
    """Returns Pillow's raw mode of a PNG; empty for other formats, and after the pixels have been decoded."""
    tiles = _tiles(image) if image.format == "PNG" else []
    return str(tiles[0].args) if tiles else ""


def _is_run_length(image: Image.Image) -> bool:
    """Returns whether an opened image is a run-length-encoded BMP."""
    return image.format == "BMP" and any(tile.codec_name == "bmp_rle" for tile in _tiles(image))


def _tiles(image: Image.Image) -> list[Any]:
    """Returns the tiles of the image that Pillow has not decoded yet."""
    return getattr(image, "tile", [])


def dimensions(data: bytes, large: bool = False) -> tuple[int, int]:
    """Returns width and height in pixels of the upright image, according to its header.

    Raises:
        ImageError: as `open_image`.
    """
    with open_image(data, large) as image:
        # Orientations 5 to 8 swap width and height.
        return image.size if orientation(image) < 5 else (image.height, image.width)


def orientation(image: Image.Image) -> int:
    """Returns an opened image's EXIF orientation, 1 (upright) to 8; 1 if there is none or the EXIF is damaged.

    Pillow also finds EXIF after the pixels, where a PNG may have it.

    Raises:
        ImageError: `too_large`, the EXIF is too long.
    """
    # The second key is EXIF in a PNG written by ImageMagick: two hexadecimal digits per byte.
    for exif, most in ((image.info.get("exif"), MAX_EXIF), (image.info.get("Raw profile type exif"), 3 * MAX_EXIF)):
        if exif is not None and len(exif) > most:
            raise ImageError("too_large", f"the image's EXIF has more than {MAX_EXIF:,} bytes")
    try:
        value = image.getexif().get(ExifTags.Base.Orientation, 1)
        return value if value in range(1, 9) else 1
    except (SyntaxError, ValueError, KeyError, TypeError, EOFError, struct.error):  # damaged EXIF, not damaged pixels
        return 1


def may_be_turned(image: Image.Image, data: bytes) -> bool:
    """Returns whether an opened image may have to be transposed to be upright.

    A PNG may have its orientation after the pixels, where Pillow finds it only after decoding them.
    """
    if image.format == "PNG":
        return any(name in data for name in (b"eXIf", b"Raw profile type exif", b"XML:com.adobe.xmp"))
    return orientation(image) != 1


def load(file: BinaryIO, large: bool = False) -> bytes:
    """Returns the bytes of an open image file.

    Raises:
        ImageError: `too_large`; the message has the size of the whole file.
    """
    _check_size(os.fstat(file.fileno()).st_size, large)
    return file.read((OWN_BYTES if large else MAX_BYTES) + 1)


def read(path: Path, large: bool = False) -> bytes:
    """Returns an image file's bytes.

    Raises:
        ImageError: `not_an_image` if the file cannot be read; `too_large`.
    """
    try:
        with path.open("rb") as file:
            return load(file, large)
    except OSError as error:
        raise ImageError("not_an_image", f"cannot read {path}: {error.strerror or error}") from error


def reason(error: Exception) -> str:
    """Returns the first line of an exception's message, at most 120 characters, or the name of its type."""
    return str(error).splitlines()[0][:120] if str(error) else type(error).__name__
