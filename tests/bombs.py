"""Decompression bombs: small or valid images that take much memory or time to decode, as an attacker would send.

`python -m tests.bombs NAME ...` decodes them one after another and prints a JSON line for each: the outcome, CPU
seconds, growth of the process in megabytes, and for images of `GRID` the estimate of `headstand.images.encoded.memory`.
"""

import ctypes
import gc
import io
import json
import struct
import sys
import time
import zlib
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache, partial
from pathlib import Path
from typing import Any

from PIL import Image

from headstand import images
from headstand.images import MAX_BYTES, ImageError, decode
from headstand.images import encoded as opened

SIDE = 8000
"""Side in pixels; 8,000 squared is the maximum number of pixels of an image."""


def encoded(picture: Image.Image, kind: str, **options: Any) -> bytes:
    stream = io.BytesIO()
    picture.save(stream, kind, **options)
    return stream.getvalue()


def plain(mode: str, kind: str, width: int = SIDE, height: int = SIDE, **options: Any) -> bytes:
    """Returns an encoded image of a single colour."""
    return encoded(Image.new(mode, (width, height)), kind, **options)


SMALL_JPEG = plain("RGB", "JPEG", 16, 16)
SMALL_GIF = plain("P", "GIF", 8, 8)
SMALL_WEBP = plain("RGBA", "WEBP", 16, 16, lossless=True)


