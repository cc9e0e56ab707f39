"""From encoded bytes to pixels: the only decoder in the house.

Training, export and both services decode through `decode`, so a photo gives the same array everywhere. Any change
of what it returns must raise `DECODER`, which is part of every feature-cache key.
"""

import contextlib
import struct
import threading
import warnings
from functools import lru_cache
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from keras_image_helper.base import BasePreprocessor
from PIL import ExifTags, Image, ImageChops, UnidentifiedImageError

from headstand.errors import HeadstandError

DECODER = "1"
"""Version of the decoder; a new value makes every cached feature a miss."""

FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP")
"""What is decoded. MPO, which some phones and cameras write into a `.jpg`, opens as JPEG. TIFF, PSD, EPS and the rest
stay out: their parsers are large and no user of a classifier sends them."""

MAX_BYTES = 20 * 2**20
"""Largest encoded image, in bytes."""

MAX_PIXELS = 64_000_000
"""Largest image, in pixels as its header states them, read before any pixel is decoded: four bytes a pixel make 256 MB,
what a small server can spare. Phones' largest everyday photos have 50 million. A WebP may have a quarter of it."""

_COST = {"WEBP": 4}
"""How many times the memory of others a format's decoder takes for a pixel; its pixels are capped accordingly."""

_MAX_SCANS = 100
"""Most scans in a JPEG. A progressive photo has about 10; each costs a pass over the whole picture, and 100 bytes buy
one, so that a file of 20 MB could keep a processor busy for hours."""

_LARGE = 16_000_000
"""Pixels above which a picture is shrunk by whole factors, a strip at a time, before it is resized."""

_ONE_AT_A_TIME = threading.Lock()
"""Held while a picture is decoded that takes hundreds of megabytes: a service's threads must not do so side by side."""

_STRIP = 1_000_000
"""Pixels that are converted at a time."""

_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""EXIF orientation to what makes it upright (Exif 2.3, tag 0x0112)."""

EXTENSIONS = (".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".gif", ".bmp")
"""File names that are taken for images; what a file *is* is decided by its content."""

# Pillow's pictures live in blocks of 16 MB, which the C library keeps for the thread when they are freed: after one
# costly picture in each, a service's four threads would hold a gigabyte. Blocks over 32 MB always go back.
Image.core.set_block_size(64 * 2**20)


class ImageError(HeadstandError):
    """An image that cannot be used. `code` is stable: `not_an_image`, `too_large`, `corrupt_image`."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


class Preprocessor(BasePreprocessor):
    """keras-image-helper's preprocessor with Headstand's resize in place of its nearest-neighbour one.

    `convert_to_tensor(img)` gives `float32 [1, height, width, 3]` in 0..255: scaling lives inside the model.
    """

    def __init__(self, size: tuple[int, int]) -> None:
        super().__init__(target_size=size)

    def resize_image(self, img: Image.Image) -> Image.Image:
        """Upright RGB at the target size: Pillow's bilinear filter, which antialiases when it shrinks."""
        return _rgb(img, self.target_size).resize(self.target_size, Image.Resampling.BILINEAR)

    def preprocess(self, X: np.ndarray) -> np.ndarray:  # noqa: N803 - the base class names it so
        """Nothing: the model takes pixels."""
        return X


@lru_cache(maxsize=8)
def _preprocessor(size: tuple[int, int]) -> Preprocessor:
    return Preprocessor(size)


def decode(source: bytes | str | Path, size: int | tuple[int, int] | None = None) -> np.ndarray:
    """Decode one image.

    Args:
        source: the encoded image, or the path of a file that holds it.
        size: side of the square to scale to, or `(width, height)`, in pixels; the picture is squashed, never cropped,
            so no part of a body is lost. None keeps the size.

    Returns:
        `uint8 [height, width, 3]`, RGB: upright by EXIF, transparency over white, 16 bits scaled to 8, the first
        frame of an animation.

    Raises:
        ImageError: not an image of `FORMATS`, larger than the caps, or damaged.
    """
    data = source if isinstance(source, bytes) else read(Path(source))
    target = (size, size) if isinstance(size, int) else size
    with warnings.catch_warnings():
        # Pillow warns of large images and odd EXIF; the caps below decide, and a service's log is no place for it.
        warnings.simplefilter("ignore")
        try:
            with open_image(data) as image, _alone(image):
                if target:
                    # A JPEG decodes at 1/2, 1/4 or 1/8 for next to nothing; twice the target leaves room to antialias.
                    image.draft(None, (2 * max(target), 2 * max(target)))
                upright = _preprocessor(target).resize_image(image) if target else _rgb(image)
                return np.array(upright, dtype=np.uint8)
        except ImageError:
            raise
        except Exception as error:  # Pillow's codecs raise OSError, SyntaxError, struct.error and more on damage
            raise ImageError("corrupt_image", f"the image is damaged or cut short ({_reason(error)})") from error


