"""Decodes one image in a process of its own, started by `headstand.images.isolated`.

The script needs only Pillow and its plugins, and starts in a tenth of a second. The protocol on standard input and
output is one line of JSON, with bytes after some of them:

1. input: `{"path": folders of packages, "format": ..., "length": ..., "memory": ..., "seconds": ...}`, then the file
2. output: `{"mode": ..., "size": [width, height] of the upright image, "animated": ..., "cost": ...}`, the last a key
   of `isolated.PER_PIXEL`
3. input: `{"factors": [horizontal, vertical], "memory": ...}`
4. output: `{"mode": ..., "length": ...}`, then the upright pixels, reduced by the factors

In place of each output there may be `{"error": [code, message]}`.
"""

import contextlib
import json
import os
import sys
from io import BytesIO
from typing import Any

_RAW_MODES = ("L", "LA", "RGB", "RGBA", "I;16", "I;16B")
"""Modes of the pixels that are returned; others are converted."""

_MODES = ("1", "P", "PA", "RGBa", "La", "CMYK", "YCbCr", *_RAW_MODES)

_COMPRESSIONS = {1: "none", 5: "LZW", 7: "JPEG", 8: "deflate", 32773: "PackBits", 32946: "deflate"}
"""Compressions of TIFF that photo editors write (tag 259); libtiff has others, for faxes, clouds and microscopes."""

_SHALLOW = ((8, 420), (8, 400))
"""Bit depth and chroma subsampling of the HEIC files that phones write, and of grey ones."""


class RefusedError(Exception):
    """A code and a message for the client."""


def main() -> None:
    """Runs the protocol for one image."""
    source = sys.stdin.buffer
    request = json.loads(source.readline())
    sys.path[:] = request["path"]
    data = source.read(request["length"])
    try:
        kind = request["format"]
        image = _plugin(kind)
        base = _virtual_memory()
        _limit(base + request["memory"], request["seconds"])
        opened = image(BytesIO(data))
        _check(opened, kind)
        size, animated = opened.size, kind != "TIFF" and bool(getattr(opened, "is_animated", False))
        if _orientation(opened, kind) > 4:
            size = size[::-1]
        deep = kind == "HEIC" and (opened.info["bit_depth"], opened.info["chroma"]) not in _SHALLOW
        cost = f"{kind}, deep" if deep else kind
        _answer({"mode": opened.mode, "size": size, "animated": animated, "cost": cost})
        line = source.readline()
        if not line:
            return
        request = json.loads(line)
        _limit(base + request["memory"])
        pixels = _pixels(opened, kind, request["factors"])
        if pixels.size != tuple(-(-side // factor) for side, factor in zip(size, request["factors"], strict=True)):
            raise RefusedError("corrupt_image", "the size of the image's pixels is not that of its header")
        raw = pixels.tobytes()
        _answer({"mode": pixels.mode, "length": len(raw)})
        sys.stdout.buffer.write(raw)
        sys.stdout.buffer.flush()
    except RefusedError as error:
        _answer({"error": error.args})
    except MemoryError:
        _answer({"error": ("too_large", "the image takes more memory to decode than is allowed")})
    except Exception as error:  # decoders raise many types
        reason = str(error).splitlines()[0][:120] if str(error) else type(error).__name__
        _answer({"error": ("corrupt_image", f"the image is damaged or cut short ({reason})")})


def _orientation(image: Any, kind: str) -> int:
    """Returns the orientation that has to be applied to an opened image: 1, or that of an AVIF file's `irot`, `imir`.

    Pillow turns TIFF upright itself, and libheif HEIC.
    """
    return int(image.getexif().get(0x0112, 1)) if kind == "AVIF" else 1


def _plugin(kind: str) -> Any:
    """Returns the function that opens a file of the format, with one thread, which decodes only the main image."""
    from PIL import Image

    Image.MAX_IMAGE_PIXELS = None  # the other process checks the size
    if kind == "AVIF":
        from PIL import AvifImagePlugin

        AvifImagePlugin.DEFAULT_MAX_THREADS = 1
        return AvifImagePlugin.AvifImageFile
    if kind == "HEIC":
        from pi_heif import HeifImageFile, options

        options.DECODE_THREADS = 1
        options.THUMBNAILS = options.DEPTH_IMAGES = options.AUX_IMAGES = False
        return HeifImageFile
    from PIL import TiffImagePlugin

    return TiffImagePlugin.TiffImageFile


def _check(image: Any, kind: str) -> None:
    """Raises RefusedError for a TIFF file with other contents than a picture as photo editors write it."""
    if kind != "TIFF":
        return
    tags = image.tag_v2
    # A camera's raw file is a TIFF file whose first image is a preview (tag 254, bit 0), or has DNG's version.
    if 50706 in tags or int(tags.get(254, 0)) & 1:
        raise RefusedError("not_an_image", "it is a camera's raw file: convert it to JPEG or PNG")
    if (compression := tags.get(259, 1)) not in _COMPRESSIONS:
        allowed = ", ".join(dict.fromkeys(_COMPRESSIONS.values()))
        raise RefusedError("not_an_image", f"the TIFF has compression {compression}; supported are {allowed}")
    if image.mode not in _MODES or (image.mode.startswith("I;16") and tags.get(262) == 0):
        raise RefusedError(
            "not_an_image",
            f"the TIFF has pixels of mode {image.mode}; supported are grey of 1, 8 and 16 bits, RGB, CMYK and palettes",
        )


def _pixels(image: Any, kind: str, factors: tuple[int, int]) -> Any:
    """Returns the decoded image, upright, in one of `_RAW_MODES`, reduced by the factors."""
    turned = _orientation(image, kind) > 4
    image.load()
    if image.mode not in _RAW_MODES:
        transparent = image.mode in ("PA", "RGBa", "La") or "transparency" in image.info
        grey = image.mode == "1"
        image = image.convert("RGBA" if transparent else "L" if grey else "RGB")
    if tuple(factors) != (1, 1):
        image = image.reduce(tuple(factors[::-1] if turned else factors))
    if kind != "AVIF":
        return image
    from PIL import ImageOps

    return ImageOps.exif_transpose(image)


def _virtual_memory() -> int:
    """Returns the size of this process's address space in bytes; 0 where it cannot be read."""
    with contextlib.suppress(OSError), open("/proc/self/statm") as file:  # noqa: PTH123 - pathlib takes 10 ms to import
        return int(file.read().split()[0]) * os.sysconf("SC_PAGE_SIZE")
    return 0


def _limit(memory: int, seconds: int = 0) -> None:
    """Limits the address space and the processor time of this process, as far as the system can."""
    try:
        import resource
    except ImportError:  # Windows
        return
    limits = [(resource.RLIMIT_AS, memory)]
    if seconds:
        limits += [(resource.RLIMIT_CPU, seconds), (resource.RLIMIT_FSIZE, 0), (resource.RLIMIT_CORE, 0)]
    for limit, value in limits:
        with contextlib.suppress(ValueError, OSError):
            resource.setrlimit(limit, (value, resource.getrlimit(limit)[1]))


def _answer(value: Any) -> None:
    sys.stdout.buffer.write(json.dumps(value).encode() + b"\n")
    sys.stdout.buffer.flush()


if __name__ == "__main__":
    main()