def times(part: bytes, size: int = MAX_BYTES - 4096) -> bytes:
    """Returns as many copies of `part` as fit into `size` bytes."""
    return part * (size // len(part))


@cache
def zeros(count: int) -> bytes:
    """Returns `count` zero bytes, compressed with zlib."""
    packer = zlib.compressobj(9)
    return b"".join(packer.compress(bytes(min(2**20, count - at))) for at in range(0, count, 2**20)) + packer.flush()


def jpeg(*segments: bytes) -> bytes:
    """Returns a small JPEG with additional segments after its first marker."""
    return SMALL_JPEG[:2] + b"".join(segments) + SMALL_JPEG[2:]


def segment(marker: int, body: bytes) -> bytes:
    """Returns a JPEG marker segment (ITU T.81, B.1.1.4)."""
    return bytes([0xFF, marker]) + struct.pack(">H", len(body) + 2) + body


def chunk(kind: bytes, data: bytes = b"") -> bytes:
    """Returns a PNG chunk (PNG specification, 5.3)."""
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(
    width: int = 1,
    height: int = 1,
    *,
    depth: int = 8,
    color: int = 2,
    interlace: int = 0,
    before: bytes = b"",
    pixels: bytes | None = None,
) -> bytes:
    """Returns a PNG of zeros (PNG specification, 11.2.2); `before` precedes the pixel chunk, `pixels` replaces it."""
    header = struct.pack(">IIBBBBB", width, height, depth, color, 0, 0, interlace)
    if pixels is None:
        bits = depth * {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}[color]
        pixels = chunk(b"IDAT", zeros((2 if interlace else 1) * height * (1 + (width * bits + 7) // 8)))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + before + pixels + chunk(b"IEND")


def exif(*entries: tuple[int, int, int, int], size: int = 0) -> bytes:
    """Returns a TIFF directory of (tag, type, count, value or offset), then `size` bytes (TIFF 6.0, section 2)."""
    table = b"".join(struct.pack(">HHLL", *entry) for entry in entries)
    return b"MM\0*\0\0\0\x08" + struct.pack(">H", len(entries)) + table + bytes(4) + b"\1\2" * (size // 2)


def overlapping(count: int, size: int) -> bytes:
    """Returns an EXIF directory of `count` tags that all refer to the same bytes, almost the whole file."""
    return exif(*((1000 + number, 7, size - 8, 8) for number in range(count)), size=size)


def gif(extra: bytes) -> bytes:
    """Returns a small GIF with additional data before its image."""
    start = 13 + (3 << (SMALL_GIF[10] & 7) + 1 if SMALL_GIF[10] & 128 else 0)
    return SMALL_GIF[:start] + extra + SMALL_GIF[start:]


def disposed(width: int, height: int) -> bytes:
    """Returns a GIF with disposal to background (GIF89a, 23), for which Pillow allocates another image."""
    data = plain("P", "GIF", width, height)
    start = 13 + (3 << (data[10] & 7) + 1 if data[10] & 128 else 0)
    return data[:start] + b"!\xf9\4\x09\0\0\0\0" + data[start:]


def riff(*parts: bytes) -> bytes:
    body = b"WEBP" + b"".join(parts)
    return b"RIFF" + struct.pack("<I", len(body)) + body


def part(kind: bytes, data: bytes) -> bytes:
    return kind + struct.pack("<I", len(data)) + data + bytes(len(data) % 2)


def canvas(width: int, height: int, flags: int = 0x10) -> bytes:
    """Returns the header chunk of an extended WebP file (WebP container specification, extended file format)."""
    sides = struct.pack("<I", width - 1)[:3] + struct.pack("<I", height - 1)[:3]
    return part(b"VP8X", bytes([flags, 0, 0, 0]) + sides)


def animation(frames: int, width: int = 1, height: int = 1) -> bytes:
    """Returns an animated WebP whose frames have one pixel each."""
    frame = part(b"ANMF", bytes(15) + b"\0" + plain("RGBA", "WEBP", 1, 1, lossless=True)[12:])
    return riff(canvas(width, height, 0x12), part(b"ANIM", bytes(6)), frame * frames)


def bmp(width: int, height: int, bits: int, packing: int, data: bytes) -> bytes:
    header = struct.pack("<IiiHHIIiiII", 40, width, height, 1, bits, packing, len(data), 0, 0, 2**bits, 0)
    start = 14 + len(header) + 4 * 2**bits
    return b"BM" + struct.pack("<IHHI", start + len(data), 0, 0, start) + header + bytes(4 * 2**bits) + data


def scans(count: int, side: int = SIDE) -> bytes:
    """Returns a progressive JPEG with `count` scans, its last scan repeated."""
    data = plain("RGB", "JPEG", side, side, progressive=True)
    scan = data[data.rindex(b"\xff\xda") : -2]
    return data[:-2] + scan * (count - data.count(b"\xff\xda")) + data[-2:]


FULL = ((1, 1),) * 4
"""Sampling factors of four components without subsampling."""

SEPARATE = ((0,), (1,), (2,), (3,))
"""Scans with one component each."""


def blocks(
    width: int,
    height: int,
    sampling: Sequence[tuple[int, int]] = FULL[:3],
    scans: Sequence[tuple[int, ...]] | None = None,
    frame: int = 0xC0,
    end: bytes = b"\xff\xd9",
) -> bytes:
    """Returns a JPEG of a single colour with any components and scans, in which each block takes two bits.

    Args:
        width, height: size in pixels.
        sampling: horizontal and vertical sampling factor of each component.
        scans: component indices of each scan; by default one scan of all.
        frame: code of the start-of-frame marker: C0 baseline, C2 progressive, C9 and CA the same, arithmetic coding.
        end: data after the last scan.
    """
    count = len(sampling)
    wide, high = map(max, zip(*sampling, strict=True))
    parts = [segment(0xDB, b"\0" + b"\1" * 64)]
    components = [bytes([at + 1, across * 16 + down, 0]) for at, (across, down) in enumerate(sampling)]
    parts.append(segment(frame, struct.pack(">BHHB", 8, height, width, count) + b"".join(components)))
    parts += [segment(0xC4, bytes([table, 1]) + bytes(16)) for table in (0x00, 0x10)]
    band = b"\0\0\0" if frame in (0xC2, 0xCA) else b"\0\x3f\0"
    units = -(-width // (8 * wide)) * -(-height // (8 * high))
    for scan in scans or [tuple(range(count))]:
        parts.append(segment(0xDA, bytes([len(scan)]) + b"".join(bytes([at + 1, 0]) for at in scan) + band))
        parts.append(bytes(units * sum(sampling[at][0] * sampling[at][1] for at in scan) // 4 + 1))
    return b"\xff\xd8" + b"".join(parts) + end


def stretched(width: int, height: int) -> bytes:
    """Returns a progressive CMYK JPEG of 16 x 16 whose header declares another size (ITU T.81, B.2.2)."""
    data = bytearray(plain("CMYK", "JPEG", 16, 16, progressive=True))
    frame = data.index(b"\xff\xc2")
    data[frame + 5 : frame + 9] = struct.pack(">HH", height, width)
    return bytes(data)


def trailing(data: bytes) -> bytes:
    return data + b"PK\3\4<script>alert(1)</script><?php ?>" * 1000


MEGABYTE = zlib.compress(bytes(10**6), 9)
"""One million zero bytes, compressed to one kilobyte."""

WIDE_TEXT = zlib.compress(b"a" * (2**20 - 4) + "\U0001f600".encode(), 9)
WIDE_TEXTS = b"".join(chunk(b"iTXt", b"%d\0\1\0\0\0" % at + WIDE_TEXT) for at in range(40))
"""PNG text chunks whose single non-BMP character makes Python store four bytes for each of a million others."""

CHEAP: dict[str, tuple[str, Callable[[], bytes]]] = {
    "jpeg of many EXIF segments": ("too_large", lambda: jpeg(times(segment(0xE1, b"Exif\0\0MM\0*\0\0\0\x08")))),
    "jpeg with junk before a marker": ("not_an_image", lambda: jpeg(bytes(MAX_BYTES - 4096))),
    "jpeg whose tags overlap": ("decoded", lambda: jpeg(segment(0xE1, b"Exif\0\0" + overlapping(3000, 28_000)))),
    "jpeg whose picture index overlaps": ("decoded", lambda: jpeg(segment(0xE2, b"MPF\0" + overlapping(3000, 28_000)))),
    "jpeg that is also something else": ("decoded", lambda: trailing(SMALL_JPEG)),
    "jpeg, progressive, cmyk, large": ("too_large", lambda: stretched(7200, 7200)),
    "jpeg, cmyk, a scan per component": ("too_large", lambda: blocks(65_496, 895, FULL, SEPARATE)),
    "jpeg, rgb, a scan per component": ("too_large", lambda: blocks(65_496, 895, FULL[:3], SEPARATE[:3])),
    "jpeg, cmyk, a scan for two": ("too_large", lambda: blocks(65_496, 895, FULL, [(0, 1), (2, 3)])),
    "jpeg, cmyk, arithmetic": ("too_large", lambda: blocks(65_496, 895, FULL, SEPARATE, 0xC9)),
    "jpeg of 10,001 segments": ("too_large", lambda: jpeg(segment(0xEF, b"") * 10_001)),
    "png of texts of four bytes a character": (
        "too_large",
        lambda: png(SIDE, SIDE, color=6, before=WIDE_TEXTS, pixels=chunk(b"IDAT")),
    ),
    "png of such texts behind its pixels": (
        "too_large",
        lambda: png(SIDE, SIDE, color=6, pixels=chunk(b"IDAT") + WIDE_TEXTS),
    ),
    "png that is also something else": ("decoded", lambda: trailing(png())),
    "png whose tags overlap": ("too_large", lambda: png(before=chunk(b"eXIf", overlapping(20_000, 18_000_000)))),
    "png of an orientation of many numbers": (
        "too_large",
        lambda: png(before=chunk(b"eXIf", exif((0x112, 3, 9_000_000, 8), size=18_000_000))),
    ),
    "png of many profiles": ("too_large", lambda: png(before=times(chunk(b"iCCP", b"a\0\0" + MEGABYTE)))),
    "png of many nameless texts": ("too_large", lambda: png(before=times(chunk(b"zTXt", b"\0\0" + MEGABYTE)))),
    "png of texts within the limits": (
        "decoded",
        lambda: png(before=b"".join(chunk(b"iTXt", b"%d\0\1\0\0\0" % number + MEGABYTE) for number in range(60))),
    ),
    "png of texts beyond Pillow's limit": (
        "corrupt_image",
        lambda: png(before=b"".join(chunk(b"zTXt", b"%d\0\0" % number + MEGABYTE) for number in range(80))),
    ),
    "png of one huge profile": ("corrupt_image", lambda: png(before=chunk(b"iCCP", b"a\0\0" + zeros(100_000_000)))),
    "png of more pixels than it has": ("decoded", lambda: png(pixels=chunk(b"IDAT", zeros(100_000_000)))),
    "png in one row": ("too_large", lambda: png(64_000_000, 1, pixels=chunk(b"IDAT"))),
    "png in one column": ("too_large", lambda: png(1, 64_000_000, pixels=chunk(b"IDAT"))),
    "png without an area": ("not_an_image", lambda: png(0, 10)),
    "png of 16-bit colours with a key, large": (
        "too_large",
        lambda: png(5000, 5000, depth=16, before=chunk(b"tRNS", bytes(6)), pixels=chunk(b"IDAT", b"")),
    ),
    "webp of a large canvas": ("too_large", lambda: animation(1, 5000, 4000)),
    "webp of a canvas beyond all limits": ("too_large", lambda: animation(1, 2**24, 255)),
    "webp of many frames": ("decoded", lambda: animation(300_000)),
    "webp of many chunks": ("decoded", lambda: riff(canvas(16, 16), part(b"junk", b"") * 2_000_000, SMALL_WEBP[12:])),
    "gif of a long comment": ("decoded", lambda: gif(b"!\xfe" + times(b"\xff" + b"a" * 255) + b"\0")),
    "gif of a large canvas": ("decoded", lambda: SMALL_GIF[:6] + struct.pack("<HH", SIDE, SIDE) + SMALL_GIF[10:]),
    "gif of a huge canvas": ("too_large", lambda: SMALL_GIF[:6] + struct.pack("<HH", 65_535, 9000) + SMALL_GIF[10:]),
    "bmp, run-length, large": ("too_large", lambda: bmp(SIDE, SIDE, 8, 1, b"\1\0\0\0" * SIDE)),
    "bmp of a huge header": ("corrupt_image", lambda: b"BM" + struct.pack("<IHHII", 100, 0, 0, 54, 2**31) + bytes(99)),
}
"""Images that are decoded or rejected quickly: name to the outcome of `decode`, and a function that builds them."""

COSTLY: dict[str, tuple[str, Callable[[], bytes]]] = {
    "jpeg of empty segments": ("too_large", lambda: jpeg(times(segment(0xEF, b"")))),
    "jpeg of fill bytes": ("too_large", lambda: jpeg(times(b"\xff"))),
    "jpeg of restart markers": ("too_large", lambda: jpeg(times(b"\xff\xd0"))),
    "jpeg of many profiles": ("too_large", lambda: jpeg(times(segment(0xE2, b"ICC_PROFILE\0\1\1")))),
    "jpeg of many Photoshop resources": (
        "decoded",
        lambda: jpeg(segment(0xED, b"Photoshop 3.0\0" + b"8BIM\4\4" + bytes(6) + b"8BIM\4\4\0\0\0\0\0\0" * 5400) * 310),
    ),
    "jpeg, baseline, large": ("decoded", lambda: plain("RGB", "JPEG")),
    "jpeg, baseline, flat": ("decoded", lambda: plain("CMYK", "JPEG", 65_500, 440)),
    "jpeg, progressive, large": ("decoded", lambda: plain("RGB", "JPEG", progressive=True, subsampling=0)),
    "jpeg, progressive, cmyk": ("decoded", lambda: plain("CMYK", "JPEG", 5600, 5600, progressive=True)),
    "jpeg of many scans": ("too_large", lambda: scans(30)),
    "jpeg of the most scans": ("decoded", lambda: scans(25)),
    "jpeg of the most scans, small": ("decoded", lambda: scans(100, 4000)),
    "png of empty chunks": ("too_large", lambda: png(before=times(chunk(b"abCd")))),
    "png of empty pixels": ("too_large", lambda: png(pixels=times(chunk(b"IDAT")))),
    "png of empty pixels behind its own": ("too_large", lambda: png(pixels=png()[33:-12] + times(chunk(b"IDAT")))),
    "png, large": ("decoded", lambda: png(SIDE, SIDE, color=6)),
    "png, interlaced, large": ("decoded", lambda: png(SIDE, SIDE, color=6, interlace=1)),
    "png, 16-bit, large": ("decoded", lambda: png(SIDE, SIDE, depth=16, color=6)),
    "png, 16-bit grey, large": ("decoded", lambda: png(SIDE, SIDE, depth=16, color=0)),
    "png, with a key, large": ("decoded", lambda: png(SIDE, SIDE, before=chunk(b"tRNS", bytes(6)))),
    "png, 16-bit with a key": ("decoded", lambda: png(4000, 4000, depth=16, before=chunk(b"tRNS", bytes(6)))),
    "png, flat": ("decoded", lambda: png(65_535, 976, color=6)),
    "png, narrow": ("decoded", lambda: png(976, 65_535, color=6)),
    "webp, large": ("decoded", lambda: plain("RGBA", "WEBP", 4000, 4000, lossless=True, method=0)),
    "gif, large": ("decoded", lambda: plain("P", "GIF")),
    "gif of many comment blocks": ("too_large", lambda: gif(b"!\xfe" + times(b"\1a") + b"\0")),
    "gif of many extensions": ("too_large", lambda: gif(times(b"!\1\0"))),
    "bmp, one bit, large": ("decoded", lambda: bmp(SIDE, SIDE, 1, 0, bytes(SIDE * SIDE // 8))),
    "bmp, run-length": (
        "decoded",
        lambda: bmp(4000, 4000, 4, 2, (b"\xff\0" * 15 + b"\xaf\0" + b"\0\0") * 4000 + b"\0\1"),
    ),
    "bmp of short rows": ("decoded", lambda: bmp(4000, 4000, 8, 1, b"\1\0\0\0" * 4000 + b"\0\1")),
}
"""Images that take a second or hundreds of megabytes before they are decoded or rejected, in the format of `CHEAP`."""

ORDINARY: dict[str, tuple[str, Callable[[], bytes]]] = {
    "ordinary png": ("decoded", lambda: png(4000, 4000, color=6)),
    "ordinary grey png": ("decoded", lambda: png(4000, 4000, depth=16, color=0)),
    "ordinary jpeg": ("decoded", lambda: plain("RGB", "JPEG", 4000, 4000, progressive=True, subsampling=0)),
    "ordinary webp": ("decoded", lambda: plain("RGBA", "WEBP", 2000, 2000, lossless=True, method=0)),
    "ordinary gif": ("decoded", lambda: plain("P", "GIF", 4000, 4000)),
}
"""Large images that the threads of a service still decode concurrently, in the format of `CHEAP`."""

ROTATED = (0x112, 3, 1, 6 << 16)
"""EXIF entry of an image rotated by 90 degrees."""


def grid(side: int) -> dict[str, Callable[[], bytes]]:
    """Returns square images of all formats, modes and scan types: name to the function that builds one."""
    result: dict[str, Callable[[], bytes]] = {}
    for count, name in ((1, "grey"), (3, "rgb"), (4, "cmyk")):
        for frame, code in (
            (0xC0, "baseline"),
            (0xC2, "progressive"),
            (0xC9, "arithmetic"),
            (0xCA, "arithmetic, progressive"),
        ):
            result[f"jpeg, {name}, {code}"] = partial(blocks, side, side, FULL[:count], None, frame)
            if count > 1:
                result[f"jpeg, {name}, {code}, separate"] = partial(
                    blocks, side, side, FULL[:count], SEPARATE[:count], frame
                )
    for factors in ((2, 2), (2, 1), (4, 1), (1, 2)):
        sampling = (factors, (1, 1), (1, 1))
        result[f"jpeg, {factors}, progressive"] = partial(blocks, side, side, sampling, None, 0xC2)
        result[f"jpeg, {factors}, separate"] = partial(blocks, side, side, sampling, [(0,), (1, 2)])
    key, orientation = chunk(b"tRNS", bytes(6)), chunk(b"eXIf", exif(ROTATED))
    palette = chunk(b"PLTE", bytes(768))
    for depth, color in ((1, 0), (2, 0), (8, 0), (16, 0), (8, 2), (16, 2), (8, 3), (8, 4), (16, 4), (8, 6), (16, 6)):
        before = palette if color == 3 else b""
        result[f"png, {depth}, {color}"] = partial(png, side, side, depth=depth, color=color, before=before)
        result[f"png, {depth}, {color}, interlaced"] = partial(
            png, side, side, depth=depth, color=color, before=before, interlace=1
        )
        result[f"png, {depth}, {color}, turned"] = partial(
            png, side, side, depth=depth, color=color, before=before + orientation
        )
    result["png, 8, 2, key"] = partial(png, side, side, before=key)
    result["png, 16, 2, key"] = partial(png, side, side, depth=16, before=key)
    result["png, 16, 2, key, turned"] = partial(png, side, side, depth=16, before=key + orientation)
    result["png, 8, 3, key"] = partial(png, side, side, color=3, before=palette + chunk(b"tRNS", bytes(256)))
    result["png, 8, 6, texts"] = partial(png, side, side, color=6, before=WIDE_TEXTS)
    for mode in ("RGB", "RGBA"):
        result[f"webp, {mode}, lossless"] = partial(plain, mode, "WEBP", side, side, lossless=True, method=0)
        result[f"webp, {mode}, lossy"] = partial(plain, mode, "WEBP", side, side, method=0)
        result[f"webp, {mode}, turned"] = partial(plain, mode, "WEBP", side, side, method=0, exif=exif(ROTATED))
    more = [Image.new("RGBA", (side, side), (9, 9, 9, 9))]
    result["webp, animated"] = partial(plain, "RGBA", "WEBP", side, side, method=0, save_all=True, append_images=more)
    result["gif"] = partial(plain, "P", "GIF", side, side)
    result["gif, grey"] = partial(plain, "L", "GIF", side, side)
    result["gif, disposed"] = partial(disposed, side, side)
    result["gif, transparent"] = partial(plain, "P", "GIF", side, side, transparency=0)
    for bits in (1, 4, 8) if side <= 4000 else (1, 4):  # otherwise the file would exceed the maximum size
        result[f"bmp, {bits}"] = partial(bmp, side, side, bits, 0, bytes(side * -(-side * bits // 32) * 4))
    result["bmp, runs"] = lambda: bmp(
        side, side, 8, 1, (b"\xff\0" * (side // 255) + bytes([side % 255, 0, 0, 0])) * side + b"\0\1"
    )
    return result


SMALL = (
    "jpeg, rgb, baseline", "jpeg, rgb, progressive", "jpeg, cmyk, baseline, separate",
    "jpeg, cmyk, arithmetic, separate", "jpeg, (2, 2), progressive", "jpeg, (4, 1), separate", "png, 16, 0, turned",
    "png, 8, 6, interlaced", "png, 16, 2, key", "webp, RGBA, lossy", "webp, RGB, lossless",
    "gif, transparent", "bmp, runs",
)  # fmt: skip
"""Names of the images in `grid` whose memory estimates differ most."""

GRID = {f"{name}, {side}": ("", make) for side in (1500, 4000, 6000) for name, make in grid(side).items()}
"""Images without an expected outcome: those within the limits must be decoded, larger ones rejected."""

BOMBS = CHEAP | COSTLY | ORDINARY | GRID


def side_by_side(count: int) -> dict[str, Any]:
    """Decodes the largest images with `count` threads and returns outcome and growth in megabytes.

    They are a mix of images that the service decodes exclusively and images that it decodes concurrently.
    """
    largest = [blocks(8000, 8000, frame=0xC2), png(SIDE, SIDE, color=6), png(4000, 4000)] * 2
    before = _resident()
    Path("/proc/self/clear_refs").write_text("5")
    with ThreadPoolExecutor(count) as pool:
        shapes = set(pool.map(lambda data: decode(data, 224).shape, largest))
    return {"outcome": "decoded" if shapes == {(224, 224, 3)} else "misshapen", "megabytes": _highest() - before}


def measure(name: str) -> dict[str, Any]:
    """Decodes an image to 224 pixels; returns outcome, CPU seconds and megabytes, for `GRID` the estimate too."""
    if name.startswith("side by side, "):
        return side_by_side(int(name.rpartition(" ")[2]))
    data = BOMBS[name][1]()
    assert len(data) <= MAX_BYTES, len(data)
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)  # returns memory of the previous image to the system
    before = _resident()
    Path("/proc/self/clear_refs").write_text("5")  # resets the peak resident set size (proc(5))
    start = time.process_time()
    try:
        outcome = "decoded" if decode(data, 224).shape == (224, 224, 3) else "misshapen"
    except ImageError as error:
        outcome = error.code
    seconds, megabytes = time.process_time() - start, _highest() - before
    row = {"outcome": outcome, "seconds": seconds, "megabytes": megabytes}
    return row | {"estimate": estimate(data)} if name in GRID else row


def estimate(data: bytes, size: int = 224) -> int | None:
    """Returns the estimated memory for decoding in bytes, or None if the image cannot be opened."""
    try:
        with opened.open_image(data) as image:
            image.draft(None, (2 * size, 2 * size))
            held, temporary = opened.memory(image, data)
            rotated = opened.may_be_turned(image, data)
            return held + max(temporary, images._converted(image, (size, size), rotated))
    except ImageError:
        return None


def _resident() -> float:
    return int(_status("VmRSS:")) / 1000


def _highest() -> float:
    return int(_status("VmHWM:")) / 1000


def _status(key: str) -> str:
    return next(line.split()[1] for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(key))


if __name__ == "__main__":
    decode(SMALL_JPEG, 224)  # loads lazily imported modules before the measurement
    for argument in sys.argv[1:]:
        print(json.dumps({"name": argument, **measure(argument)}), flush=True)
