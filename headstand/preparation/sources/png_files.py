"""Lossless PNG files of images from arrays, stored in the cache, and their listing."""

import os
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from PIL import Image
from tqdm import tqdm

from headstand import files
from headstand.preparation.listing import Item, Listing
from headstand.preparation.manifest import natural

BATCH = 512
"""Number of images that are read from the array at once."""

_SMALL = 4096
"""Pixel bytes that fit one block of most disks; compressing so few saves no space and takes twice the time."""


def write(folder: Path, names: Sequence[str], pixels: Callable[[list[int]], np.ndarray]) -> None:
    """Writes images as PNG files; existing files are kept, so an interrupted call can be resumed.

    Args:
        folder: the target folder; created if necessary.
        names: path of each image in the folder, with the extension `.png`.
        pixels: returns the images at the given indices of `names`, `uint8 [P, height, width, 3]`, RGB.

    Raises:
        OSError: the disk cannot be written.
    """
    home = os.fspath(folder)
    missing = [index for index, name in enumerate(names) if not os.path.isfile(f"{home}/{name}")]  # noqa: PTH113 - fast
    # Temporary files are in the parent of `folder`, so that a killed process leaves only images in `folder`.
    with tqdm(total=len(missing), desc="writing", unit="photo", leave=False, disable=None) as bar:
        for start in range(0, len(missing), BATCH):
            indices = missing[start : start + BATCH]
            for index, picture in zip(indices, pixels(indices), strict=True):
                level = 0 if picture.nbytes <= _SMALL else 1
                with files.replacing(folder / names[index], folder.parent) as part:
                    Image.fromarray(picture).save(part, "PNG", compress_level=level)
            bar.update(len(indices))


def listing(root: Path, found: Sequence[tuple[int, str, str]], names: Sequence[str]) -> Listing:
    """Lists written images by class in natural order, then by path.

    Args:
        root: the folder of the images.
        found: label, path in `root` and split of each image.
        names: class name by label.
    """
    ordered = sorted(found, key=lambda image: (natural(names[image[0]]), image[1]))
    items = tuple(Item(names[label], root / path, split=split) for label, path, split in ordered)
    return Listing(root, tuple(dict.fromkeys(item.class_ for item in items)), items)
