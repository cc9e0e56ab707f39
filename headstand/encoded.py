"""An encoded image before its pixels are made: what is opened, and what is refused, as long as that costs little.

A file comes from a stranger, who chooses what in it costs most. Whatever Pillow does before the pixels, and whatever
its decoders do for each pixel, is bounded here; docs/threat-model.md tells what each bound is for.
"""

import struct
import warnings
from io import BytesIO
from pathlib import Path
from typing import Any

from PIL import (
    ExifTags,
    Image,
    UnidentifiedImageError,
    WebPImagePlugin,  # noqa: F401 - else Pillow loads forty plugins, PDF's among them, to find it
)

from headstand import formats
from headstand.errors import HeadstandError

FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP")
"""What is decoded. MPO, which some phones and cameras write into a `.jpg`, opens as JPEG. TIFF, PSD, EPS and the rest
stay out: their parsers are large and no user of a classifier sends them."""

MAX_BYTES = 20 * 2**20
"""Largest encoded image, in bytes."""

MAX_PIXELS = 64_000_000
"""Largest image, in pixels as its header states them, read before any pixel is decoded: four bytes a pixel make 256 MB,
what a small server can spare. Phones' largest everyday photos have 50 million. Costly kinds may have less: see `cost`.
"""

MAX_SIDE = 65_535
"""Longest side in pixels: the most that a JPEG or a GIF can state. A PNG of 64 million by one is one row of 256 MB,
and decoding works by rows."""

MAX_EXIF = 2**20
"""Longest EXIF in bytes; its values become Python objects of many times their size. A JPEG's segment has 64 KB."""

_MAX_SCANS = 100
"""Most scans in a JPEG. A progressive photo has about 10; each costs a pass over the whole picture, and 100 bytes buy
one, so that a file of 20 MB could keep a processor busy for hours."""

_MAX_SCANNED = 1_600_000_000
"""Most pixels in all scans of a JPEG together: 25 scans of the largest picture."""

_MAX_READS = 1_000_000
"""Most reads from one file. Pillow walks segments, chunks, blocks and runs in Python, with some reads for each: a photo
takes a few thousand; 20 MB of empty segments take 20 million, ten seconds and most of a gigabyte."""

_MAX_PACKED = 256
"""Most compressed chunks in a PNG beside its pixels. Each kilobyte of them may inflate to a megabyte."""

_MAX_EXIF_PARTS = 32
"""Most EXIF segments in a JPEG. There is one, and one more for each embedded picture; Pillow puts all of them together,
copying what it has for each, so that many take hours."""

