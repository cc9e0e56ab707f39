"""A handful of test photos with their labels, as files: to try a deployed classifier with."""

import csv
from pathlib import Path

import numpy as np
from PIL import Image

from headstand import command, files
from headstand.errors import HeadstandError
from headstand.images import ImageError, decode
from headstand.prepare import manifest
from headstand.recipe import Recipe, load

TABLE = "labels.csv"


class SampleError(HeadstandError):
    """More photos than there are, a folder in the way, or a dataset that holds no photos."""


def run(words: list[str]) -> None:
    """`RECIPE N FOLDER [--key value ...]`: draw, and print what was written; `--seed` draws others."""
    name, rest = command.recipe_and_rest(words)
    if len(rest) < 2 or not rest[0].isdecimal() or rest[1].startswith("-"):
        raise SampleError("say how many photos, and where to: python -m headstand sample RECIPE N FOLDER")
    for path in sample(load(name, rest[2:]), int(rest[0]), Path(rest[1])):
        print(path)


def sample(recipe: Recipe, count: int, folder: Path) -> list[Path]:
    """Draw photos from the recipe's test split.

    Args:
        recipe: names the prepared dataset; its seed decides the draw.
        count: how many; each photo once at most, every one equally likely.
        folder: made by this; holds `LABEL_001.png` and so on, upright RGB in the photos' own sizes, and `labels.csv`
            with the columns `file`, `label` and `photo`, the path in the dataset.

    Returns:
        The files in the order of the table, which comes last.

    Raises:
        SampleError: `count` is 0 or more than there are photos; `folder` is there and not empty; a photo that is none.
        ManifestError: the dataset is not prepared.
    """
    photos = manifest.read(recipe.data).split("test")
    if not 0 < count <= len(photos):
        raise SampleError(
            f"{recipe.data} has {len(photos):,} test photos: a sample has 1 to {len(photos):,}, not {count:,}"
        )
    if strange := next((photo.path for photo in photos if photo.path.endswith(".npy")), None):
        raise SampleError(f"{recipe.data / strange} is an array, not a photo: only photos can be sampled")
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise SampleError(f"{folder} is there already and not empty: name another folder")
    drawn = np.random.default_rng(recipe.seed).permutation(len(photos))[:count]
    with files.building(folder.absolute()) as part:
        digits = max(3, len(str(count)))
        rows = []
        for number, place in enumerate(drawn.tolist(), 1):
            photo = photos[place]
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
