"""Detection of photos that the decoder has to convert because they are not upright 8-bit RGB.

Prepared files are byte-exact copies; nothing is converted on disk. `headstand.images.decode` converts at every reading,
in training and in serving (function `_flat`). This module only reports which conversions a photo needs.
"""

import struct

from PIL import Image

from headstand.images import orientation
from headstand.images.encoded import may_be_turned

CONVERSIONS = {
    "palette": "the colours are looked up in the file's table",
    "transparency": "it is laid over white",
    "CMYK": "printing inks are turned into light",
    "grey": "the one channel is taken for all three",
    "black and white": "the one bit is taken for all three channels",
    "16 bits": "the full range is scaled to 8 bits",
    "several frames": "the first one is taken",
    "EXIF turn": "it is turned upright",
}
"""Names of the conversions, each with a description of what the decoder does."""

_TRANSPARENT = ("RGBA", "LA", "PA", "RGBa", "La")


def conversions(image: Image.Image, data: bytes) -> tuple[str, ...]:
    """Returns the keys of `CONVERSIONS` that apply to an opened image, in their order; empty for upright 8-bit RGB.

    No pixels are decoded, except of a PNG that may have its orientation after them. Of an animation's second frame only
    the header is read.

    Args:
        image: the opened image.
        data: its encoded bytes.
    """
    deep_grey = image.mode in ("I", "F") or image.mode.startswith("I;16")
    needed = {
        "palette": image.mode in ("P", "PA"),
        "transparency": image.mode in _TRANSPARENT or "transparency" in image.info,
        "CMYK": image.mode == "CMYK",
        "grey": image.mode in ("L", "LA", "La") or deep_grey,
        "black and white": image.mode == "1",
        # Pillow's mode gives the depth of grayscale images only; the raw mode in `tile` also gives that of colour PNGs.
        "16 bits": deep_grey or any(";16" in str(tile[3]) for tile in getattr(image, "tile", [])),
        "several frames": _animated(image),
        "EXIF turn": may_be_turned(image, data) and orientation(image) != 1,
    }
    return tuple(name for name in CONVERSIONS if needed[name])


def _animated(image: Image.Image) -> bool:
    try:
        return bool(getattr(image, "is_animated", False))
    except (OSError, SyntaxError, ValueError, EOFError, IndexError, struct.error):
        return True  # there is a second frame, but it is damaged; only the first one is used
