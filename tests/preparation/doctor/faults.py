"""A folder in good health, and the faults that tests plant in it."""

import io
from functools import cache
from pathlib import Path

import numpy as np
from PIL import Image

from headstand.poses import rendered

SIZE = 144


@cache
def photo(pose: str, number: int, size: int = SIZE) -> Image.Image:
    """A drawn photo of a pose."""
    return Image.fromarray(rendered.draw(pose, 11, number, size).image)


def encoded(image: Image.Image, format_: str = "JPEG", **options: object) -> bytes:
    data = io.BytesIO()
    image.save(data, format_, **({"quality": 90} if format_ == "JPEG" else {}) | options)
    return data.getvalue()


def healthy(root: Path, poses: tuple[str, ...] = ("chair", "tree"), count: int = 7) -> Path:
    """`count` photos of each pose under `root/pose/0.jpg` and so on."""
    for pose in poses:
        (root / pose).mkdir(parents=True)
        for number in range(count):
            (root / pose / f"{number}.jpg").write_bytes(encoded(photo(pose, number)))
    return root


def rotated(image: Image.Image, degrees: float, filled: bool = False) -> Image.Image:
    """Turned; the corners black, or cut away."""
    result = image.rotate(degrees, Image.Resampling.BICUBIC)
    margin = int(np.tan(np.radians(abs(degrees))) * image.width / 2) + 1
    return result if filled else result.crop((margin, margin, image.width - margin, image.height - margin))


def cropped(image: Image.Image, left: float, top: float, right: float, bottom: float) -> Image.Image:
    """Without these shares of its sides."""
    width, height = image.size
    return image.crop((int(width * left), int(height * top), int(width * (1 - right)), int(height * (1 - bottom))))


def bomb() -> bytes:
    """A PNG whose header claims 30,000 x 30,000 pixels."""
    data = bytearray(encoded(Image.new("L", (8, 8)), "PNG"))
    data[16:24] = (30_000).to_bytes(4, "big") * 2
    import zlib

    data[29:33] = zlib.crc32(bytes(data[12:29])).to_bytes(4, "big")
    return bytes(data)


def half_grey(image: Image.Image) -> bytes:
    """A JPEG cut short and closed again, whose missing half decoders fill with grey in silence."""
    data = encoded(image, quality=95)
    return data[: len(data) * 3 // 5] + b"\xff\xd9"