EXTENSIONS = (".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".gif", ".bmp")
"""File names that are taken for images; what a file *is* is decided by its content."""


class ImageError(HeadstandError):
    """An image that cannot be used. `code` is stable: `not_an_image`, `too_large`, `corrupt_image`."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


class _Source(BytesIO):
    """Bytes that can be read from so often, and no more."""

    _reads = 0

    def read(self, size: int | None = -1, /) -> bytes:
        self._reads += 1
        if self._reads > _MAX_READS:
            raise ImageError("too_large", "the image consists of too many small parts")
        return super().read(size)


def open_image(data: bytes) -> Image.Image:
    """Open encoded bytes with all checks that need no decoding (length, format, pixel count, costly parts).

    Raises:
        ImageError: `not_an_image`, `too_large` or `corrupt_image`.
    """
    if len(data) > MAX_BYTES:
        raise ImageError("too_large", f"the image has {len(data):,} bytes; at most {MAX_BYTES:,} are taken")
    _check_parts(data)
    try:
        image = Image.open(_Source(data), formats=FORMATS)
    except ImageError:
        raise
    except UnidentifiedImageError:
        why = formats.refusal(data)
        text = f"the data is not an image of a known format ({', '.join(FORMATS)})" + (f"; {why}" if why else "")
        raise ImageError("not_an_image", text) from None
    except Image.DecompressionBombError:
        raise ImageError("too_large", f"the image is larger than {MAX_PIXELS:,} pixels") from None
    except MemoryError:
        raise ImageError("too_large", "the image takes more memory to open than there is") from None
    except Exception as error:
        raise ImageError("corrupt_image", f"the image's header is damaged ({reason(error)})") from error
    width, height = image.size
    limit = MAX_PIXELS // cost(image)
    if width * height > limit:
        raise ImageError("too_large", f"the image is {width} x {height}; at most {limit:,} pixels are taken")
    if max(width, height) > MAX_SIDE:
        raise ImageError("too_large", f"the image is {width} x {height}; at most {MAX_SIDE:,} pixels a side are taken")
    if image.format in ("JPEG", "MPO"):
        # Inside compressed data FF is followed by 00, so this counts the start-of-scan markers (ITU T.81, B.1.1.3).
        scans = data.count(b"\xff\xda")
        if scans > _MAX_SCANS or (scans > 1 and scans * width * height > _MAX_SCANNED):
            raise ImageError("too_large", f"the JPEG has {scans} scans, too many for its size")
    return image


def _check_parts(data: bytes) -> None:
    """Refuse what costs a parser much more than its bytes: found by its name, wherever it stands.

    Chance puts a name of four bytes into one of two hundred files of 20 MB, hence limits that are not one.
    """
    if data.startswith(b"\xff\xd8") and data.count(b"Exif\0\0") > _MAX_EXIF_PARTS:
        raise ImageError("too_large", f"the JPEG has more than {_MAX_EXIF_PARTS} EXIF segments")
    if data.startswith(b"\x89PNG") and sum(map(data.count, (b"iCCP", b"zTXt", b"iTXt"))) > _MAX_PACKED:
        raise ImageError("too_large", f"the PNG has more than {_MAX_PACKED} compressed texts and profiles")


def cost(image: Image.Image) -> int:
    """How many times the memory or time of other kinds an opened image's decoder takes for a pixel."""
    if image.format == "WEBP" or has_deep_key(image):
        return 4  # several copies of the picture
    if image.format == "BMP" and _tiles(image)[0].codec_name == "bmp_rle":
        return 4  # run by run, in Python
    # A progressive JPEG's coefficients are kept until its last scan, two bytes for each component of a pixel.
    return 2 if image.mode == "CMYK" and "progressive" in image.info else 1


def has_deep_key(image: Image.Image) -> bool:
    """Whether an opened image is a PNG of 16-bit colours, one of which is transparent."""
    return "transparency" in image.info and raw_mode(image) == "RGB;16B"


def raw_mode(image: Image.Image) -> str:
    """How a PNG's pixels are stored, in Pillow's words; empty for other kinds, and once the pixels are made."""
    tiles = _tiles(image) if image.format == "PNG" else []
    return str(tiles[0].args) if tiles else ""


def _tiles(image: Image.Image) -> list[Any]:
    """What Pillow has still to decode."""
    return getattr(image, "tile", [])


def dimensions(data: bytes) -> tuple[int, int]:
    """Width and height of the upright picture in pixels, as its header states them.

    Raises:
        ImageError: as `open_image`.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # as in `images.decode`
        with open_image(data) as image:
            # The orientations from 5 on lie on their side.
            return image.size if orientation(image) < 5 else (image.height, image.width)


def orientation(image: Image.Image) -> int:
    """How an opened image is stored: its EXIF orientation, 1 (upright) to 8; 1 where EXIF says nothing or is damaged.

    Pillow also finds what stands behind the pixels, as it may in a PNG.

    Raises:
        ImageError: `too_large`, the EXIF is.
    """
    # The second is a PNG's, as ImageMagick writes it: two hexadecimal digits a byte.
    for exif, most in ((image.info.get("exif"), MAX_EXIF), (image.info.get("Raw profile type exif"), 3 * MAX_EXIF)):
        if exif is not None and len(exif) > most:
            raise ImageError("too_large", f"the image's EXIF has more than {MAX_EXIF:,} bytes")
    try:
        value = image.getexif().get(ExifTags.Base.Orientation, 1)
        return value if value in range(1, 9) else 1
    except (SyntaxError, ValueError, KeyError, TypeError, EOFError, struct.error):  # damaged EXIF, not damaged pixels
        return 1


def read(path: Path) -> bytes:
    """An image file's bytes, no more than show that it has too many.

    Raises:
        ImageError: the file cannot be read.
    """
    try:
        with path.open("rb") as file:
            return file.read(MAX_BYTES + 1)
    except OSError as error:
        raise ImageError("not_an_image", f"cannot read {path}: {error.strerror or error}") from error


def reason(error: Exception) -> str:
    """Pillow's word for what is wrong, in one short line."""
    return str(error).splitlines()[0][:120] if str(error) else type(error).__name__
