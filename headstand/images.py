"""From encoded bytes to pixels: the only decoder in the house.

Training, export and both services decode through `decode`, so a photo gives the same array everywhere. Any change
of what it returns must raise `DECODER`, which is part of every feature-cache key.
"""

import contextlib
import threading
import warnings
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
    cost,
    dimensions,
    has_deep_key,
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
"""Pixels above which a picture is shrunk by whole factors, a strip at a time, before it is resized."""

_STEPS = {"L;2": 85, "L;4": 17}
"""What a PNG's levels of 2 and 4 bits are multiplied by to make 8."""

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

# Pillow's pictures live in blocks of 16 MB, which the C library keeps for the thread when they are freed: after one
# costly picture in each, a service's four threads would hold a gigabyte. Blocks over 32 MB always go back.
Image.core.set_block_size(64 * 2**20)


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
            with open_image(data) as image:
                pixels = image.width * image.height
                if target:
                    # A JPEG decodes at 1/2, 1/4 or 1/8 for next to nothing; twice the target leaves room to antialias.
                    image.draft(None, (2 * max(target), 2 * max(target)))
                if "progressive" not in image.info:
                    pixels = image.width * image.height  # of what is really made
                with _alone(pixels * cost(image)):
                    _key_out(image, data)
                    upright = _preprocessor(target).resize_image(image) if target else _rgb(image)
                    return np.array(upright, dtype=np.uint8)
        except ImageError:
            raise
        except MemoryError:
            raise ImageError("too_large", "the image takes more memory to decode than there is") from None
        except Exception as error:  # Pillow's codecs raise OSError, SyntaxError, struct.error and more on damage
            raise ImageError("corrupt_image", f"the image is damaged or cut short ({reason(error)})") from error


def _alone(pixels: int) -> contextlib.AbstractContextManager[object]:
    """What to hold while so many pixels are made; nothing for those of ordinary pictures."""
    return _ONE_AT_A_TIME if pixels > _LARGE else contextlib.nullcontext()


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


def _key_out(image: Image.Image, data: bytes) -> None:
    """Set the transparent colour of a PNG right where Pillow compares it with pixels of another depth.

    A pixel must match it before its bits become more or fewer (PNG specification, 11.3.1.1). Pillow spreads 2 and 4
    bits of grey over 8, and of 16 bits of colour it gives the high ones: the low ones come from the same data, read as
    if the bytes' order were the other one.
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
