"""Opens encoded images and refuses those that would take too much memory or time, before any pixel is decoded.

Files come from untrusted clients. This module limits what Pillow does before the pixels and what its decoders do for
each pixel; docs/threat-model.md lists the reason for each limit.
"""

import os
import re
import struct
import warnings
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Any, BinaryIO

from PIL import (
    ExifTags,
    Image,
    UnidentifiedImageError,
    WebPImagePlugin,  # noqa: F401 - otherwise Pillow imports forty plugins, PDF's among them, to find it
)

from headstand import formats
from headstand.errors import HeadstandError

FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP")
"""Formats that are decoded. MPO, which some phones and cameras write into a `.jpg`, opens as JPEG. TIFF, PSD, EPS and
others are refused: their parsers are large and users of a classifier do not send them."""

MAX_BYTES = 20 * 2**20
"""Largest encoded image, in bytes."""

MAX_PIXELS = 64_000_000
"""Largest image, in pixels as its header states them: four bytes a pixel make 256 MB. The largest everyday photos of
phones have 50 million. Some kinds may have fewer: see `max_pixels`."""

MAX_MEMORY = 400_000_000
"""Most bytes that decoding one image to a given size may take, as `memory` estimates them."""

OWN_BYTES, OWN_PIXELS, OWN_MEMORY = 256 * 2**20, 256_000_000, 1_600_000_000
"""The same limits for a user's own files where `source.large` allows them: phones take photos of 200 million pixels.
The services never use them."""

MAX_SIDE = 65_535
"""Longest side in pixels: the most that a JPEG or a GIF can have. A PNG of 64 million by one has one row of 256 MB, and
decoders hold several rows."""

MAX_EXIF = 2**20
"""Longest EXIF in bytes; its values become Python objects of many times their size. A JPEG segment has 64 KB."""

_MAX_SCANS = 100
"""Most scans in a JPEG. A progressive photo has about 10. Each is a pass over the whole picture and needs 100 bytes, so
that a file of 20 MB could take hours."""

_MAX_MARKERS = 10_000
"""Most markers in a JPEG up to the end of its first image, restart markers not counted. A photo has some dozens."""

_MAX_SCANNED = 1_600_000_000
"""Most pixels in all scans of a JPEG together: 25 scans of the largest picture."""

_MAX_READS = 1_000_000
"""Most reads from one file. Pillow reads segments, chunks, blocks and runs in Python, with some reads for each: a photo
takes a few thousand; 20 MB of empty segments take 20 million, ten seconds and most of a gigabyte."""

_MAX_PACKED = 256
"""Most compressed chunks in a PNG beside its pixels. Each kilobyte of them may inflate to a megabyte."""

_MAX_EXIF_PARTS = 32
"""Most EXIF segments in a JPEG. There is one, and one more for each embedded picture. Pillow appends each to the ones
before by copying them, so that many take hours."""

