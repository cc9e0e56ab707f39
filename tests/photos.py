"""Synthetic prepared datasets of coloured shapes on noise, small enough to train on in a test."""

import hashlib
import io
from functools import cache
from pathlib import Path

import numpy as np
from PIL import Image

from headstand.preparation import manifest
from headstand.preparation.manifest import SPLITS, Dataset, Photo

CLASSES = ("circle", "cross", "square")
_COLORS = ((220, 40, 40), (40, 200, 60), (50, 60, 230))
COUNTS = {"train": 8, "validation": 4, "test": 4}
"""Photos per class in each split."""

BACKBONE = """
[backbone]
name = "MobileNet"
size = 32
weights = "none"
"""
"""Backbone section of a recipe, small and without a download."""

SOURCE = """
[source]
folder = "photos"
"""
"""Source section of a recipe."""


def picture(class_: int, rng: np.random.Generator, size: int = 40) -> Image.Image:
    """Returns an image of a shape in the colour of its class at a random position on noise."""
    pixels = rng.integers(90, 170, (size, size, 3)).astype(np.uint8)
    center, radius = rng.uniform(0.35, 0.65, 2) * size, rng.uniform(0.2, 0.35) * size
    y, x = np.mgrid[:size, :size]
    across, down = abs(x - center[0]), abs(y - center[1])
    inside = (
        across**2 + down**2 < radius**2,
        np.minimum(across, down) < radius / 3,
        np.maximum(across, down) < radius,
    )[class_ % 3]
    pixels[inside] = np.clip(_COLORS[class_ % 3] + rng.normal(0, 12, (int(inside.sum()), 3)), 0, 255)
    return Image.fromarray(pixels)


def prepare(folder: Path, counts: dict[str, int] | None = None, seed: int = 0) -> Dataset:
    """Writes class folders per split, half JPEG and half PNG, and their manifest."""
    encoded = _encoded(tuple((counts or COUNTS)[split] for split in SPLITS), seed)
    for photo, data in encoded:
        path = folder / photo.path
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    dataset = Dataset(folder, tuple(photo for photo, _ in encoded))
    manifest.write(dataset)
    return dataset


@cache
def _encoded(counts: tuple[int, ...], seed: int) -> tuple[tuple[Photo, bytes], ...]:
    """Returns the photos and their files' content, which many tests need again."""
    rng = np.random.default_rng(seed)
    photos: list[tuple[Photo, bytes]] = []
    for split, count in zip(SPLITS, counts, strict=True):
        for index, class_ in enumerate(CLASSES):
            for number in range(count):
                kind, options = (("jpg", {"format": "JPEG", "quality": 95}), ("png", {"format": "PNG"}))[number % 2]
                image, stream = picture(index, rng), io.BytesIO()
                image.save(stream, **options)
                digest = hashlib.sha256(stream.getvalue()).hexdigest()
                name = f"{split}/{class_}/{class_}{number:04d}.{kind}"
                photos.append((Photo(name, class_, split, digest, *image.size, len(photos)), stream.getvalue()))
    return tuple(photos)
