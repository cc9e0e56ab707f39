"""The only image decoder: encoded bytes to RGB pixels.

Training, export and both services decode through `decode`, so that a photo gives the same array everywhere. Any change
of what it returns must raise `DECODER`, which is part of every feature-cache key.
"""

import contextlib
import threading
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from keras_image_helper.base import BasePreprocessor
from PIL import Image, ImageChops

from headstand.encoded import (
    EXTENSIONS,
    FORMATS,
    MAX_BYTES,
    MAX_PIXELS,
    MAX_SIDE,
    ImageError,
    check_memory,
    dimensions,
    has_deep_key,
    may_be_turned,
    memory,
    open_image,
    orientation,
    raw_mode,
    read,
    reason,
)

__all__ = [
    "DECODER",
    "EXTENSIONS",
    "FORMATS",
    "MAX_BYTES",
    "MAX_PIXELS",
    "MAX_SIDE",
    "ImageError",
    "Preprocessor",
    "decode",
    "dimensions",
    "open_image",
    "orientation",
    "read",
]

DECODER = "1"
"""Version of the decoder; a new value makes every cached feature a miss."""

_LARGE = 16_000_000
"""Pixels above which a picture is reduced by whole factors, a strip at a time, before it is resized."""

_ORDINARY = 160_000_000
"""Bytes above which an image is decoded alone; below, as many at a time as there are threads."""

_STEPS = {"L;2": 85, "L;4": 17}
"""Factors that turn a PNG's grey levels of 2 and 4 bits into 8 bits."""

_ONE_AT_A_TIME = threading.Lock()
"""Held while an image is decoded that takes more than `_ORDINARY` bytes: threads must not decode several at once."""

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
"""EXIF orientation to the transposition that makes it upright (Exif 2.3, tag 0x0112)."""

# Pillow stores pictures in blocks of 16 MB, which the C library keeps for the thread when they are freed: after one
# large picture in each, a service's four threads would hold a gigabyte. Blocks over 32 MB are always returned.
Image.core.set_block_size(64 * 2**20)


class Preprocessor(BasePreprocessor):
    """keras-image-helper's preprocessor with Headstand's resize in place of its nearest-neighbour one.

    `convert_to_tensor(img)` returns `float32 [1, height, width, 3]` in 0..255: scaling lives inside the model.
    """

    def __init__(self, size: tuple[int, int]) -> None:
        super().__init__(target_size=size)

    def resize_image(self, img: Image.Image) -> Image.Image:
        """Return upright RGB at the target size by Pillow's bilinear filter, which antialiases when it shrinks."""
        return _rgb(img, self.target_size).resize(self.target_size, Image.Resampling.BILINEAR)

    def preprocess(self, X: np.ndarray) -> np.ndarray:  # noqa: N803 - the base class names it so
        """Return the pixels unchanged: scaling is part of the model."""
        return X


@lru_cache(maxsize=8)
def _preprocessor(size: tuple[int, int]) -> Preprocessor:
    return Preprocessor(size)


def decode(source: bytes | str | Path, size: int | tuple[int, int] | None = None) -> np.ndarray:
    """Decode one image.

    Args:
        source: the encoded image, or the path of a file that holds it.
        size: side of the square to scale to, or `(width, height)`, in pixels; the picture is squashed, never cropped,
            so that no part of it is lost. None keeps the size, and does not limit the memory: for one's own files.

    Returns:
        `uint8 [height, width, 3]`, RGB: upright by EXIF, transparency over white, 16 bits scaled to 8, the first
        frame of an animation.

    Raises:
        ImageError: not an image of `FORMATS`, larger than the limits, or damaged.
    """
    data = source if isinstance(source, bytes) else read(Path(source))
    target = (size, size) if isinstance(size, int) else size
    try:
        with open_image(data) as image:
            if target:
                # A JPEG is decoded at 1/2, 1/4 or 1/8 at little cost; twice the target leaves room to antialias.
                image.draft(None, (2 * max(target), 2 * max(target)))
            held, temporary = memory(image, data)
            needed = held + max(temporary, _converted(image, target, may_be_turned(image, data)))
            if target:
                check_memory(needed)
            with _ONE_AT_A_TIME if needed > _ORDINARY else contextlib.nullcontext():
                _key_out(image, data)
                upright = _preprocessor(target).resize_image(image) if target else _rgb(image)
                return np.array(upright, dtype=np.uint8)
    except ImageError:
        raise
    except MemoryError:
        raise ImageError("too_large", "the image takes more memory to decode than there is") from None
    except Exception as error:  # Pillow's codecs raise OSError, SyntaxError, struct.error and more on damage
        raise ImageError("corrupt_image", f"the image is damaged or cut short ({reason(error)})") from error