def open_image(data: bytes) -> Image.Image:
    """Open encoded bytes with all checks that need no decoding (length, format, pixel count).

    Raises:
        ImageError: as `decode`.
    """
    if len(data) > MAX_BYTES:
        raise ImageError("too_large", f"the image has {len(data):,} bytes; at most {MAX_BYTES:,} are taken")
    try:
        image = Image.open(BytesIO(data), formats=FORMATS)
    except UnidentifiedImageError:
        kinds = ", ".join(FORMATS)
        raise ImageError("not_an_image", f"the data is not an image of a known format ({kinds})") from None
    except Image.DecompressionBombError:
        raise ImageError("too_large", f"the image is larger than {MAX_PIXELS:,} pixels") from None
    except Exception as error:
        raise ImageError("corrupt_image", f"the image's header is damaged ({_reason(error)})") from error
    width, height = image.size
    limit = MAX_PIXELS // _COST.get(image.format or "", 1)
    if width * height > limit:
        raise ImageError("too_large", f"the image is {width} x {height}; at most {limit:,} pixels are taken")
    # Inside compressed data FF is followed by 00, so this counts the start-of-scan markers (ITU T.81, B.1.1.3).
    if image.format in ("JPEG", "MPO") and data.count(b"\xff\xda") > _MAX_SCANS:
        raise ImageError("too_large", f"the JPEG has more than {_MAX_SCANS} scans")
    return image


def dimensions(data: bytes) -> tuple[int, int]:
    """Width and height of the upright picture in pixels, as its header states them.

    Raises:
        ImageError: as `decode`.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # as in `decode`
        with open_image(data) as image:
            # The orientations from 5 on lie on their side.
            return image.size if orientation(image) < 5 else (image.height, image.width)


def orientation(image: Image.Image) -> int:
    """How an opened image is stored: its EXIF orientation, 1 (upright) to 8; 1 where EXIF says nothing or is damaged.

    Pillow also finds what stands behind the pixels, as it may in a PNG.
    """
    try:
        value = image.getexif().get(ExifTags.Base.Orientation, 1)
        return value if value in _TURNS else 1
    except (SyntaxError, ValueError, KeyError, TypeError, EOFError, struct.error):  # damaged EXIF, not damaged pixels
        return 1


def _alone(image: Image.Image) -> contextlib.AbstractContextManager[object]:
    """What to hold while decoding; nothing for ordinary pictures, and for baseline JPEGs, which decode small."""
    small = image.format in ("JPEG", "MPO") and "progressive" not in image.info
    return contextlib.nullcontext() if small or image.width * image.height <= _LARGE else _ONE_AT_A_TIME


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


def _reason(error: Exception) -> str:
    return str(error).splitlines()[0][:120] if str(error) else type(error).__name__


def _rgb(image: Image.Image, target: tuple[int, int] | None = None) -> Image.Image:
    """8-bit RGB, upright, transparency over white; a large picture shrunk to no less than twice the target."""
    factors = (1, 1)
    if target and image.width * image.height > _LARGE:
        factors = (max(1, image.width // (2 * max(target))), max(1, image.height // (2 * max(target))))
    if image.mode == "RGB" and factors == (1, 1) and "transparency" not in image.info:
        image.load()
        return _upright(image, image)
    # Strip by strip, since each conversion copies: a whole picture of 64 million pixels would take over a gigabyte.
    canvas = Image.new("RGB", (-(-image.width // factors[0]), -(-image.height // factors[1])))
    rows = max(1, _STRIP // (image.width * factors[1])) * factors[1]
    for top in range(0, image.height, rows):
        strip = _flat(image.crop((0, top, image.width, min(top + rows, image.height))))
        canvas.paste(strip if factors == (1, 1) else strip.reduce(factors), (0, top // factors[1]))
    return _upright(canvas, image)


def _flat(strip: Image.Image) -> Image.Image:
    """8-bit RGB over white."""
    if strip.mode.startswith("I") or strip.mode == "F":
        strip = _eight_bits(strip)
    if strip.mode == "CMYK" and "adobe" not in strip.info:
        # Adobe stores ink inverted and marks its files; Pillow takes every CMYK JPEG for Adobe's.
        strip = ImageChops.invert(strip)
    if strip.mode in ("RGBA", "LA", "PA", "RGBa", "La") or "transparency" in strip.info:
        layer = strip.convert("RGBA")
        strip = Image.alpha_composite(Image.new("RGBA", layer.size, "white"), layer)
    return strip.convert("RGB")


def _upright(picture: Image.Image, source: Image.Image) -> Image.Image:
    """The picture turned as the source's EXIF says."""
    turn = _TURNS.get(orientation(source))
    return picture if turn is None else picture.transpose(turn)


def _eight_bits(image: Image.Image) -> Image.Image:
    """16-bit grey to 8 bits by the full range, its transparent level white.

    Pillow's own conversion would clip everything over 255 to white; and among 8 bits the level could not be told from
    its 256 neighbours any more.
    """
    values: Any = np.asarray(image, dtype=np.float64)
    grey = np.clip(np.round(values / 257), 0, 255).astype(np.uint8)
    grey[values == image.info.get("transparency")] = 255
    return Image.fromarray(grey)
