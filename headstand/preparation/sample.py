"""Random sample of test photos, written as PNG files with a table of labels, for trying a deployed classifier."""

import csv
from pathlib import Path

import numpy as np
from PIL import Image

from headstand import files, inputs
from headstand.errors import HeadstandError
from headstand.images import ImageError, decode
from headstand.preparation import manifest
from headstand.recipe import Recipe

TABLE = "labels.csv"


class SampleError(HeadstandError):
    """Raised for invalid arguments, an existing target folder, or a dataset whose files are not decodable photos."""


def sample(recipe: Recipe, count: int, folder: Path) -> list[Path]:
    """Draws photos from the recipe's test split and writes them to a new folder.

    The folder contains `LABEL_001.png` and so on, upright RGB in the original sizes, and `labels.csv` with the columns
    `file`, `label` and `photo`, the path in the dataset.

    Args:
        recipe: configuration with the prepared dataset and the random seed.
        count: number of photos, drawn uniformly without replacement.
        folder: target folder; it must be missing or empty.

    Returns:
        The paths of the photos in the order of the table, then that of the table.

    Raises:
        SampleError: `count` is 0 or exceeds the number of test photos, `folder` is not empty, or a file cannot be
            decoded as a photo.
        ManifestError: the dataset is not prepared.
    """
    photos = manifest.read(recipe.data).split("test")
    if not 0 < count <= len(photos):
        raise SampleError(
            f"{recipe.data} has {len(photos):,} test photos: a sample has 1 to {len(photos):,}, not {count:,}"
        )
    if array := next((photo.path for photo in photos if inputs.of_file(photo.path).kind != "photos"), None):
        raise SampleError(f"{recipe.data / array} is an array, not a photo: only photos can be sampled")
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise SampleError(f"{folder} exists already and is not empty: name another folder")
    drawn = np.random.default_rng(recipe.seed).permutation(len(photos))[:count]
    with files.building(folder.absolute()) as part:
        digits = max(3, len(str(count)))
        rows = []
        for number, index in enumerate(drawn.tolist(), 1):
            photo = photos[index]
            file = f"{photo.class_}_{number:0{digits}d}.png"
            Image.fromarray(_decoded(recipe.data / photo.path)).save(part / file)
            rows.append((file, photo.class_, photo.path))
        with (part / TABLE).open("w", encoding="utf-8", newline="") as out:
            table = csv.writer(out, lineterminator="\n")
            table.writerows([("file", "label", "photo"), *rows])
    return [*(folder / file for file, _, _ in rows), folder / TABLE]


def _decoded(path: Path) -> np.ndarray:
    try:
        return decode(path, large=True)
    except ImageError as error:
        raise SampleError(f"{path}: {error}") from error