def _factors(image: Image.Image, target: tuple[int, int] | None) -> tuple[int, int]:
    """Return the whole factors by which a picture's width and height are reduced before it is resized."""
    if target and image.width * image.height > _LARGE:
        return max(1, image.width // (2 * max(target))), max(1, image.height // (2 * max(target)))
    return 1, 1


def _direct(image: Image.Image, factors: tuple[int, int]) -> bool:
    """Return whether an opened image needs no conversion."""
    return image.mode == "RGB" and factors == (1, 1) and "transparency" not in image.info


def _rows(image: Image.Image, factors: tuple[int, int]) -> int:
    """Return the height of a strip."""
    return max(1, _STRIP // (image.width * factors[1])) * factors[1]


def _converted(image: Image.Image, target: tuple[int, int] | None, turned: bool) -> int:
    """Estimate the bytes that `_rgb` and the resize take beside the decoded picture."""
    factors = _factors(image, target)
    width, height = (-(-side // factor) for side, factor in zip(image.size, factors, strict=True))
    canvas = strip = 0
    if not _direct(image, factors):
        canvas = 4 * width * height
        # Five copies of float64 for 16-bit grey; five layers of RGBA for other modes.
        strip = (40 if image.mode[0] in "IF" else 20) * image.width * min(_rows(image, factors), image.height)
    copy = 4 * width * height if turned else 0
    # Pillow resizes the width first: as many rows as before, of the new width.
    resized = 4 * target[0] * (max(width, height) + target[1]) if target else 9 * width * height
    # What strips took stays with the C library for the next ones.
    return strip + max(canvas + copy, (copy or canvas) + resized)


def _rgb(image: Image.Image, target: tuple[int, int] | None = None) -> Image.Image:
    """Return 8-bit RGB, upright, transparency over white; a large picture reduced to no less than twice the target."""
    factors = _factors(image, target)
    direct = _direct(image, factors)
    image.load()  # before there is a canvas: the decoder takes memory too
    if direct:
        return _upright(image, image)
    # Strip by strip, because each conversion copies: a whole picture of 64 million pixels would take over a gigabyte.
    canvas = Image.new("RGB", (-(-image.width // factors[0]), -(-image.height // factors[1])))
    rows = _rows(image, factors)
    for top in range(0, image.height, rows):
        strip = _flat(image.crop((0, top, image.width, min(top + rows, image.height))))
        canvas.paste(strip if factors == (1, 1) else strip.reduce(factors), (0, top // factors[1]))
    return _upright(canvas, image)


def _key_out(image: Image.Image, data: bytes) -> None:
    """Correct the transparent colour of a PNG where Pillow compares it with pixels of another depth.

    A pixel must match it before its depth changes (PNG specification, 11.3.1.1). Pillow scales 2 and 4 bits of grey to
    8, and of 16 bits of colour it returns the high ones: the low ones are decoded from the same data, read with the
    other byte order.
    """
    if steps := _STEPS.get(raw_mode(image)):
        if "transparency" in image.info:
            image.info["transparency"] = image.info["transparency"] * steps & 255
        return
    if not has_deep_key(image):
        return
    key = image.info.pop("transparency")
    opaque = Image.new("L", image.size)
    low: Any = open_image(data)
    with low:
        low.tile = [low.tile[0]._replace(args="RGB;16L")]
        for picture, values in ((image, [level >> 8 for level in key]), (low, [level & 255 for level in key])):
            for band, value in zip(picture.split(), values, strict=True):
                opaque = ImageChops.lighter(opaque, band.point([255 * (level != value) for level in range(256)]))
    image.putalpha(opaque)


def _flat(strip: Image.Image) -> Image.Image:
    """Return 8-bit RGB over white."""
    if strip.mode.startswith("I") or strip.mode == "F":
        strip = _eight_bits(strip)
    if strip.mode == "CMYK" and "adobe" not in strip.info:
        # Adobe stores ink inverted and marks its files; Pillow treats every CMYK JPEG as Adobe's.
        strip = ImageChops.invert(strip)
    if strip.mode in ("RGBA", "LA", "PA", "RGBa", "La") or "transparency" in strip.info:
        layer = strip.convert("RGBA")
        strip = Image.alpha_composite(Image.new("RGBA", layer.size, "white"), layer)
    return strip.convert("RGB")


def _upright(picture: Image.Image, source: Image.Image) -> Image.Image:
    """Return the picture transposed by the source's EXIF orientation."""
    turn = _TURNS.get(orientation(source))
    return picture if turn is None else picture.transpose(turn)


def _eight_bits(image: Image.Image) -> Image.Image:
    """Return 16-bit grey scaled to 8 bits by the full range, with the transparent level white.

    Pillow's own conversion clips everything over 255 to white; and with 8 bits the level could not be distinguished
    from its 256 neighbours.
    """
    values: Any = np.asarray(image, dtype=np.float64)
    grey = np.clip(np.round(values / 257), 0, 255).astype(np.uint8)
    grey[values == image.info.get("transparency")] = 255
    return Image.fromarray(grey)
