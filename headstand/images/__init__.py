"""Image decoder: encoded bytes to RGB pixels, the same for training, export and both services.

They all use `decode`, so that a photo gives the same array everywhere. A change of its results must raise `DECODER`,
which is part of every feature-cache key; a further format does not change results.
"""

import contextlib
import threading
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from keras_image_helper.base import BasePreprocessor
from PIL import Image, ImageChops

from headstand.errors import ImageError
from headstand.images.encoded import (
    EXTENSIONS,
    FORMATS,
    MAX_BYTES,
    MAX_PIXELS,
    MAX_SIDE,
    check_memory,
    damage_reported,
    dimensions,
    has_deep_key,
    load,
    may_be_turned,
    memory,
    open_image,
    orientation,
    raw_mode,
    read,
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
    "load",
    "open_image",
    "orientation",
    "pixels",
    "read",
]

DECODER = "1"
"""Version of the decoder; a new value invalidates all cached features."""

_LARGE = 16_000_000
"""Number of pixels above which an image is reduced by integer factors, in strips, before it is resized."""

_ORDINARY = 160_000_000
"""Estimated bytes above which an image is decoded alone; smaller images are decoded in parallel by all threads."""

_STEPS = {"L;2": 85, "L;4": 17}
"""Factors that scale a PNG's grey levels of 2 and 4 bits to 8 bits, by Pillow's raw mode."""

_ONE_AT_A_TIME = threading.Lock()
"""Lock for decoding an image of more than `_ORDINARY` bytes: threads must not decode several of them at once."""

_STRIP = 1_000_000
"""Number of pixels in a strip, the part of an image that is converted at a time."""

_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""Transposition that makes an image upright, by EXIF orientation (Exif 2.3, tag 0x0112)."""

# Pillow stores images in blocks of 16 MB, which the C library keeps for the thread after they are freed: after one
# large image in each, a service's four threads would hold a gigabyte. Blocks over 32 MB are always returned.
Image.core.set_block_size(64 * 2**20)


class Preprocessor(BasePreprocessor):
    """keras-image-helper preprocessor with bilinear, antialiased resizing in place of nearest-neighbour resizing.

    `convert_to_tensor(img)` returns `float32 [1, height, width, 3]` in 0..255: scaling is part of the model.
    """

    def __init__(self, size: tuple[int, int]) -> None:
        super().__init__(target_size=size)

    def resize_image(self, img: Image.Image) -> Image.Image:
        """Returns an upright RGB image at the target size, resized with Pillow's antialiasing bilinear filter."""
        return _rgb(img, self.target_size).resize(self.target_size, Image.Resampling.BILINEAR)

    def preprocess(self, X: np.ndarray) -> np.ndarray:  # noqa: N803 - the base class names it so
        """Returns the pixels unchanged, because scaling is part of the model."""
        return X


@lru_cache(maxsize=8)
def _preprocessor(size: tuple[int, int]) -> Preprocessor:
    return Preprocessor(size)


def decode(
    source: bytes | str | Path,
    size: int | tuple[int, int] | None = None,
    large: bool = False,
    draft: tuple[int, int] | None = None,
) -> np.ndarray:
    """Decodes an image to RGB pixels.

    Args:
        source: the encoded image, or the path of a file that contains it.
        size: side of the square to resize to, or `(width, height)`, in pixels. The aspect ratio is not kept: the image
            is squashed, never cropped, so that no part of it is lost. None keeps the size and does not limit the
            memory; use it only for trusted files.
        large: apply the larger limits for a user's own files; see `open_image`.
        draft: minimum width and height, as stored, to which a JPEG, AVIF, HEIC or TIFF file may be reduced while it
            is decoded; by default twice the longer side of `size`. A smaller draft is faster and has slightly other
            values.

    Returns:
        `uint8 [height, width, 3]`, RGB: upright by EXIF, transparency over white, 16 bits scaled to 8, the first
        frame of an animation.

    Raises:
        ImageError: the data is not an image of a known format, exceeds the limits, or is damaged.
    """
    data = source if isinstance(source, bytes) else read(Path(source), large)
    with damage_reported(), open_image(data, large) as image:
        return pixels(image, data, (size, size) if isinstance(size, int) else size, large, draft)


def pixels(
    image: Image.Image, data: bytes, size: tuple[int, int] | None, large: bool, draft: tuple[int, int] | None
) -> np.ndarray:
    """Decodes an image that is open already; the arguments and the result are as in `decode`.

    Errors of the decoder are those of Pillow: see `encoded.damage_reported`.
    """
    if size:
        # libjpeg decodes at 1/2, 1/4 or 1/8 at little cost, and less has to be transferred from the process of an
        # isolated decoder; twice the target size is enough for antialiasing.
        image.draft(None, draft or (2 * max(size), 2 * max(size)))
    held, temporary = memory(image, data)
    needed = held + max(temporary, _converted(image, size, may_be_turned(image, data)))
    if size:
        check_memory(needed, large)
    with _ONE_AT_A_TIME if needed > _ORDINARY else contextlib.nullcontext():
        _key_out(image, data, large)
        upright = _preprocessor(size).resize_image(image) if size else _rgb(image)
        return np.array(upright, dtype=np.uint8)


