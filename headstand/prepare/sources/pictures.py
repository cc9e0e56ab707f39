"""Pictures out of arrays, kept in the cache as PNG files: what they hold is what the array holds, bit for bit."""

import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from PIL import Image
from tqdm import tqdm

from headstand import files

BATCH = 512
"""Pictures taken from the array at once."""

_SMALL = 4096
"""Bytes of pixels that fit into one block of most disks: compressing them saves no room and takes twice the time."""


def write(folder: Path, names: Sequence[str], pixels: Callable[[list[int]], np.ndarray]) -> None:
    """Write the pictures that are not there yet; an interrupted call goes on where it stopped.

    Args:
        folder: where they are to lie; made if need be.
        names: each picture's path in the folder, which ends in `.png`.
        pixels: gives the pictures of some places in `names`, `uint8 [P, height, width, 3]`, RGB.

    Raises:
        OSError: the disk refuses.
    """
    home = os.fspath(folder)
    missing = [place for place, name in enumerate(names) if not os.path.isfile(f"{home}/{name}")]  # noqa: PTH113 - quicker
    # Temporary files lie outside of the folders that hold pictures: a killed run leaves only pictures there.
    with tqdm(total=len(missing), desc="writing", unit="photo", leave=False, disable=not sys.stderr.isatty()) as bar:
        for start in range(0, len(missing), BATCH):
            places = missing[start : start + BATCH]
            for place, picture in zip(places, pixels(places), strict=True):
                level = 0 if picture.nbytes <= _SMALL else 1
                with files.replacing(folder / names[place], folder.parent) as part:
                    Image.fromarray(picture).save(part, "PNG", compress_level=level)
            bar.update(len(places))
