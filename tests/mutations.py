"""Hypothesis strategies that corrupt valid images: bytes, slices, and splices of two images."""

import zlib

import numpy as np
from hypothesis import strategies as st
from PIL import Image

from tests import bombs


def _seeds() -> list[bytes]:
    picture = Image.fromarray(np.random.default_rng(0).integers(0, 255, (20, 24, 3)).astype(np.uint8))
    exif = Image.Exif()
    exif[0x0112], exif[0x011A], exif[0x0128] = 6, 72.0, 2
    kinds: list[tuple[str, dict[str, object]]] = [
        ("JPEG", {}), ("JPEG", {"progressive": True}), ("JPEG", {"exif": exif}), ("PNG", {}), ("PNG", {"exif": exif}),
        ("WEBP", {}), ("WEBP", {"lossless": True}), ("WEBP", {"exif": exif}), ("GIF", {}), ("BMP", {}),
    ]  # fmt: skip
    seeds = [bombs.encoded(picture, kind, **options) for kind, options in kinds]
    rotated = picture.rotate(90)
    for kind in ("MPO", "GIF", "WEBP", "PNG"):
        seeds.append(bombs.encoded(picture, kind, save_all=True, append_images=[rotated]))
    seeds.append(bombs.encoded(picture.convert("CMYK"), "JPEG"))
    seeds.extend(bombs.encoded(picture.convert("L").convert(mode), "PNG") for mode in ("1", "L", "P", "LA", "I;16"))
    xmp = bombs.chunk(b"iTXt", b'XML:com.adobe.xmp\0\0\0\0\0tiff:Orientation="6"')
    seeds.append(bombs.png(8, 8, interlace=1, before=xmp))
    seeds.append(bombs.png(8, 8, depth=16, before=bombs.chunk(b"tRNS", bytes(6))))
    seeds.append(bombs.bmp(8, 8, 8, 1, b"\4\1\4\2\0\0" * 8 + b"\0\1"))
    seeds.append(bombs.bmp(8, 8, 4, 2, b"\4\x12\4\x21\0\0" * 8 + b"\0\1"))
    return seeds


SEEDS = _seeds()

_BOUNDARY_VALUES = (
    b"\0",
    b"\xff",
    b"\x7f",
    b"\x80",
    b"\0\0\0\0",
    b"\xff\xff\xff\xff",
    b"\x7f\xff\xff\xff",
    b"\xff\xda",
    b"\xff\xd8",
)
"""Byte sequences that often break parsers: boundary values and markers."""


@st.composite
def mutations(draw: st.DrawFn) -> bytes:
    """Returns an image with one to eight corruptions; in half of the cases the CRCs of a PNG are recomputed."""
    data = bytearray(draw(st.sampled_from(SEEDS)))
    for _ in range(draw(st.integers(1, 8))):
        start = draw(st.integers(0, max(0, len(data) - 1)))
        end = start + draw(st.integers(1, 40))
        match draw(st.sampled_from(("set", "set", "boundary", "insert", "delete", "repeat", "splice", "cut"))):
            case "set":
                data[start : start + 1] = draw(st.binary(min_size=1, max_size=4))
            case "boundary":
                value = draw(st.sampled_from(_BOUNDARY_VALUES))
                data[start : start + len(value)] = value
            case "insert":
                data[start:start] = draw(st.binary(max_size=20))
            case "delete":
                del data[start:end]
            case "repeat":
                data[start:start] = data[start:end] * draw(st.integers(1, 200))
            case "splice":
                other = draw(st.sampled_from(SEEDS))
                at = draw(st.integers(0, len(other) - 1))
                data[start:end] = other[at : at + draw(st.integers(1, 200))]
            case "cut":
                del data[draw(st.integers(len(data) // 2, len(data))) :]
    return with_valid_checksums(bytes(data)) if draw(st.booleans()) else bytes(data)


def with_valid_checksums(data: bytes) -> bytes:
    """Recomputes the CRCs of PNG chunks, so that the parser does not stop at the first corrupted chunk."""
    if not data.startswith(b"\x89PNG\r\n\x1a\n"):
        return data
    result, at = data[:8], 8
    while at + 12 <= len(data) and at + 12 + (size := int.from_bytes(data[at : at + 4], "big")) <= len(data):
        part = data[at + 4 : at + 8 + size]
        result += data[at : at + 4] + part + zlib.crc32(part).to_bytes(4, "big")
        at += 12 + size
    return result + data[at:]