def _factors(image: Image.Image, target: tuple[int, int] | None) -> tuple[int, int]:
    """Returns the integer factors by which an image's width and height are reduced before it is resized."""
    if target and image.width * image.height > _LARGE:
        return max(1, image.width // (2 * max(target))), max(1, image.height // (2 * max(target)))
    return 1, 1


def _direct(image: Image.Image, factors: tuple[int, int]) -> bool:
    """Returns whether an opened image needs no conversion to RGB and no reduction."""
    return image.mode == "RGB" and factors == (1, 1) and "transparency" not in image.info


def _rows(image: Image.Image, factors: tuple[int, int]) -> int:
    """Returns the number of rows in a strip, a multiple of the vertical reduction factor."""
    return max(1, _STRIP // (image.width * factors[1])) * factors[1]


def _converted(image: Image.Image, target: tuple[int, int] | None, turned: bool) -> int:
    """Returns an estimate of the bytes that `_rgb` and the resize take in addition to the decoded image."""
    factors = _factors(image, target)
    width, height = (-(-side // factor) for side, factor in zip(image.size, factors, strict=True))
    canvas = strip = 0
    if not _direct(image, factors):
        canvas = 4 * width * height
        # Five copies of float64 for 16-bit grey; five layers of RGBA for other modes.
        strip = (40 if image.mode[0] in "IF" else 20) * image.width * min(_rows(image, factors), image.height)
    copy = 4 * width * height if turned else 0
    # Pillow resizes the width first, so the intermediate image has the old number of rows and the new width.
    resized = 4 * target[0] * (max(width, height) + target[1]) if target else 9 * width * height
    # The C library keeps the memory of the strips, so it counts until the end.
    return strip + max(canvas + copy, (copy or canvas) + resized)


def _rgb(image: Image.Image, target: tuple[int, int] | None = None) -> Image.Image:
    """Returns an upright 8-bit RGB image with transparency over white.

    A large image is reduced by integer factors, to at least twice the target size.
    """
    factors = _factors(image, target)
    direct = _direct(image, factors)
    image.load()  # before the canvas is allocated, because the decoder takes memory too
    if direct:
        return _upright(image, image)
    # In strips, because each conversion copies: converting 64 million pixels at once would take over a gigabyte.
    canvas = Image.new("RGB", (-(-image.width // factors[0]), -(-image.height // factors[1])))
    rows = _rows(image, factors)
    for top in range(0, image.height, rows):
        strip = _flat(image.crop((0, top, image.width, min(top + rows, image.height))))
        canvas.paste(strip if factors == (1, 1) else strip.reduce(factors), (0, top // factors[1]))
    return _upright(canvas, image)


def _key_out(image: Image.Image, data: bytes, large: bool) -> None:
    """Corrects the transparent colour of a PNG if Pillow compares it with pixels of another bit depth.

    The colour must be compared at the original depth (PNG specification, 11.3.1.1). Pillow scales grey levels of 2 and
    4 bits to 8, and returns only the high byte of 16-bit colours. The low byte is decoded from the same data with the
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
    low: Any = open_image(data, large)
    with low:
        low.tile = [low.tile[0]._replace(args="RGB;16L")]
        for picture, values in ((image, [level >> 8 for level in key]), (low, [level & 255 for level in key])):
            for band, value in zip(picture.split(), values, strict=True):
                opaque = ImageChops.lighter(opaque, band.point([255 * (level != value) for level in range(256)]))
    image.putalpha(opaque)


def _flat(strip: Image.Image) -> Image.Image:
    """Returns a strip as 8-bit RGB, with transparency over white."""
    if strip.mode.startswith("I") or strip.mode == "F":
        strip = _eight_bits(strip)
    if strip.mode == "CMYK" and "adobe" not in strip.info:
        # Adobe stores inverted CMYK values and marks its files; Pillow inverts every CMYK JPEG as if it were Adobe's.
        strip = ImageChops.invert(strip)
    if strip.mode in ("RGBA", "LA", "PA", "RGBa", "La") or "transparency" in strip.info:
        layer = strip.convert("RGBA")
        strip = Image.alpha_composite(Image.new("RGBA", layer.size, "white"), layer)
    return strip.convert("RGB")


def _upright(picture: Image.Image, source: Image.Image) -> Image.Image:
    """Returns the image transposed by the source's EXIF orientation."""
    turn = _TURNS.get(orientation(source))
    return picture if turn is None else picture.transpose(turn)


def _eight_bits(image: Image.Image) -> Image.Image:
    """Returns a 16-bit grey image scaled to 8 bits over the full range, with the transparent level white.

    Pillow's own conversion clips every value over 255 to white. The transparent level is replaced before the
    conversion, because with 8 bits it cannot be distinguished from its 256 neighbours.
    """
    values: Any = np.asarray(image, dtype=np.float64)
    grey = np.clip(np.round(values / 257), 0, 255).astype(np.uint8)
    grey[values == image.info.get("transparency")] = 255
    return Image.fromarray(grey)