EXTENSIONS = (".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".gif", ".bmp")
"""Extensions of image files; the format of a file is determined by its content."""

_MARKER = re.compile(rb"\xff[\x02-\xcf\xd8-\xfe]")
"""A JPEG marker that is no restart marker, fill byte or stuffed zero (ITU T.81, B.1.1): what libjpeg looks for after
compressed data and between segments."""

_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_PROGRESSIVE = frozenset((0xC2, 0xC6, 0xCA, 0xCE))
_SCAN, _END = 0xDA, 0xD9
"""Codes of JPEG markers: start of frame, of a progressive frame, of a scan, and end of image (ITU T.81, table B.1)."""

_STORAGE = {"1": 1, "L": 1, "P": 1, "I;16": 2, "I;16B": 2}
"""Bytes for a pixel in Pillow's memory, by mode; 4 for all other modes, RGB included."""

# Pillow warns of large images and odd EXIF; the limits here decide, and a service's log should not hold such warnings.
# Once and for Pillow's modules only: `warnings.catch_warnings` around a call changes the filters of all threads, and
# two threads that leave it in another order than they entered it restore each other's.
warnings.filterwarnings("ignore", module=r"PIL\.")

# `open_image` checks the size itself, and names it.
Image.MAX_IMAGE_PIXELS = None


class ImageError(HeadstandError):
    """Raised for an unusable image. `code` is stable: `not_an_image`, `too_large`, `corrupt_image`."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


class _Source(BytesIO):
    """Bytes with a limited number of reads."""

    _reads = 0

    def read(self, size: int | None = -1, /) -> bytes:
        self._reads += 1
        if self._reads > _MAX_READS:
            raise ImageError("too_large", "the image consists of too many small parts")
        return super().read(size)


def open_image(data: bytes, large: bool = False) -> Image.Image:
    """Open encoded bytes and make all checks that need no decoding: length, format, pixels, scans, costly parts.

    Args:
        data: the encoded image.
        large: apply `OWN_BYTES`, `OWN_PIXELS` and `OWN_MEMORY` in place of the services' limits.

    Raises:
        ImageError: `not_an_image`, `too_large` or `corrupt_image`.
    """
    _check_size(len(data), large)
    _check_parts(data)
    try:
        image = Image.open(_Source(data), formats=FORMATS)
    except ImageError:
        raise
    except UnidentifiedImageError:
        why = formats.refusal(data)
        text = f"the data is not an image of a known format ({', '.join(FORMATS)})" + (f"; {why}" if why else "")
        raise ImageError("not_an_image", text) from None
    except MemoryError:
        raise ImageError("too_large", "the image takes more memory to open than there is") from None
    except Exception as error:
        raise ImageError("corrupt_image", f"the image's header is damaged ({reason(error)})") from error
    width, height = image.size
    limit = max_pixels(image, large)
    if width * height > limit:
        raise ImageError("too_large", f"the image is {width} x {height}; at most {limit:,} pixels are allowed")
    if max(width, height) > MAX_SIDE:
        raise ImageError(
            "too_large", f"the image is {width} x {height}; at most {MAX_SIDE:,} pixels per side are allowed"
        )
    if image.format in ("JPEG", "MPO"):
        check_memory(_jpeg(data)[0], large)
        scans = _scans(data)
        if scans > _MAX_SCANS or (scans > 1 and scans * width * height > _MAX_SCANNED * (4 if large else 1)):
            raise ImageError("too_large", f"the JPEG has {scans} scans, too many for its size")
    return image


def _check_size(size: int, large: bool) -> None:
    limit = OWN_BYTES if large else MAX_BYTES
    if size > limit:
        raise ImageError("too_large", f"the image has {size:,} bytes; at most {limit:,} are allowed")


def _check_parts(data: bytes) -> None:
    """Refuse many parts of a kind that costs a parser much more than its bytes, found by name anywhere in the file.

    A name of four bytes occurs by chance in one of two hundred files of 20 MB, hence limits above one.
    """
    if data.startswith(b"\xff\xd8") and data.count(b"Exif\0\0") > _MAX_EXIF_PARTS:
        raise ImageError("too_large", f"the JPEG has more than {_MAX_EXIF_PARTS} EXIF segments")
    if data.startswith(b"\x89PNG") and sum(map(data.count, (b"iCCP", b"zTXt", b"iTXt"))) > _MAX_PACKED:
        raise ImageError("too_large", f"the PNG has more than {_MAX_PACKED} compressed texts and profiles")


def max_pixels(image: Image.Image, large: bool = False) -> int:
    """Return how many pixels an opened image may have: fewer if its decoder takes several times the memory or time."""
    pixels = OWN_PIXELS if large else MAX_PIXELS
    if image.format == "WEBP" or has_deep_key(image):
        return pixels // 4  # several copies of the picture
    if _is_run_length(image):
        return pixels // 4  # decoded run by run, in Python
    return pixels


def check_memory(size: int, large: bool = False) -> None:
    """Refuse an image that takes so many bytes to decode.

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
    """Estimate the bytes that decoding takes, without the file itself and the final conversion.

    Args:
        image: the opened image, after `draft` if it is to be decoded at a smaller scale.
        data: its encoded bytes.

    Returns:
        The bytes that are held until the image is closed, among them the pixels; and those that the decoder takes
        beside them and frees.
    """
    pixels = image.width * image.height
    held = pixels * _STORAGE.get(image.mode, 4)
    if image.format in ("JPEG", "MPO"):
        coefficients, others = _jpeg(data)
        return held + others, coefficients
    if image.format == "WEBP":
        # libwebp's canvas and the one of the frame before, both RGBA, and the bytes that Pillow copies from them; the
        # file is copied for the decoder and for each chunk that Pillow asks for.
        return held + 8 * pixels + 3 * len(data), 4 * pixels
    if image.format == "PNG":
        # With a transparent colour of 16 bits: the picture's low bytes, its bands and masks; see `images`.
        return held + _texts(data), 10 * pixels if has_deep_key(image) else 0
    if image.format == "GIF":
        return held + pixels + 3 * len(data), 0  # what the first frame is disposed to; comments
    # A BMP of runs: the array that they are written to, and its copy.
    return held + (2 * pixels if _is_run_length(image) else 0), 0


def _jpeg(data: bytes) -> tuple[int, int]:
    """Return the bytes that libjpeg and Pillow hold for a JPEG beside its pixels.

    A file of several scans, progressive or with each component in a scan of its own, is decoded after its last scan:
    until then libjpeg keeps two bytes for each coefficient of all blocks (jdcoefct.c, jinit_d_coef_controller). The
    first scan decides (jdinput.c, initial_setup).

    Returns:
        The bytes of the coefficients, 0 for a file of one scan; those of rows of pixels and of segments.
    """
    whole = rows = 0
    progressive, components = False, 0
    for code, at in _markers(data):
        if code in _FRAMES and len(data) > at + 8:
            # Length, precision, height, width, number of components; for each its id, its sampling factors, a table.
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
    """Return the number of a JPEG's scans up to the end of its first image; 1 if libjpeg reads no more than the first.

    Behind the first image there may be a video (motion photos) or more images (MPO), and inside segments previews;
    libjpeg reads none of them.
    """
    if not _jpeg(data)[0]:
        return 1
    return sum(code == _SCAN for code, _ in _markers(data))


def _markers(data: bytes) -> Iterator[tuple[int, int]]:
    """Yield the code of each marker of a JPEG's first image and the position behind it, as libjpeg finds them.

    Raises:
        ImageError: `too_large`, there are too many.
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
    """Return the most bytes that a PNG's texts and other chunks take in Pillow's memory.

    Pillow decompresses a megabyte of a chunk at most, and keeps 64 million characters of text; one character outside
    of Unicode's first plane makes every character of an `iTXt` take four bytes.
    """
    texts = others = 0
    at = 8
    for _ in range(_MAX_READS // 3):  # of a chunk Pillow reads length and kind, content, and checksum
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
    """Return whether an opened image is a PNG of 16-bit colours, one of which is transparent."""
    return "transparency" in image.info and raw_mode(image) == "RGB;16B"


def raw_mode(image: Image.Image) -> str:
    """Return Pillow's raw mode of a PNG; empty for other formats, and after the pixels have been decoded."""
    tiles = _tiles(image) if image.format == "PNG" else []
    return str(tiles[0].args) if tiles else ""


def _is_run_length(image: Image.Image) -> bool:
    """Return whether an opened image is a BMP of runs."""
    return image.format == "BMP" and any(tile.codec_name == "bmp_rle" for tile in _tiles(image))


def _tiles(image: Image.Image) -> list[Any]:
    """Return the parts of the picture that Pillow has not decoded yet."""
    return getattr(image, "tile", [])


def dimensions(data: bytes, large: bool = False) -> tuple[int, int]:
    """Return width and height of the upright picture in pixels, as its header states them.

    Raises:
        ImageError: as `open_image`.
    """
    with open_image(data, large) as image:
        # Orientations 5 to 8 swap width and height.
        return image.size if orientation(image) < 5 else (image.height, image.width)


def orientation(image: Image.Image) -> int:
    """Return an opened image's EXIF orientation, 1 (upright) to 8; 1 if there is none or the EXIF is damaged.

    Pillow also finds EXIF behind the pixels, where a PNG may have it.

    Raises:
        ImageError: `too_large`, the EXIF is too long.
    """
    # The second is a PNG's, as ImageMagick writes it: two hexadecimal digits per byte.
    for exif, most in ((image.info.get("exif"), MAX_EXIF), (image.info.get("Raw profile type exif"), 3 * MAX_EXIF)):
        if exif is not None and len(exif) > most:
            raise ImageError("too_large", f"the image's EXIF has more than {MAX_EXIF:,} bytes")
    try:
        value = image.getexif().get(ExifTags.Base.Orientation, 1)
        return value if value in range(1, 9) else 1
    except (SyntaxError, ValueError, KeyError, TypeError, EOFError, struct.error):  # damaged EXIF, not damaged pixels
        return 1


def may_be_turned(image: Image.Image, data: bytes) -> bool:
    """Return whether an opened image may have to be transposed to be upright.

    A PNG may have its orientation behind the pixels, where Pillow finds it only after it has decoded them.
    """
    if image.format == "PNG":
        return any(name in data for name in (b"eXIf", b"Raw profile type exif", b"XML:com.adobe.xmp"))
    return orientation(image) != 1


def load(file: BinaryIO, large: bool = False) -> bytes:
    """Return the bytes of an open image file.

    Raises:
        ImageError: `too_large`, with the size of the whole file.
    """
    _check_size(os.fstat(file.fileno()).st_size, large)
    return file.read((OWN_BYTES if large else MAX_BYTES) + 1)


def read(path: Path, large: bool = False) -> bytes:
    """Return an image file's bytes.

    Raises:
        ImageError: `not_an_image`, the file cannot be read; `too_large`.
    """
    try:
        with path.open("rb") as file:
            return load(file, large)
    except OSError as error:
        raise ImageError("not_an_image", f"cannot read {path}: {error.strerror or error}") from error


def reason(error: Exception) -> str:
    """Return Pillow's message in one short line."""
    return str(error).splitlines()[0][:120] if str(error) else type(error).__name__
