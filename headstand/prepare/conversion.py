"""What the decoder has to convert: photos that are not plain, upright, 8-bit RGB, and how each is read.

Prepared files are byte-exact copies; nothing is converted on disk. `headstand.images.decode` converts at every reading,
in training as in serving, so this is a report of what it does and why, and `_flat` there is what does it.
"""

import struct

from PIL import Image

from headstand.images import orientation

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
"""What a photo can have that plain RGB has not, and how it is read."""

_TRANSPARENT = ("RGBA", "LA", "PA", "RGBa", "La")


def conversions(image: Image.Image) -> tuple[str, ...]:
    """Which of `CONVERSIONS` an opened image needs, in their order; none for plain RGB.

    Nothing is decoded but the head of an animation's second frame.
    """
    depth = _depth(image)
    needed = {
        "palette": image.mode in ("P", "PA"),
        "transparency": image.mode in _TRANSPARENT or "transparency" in image.info,
        "CMYK": image.mode == "CMYK",
        "grey": image.mode in ("L", "LA", "La", "I", "F") or image.mode.startswith("I;16"),
        "black and white": image.mode == "1",
        "16 bits": depth == 16,
        "several frames": _animated(image),
        "EXIF turn": orientation(image) != 1,
    }
    return tuple(name for name in CONVERSIONS if needed[name])


def _depth(image: Image.Image) -> int:
    """Bits a channel as stored: Pillow's mode says it for grey only, its raw mode for PNG's colours too."""
    if image.mode in ("I", "F") or image.mode.startswith("I;16"):
        return 16
    return 16 if any(";16" in str(tile[3]) for tile in getattr(image, "tile", [])) else 8


def _animated(image: Image.Image) -> bool:
    try:
        return bool(getattr(image, "is_animated", False))
    except (OSError, SyntaxError, ValueError, EOFError, IndexError, struct.error):
        return True  # there is a second frame, and it is damaged; nobody reads it
