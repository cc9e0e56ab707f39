"""Photos for the tests: random shapes, all different."""

import io
from pathlib import Path

import numpy as np
from PIL import Image

from headstand.images import decode
from headstand.preparation.examination import LUMA
from headstand.preparation.near_duplicates import Signature


def picture(seed: int, size: tuple[int, int] = (120, 96)) -> Image.Image:
    """Soft coloured blobs, different for each seed."""
    blobs = np.random.default_rng(seed).integers(0, 256, (7, 7, 3), dtype=np.uint8)
    return Image.fromarray(blobs).resize(size, Image.Resampling.BICUBIC)


def encoded(image: Image.Image, format_: str = "JPEG", **options: int) -> bytes:
    data = io.BytesIO()
    image.save(data, format_, **options)
    return data.getvalue()


def signature(data: bytes) -> Signature:
    return Signature.of((decode(data) @ LUMA).astype(np.uint8))


def class_folders(root: Path, classes: dict[str, int], first: int = 0) -> Path:
    """`{class: count}` photos as `root/class/0.jpg` and so on."""
    seed = first
    for name, count in classes.items():
        (root / name).mkdir(parents=True)
        for number in range(count):
            (root / name / f"{number}.jpg").write_bytes(encoded(picture(seed)))
            seed += 1
    return root
