"""Synthetic prepared datasets of coloured shapes on noise, small enough to train on in a test."""

import hashlib
from pathlib import Path

import numpy as np
from PIL import Image

from headstand.prepare import manifest
from headstand.prepare.manifest import SPLITS, Dataset, Photo

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
    rng = np.random.default_rng(seed)
    photos = []
    for split in SPLITS:
        for index, class_ in enumerate(CLASSES):
            for number in range((counts or COUNTS)[split]):
                kind = ("jpg", "png")[number % 2]
                path = folder / split / class_ / f"{class_}{number:04d}.{kind}"
                path.parent.mkdir(parents=True, exist_ok=True)
                image = picture(index, rng)
                image.save(path, quality=95) if kind == "jpg" else image.save(path)
                digest = hashlib.sha256(path.read_bytes()).hexdigest()
                relative = path.relative_to(folder).as_posix()
                photos.append(Photo(relative, class_, split, digest, *image.size, len(photos)))
    dataset = Dataset(folder, tuple(photos))
    manifest.write(dataset)
    return dataset
