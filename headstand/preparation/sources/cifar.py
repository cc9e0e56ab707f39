"""Source `cifar`: CIFAR-100, 60,000 images of 32 x 32 pixels in 100 classes and 20 superclasses.

A. Krizhevsky, "Learning Multiple Layers of Features from Tiny Images", 2009. Its pickles are read without executing
code from them; see `unpickle`.
"""

import hashlib
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from headstand import files
from headstand.errors import HeadstandError
from headstand.preparation.listing import Listing
from headstand.preparation.manifest import SPLITS, nfc
from headstand.preparation.sources import archive, png_files, unpickle
from headstand.recipe import Source

ADDRESS = "https://www.cs.toronto.edu/~kriz/cifar-100-python.tar.gz"

DIGEST = "md5:eb9058c3a382ffc7106e4002c42a8d85"
"""MD5 digest of the archive, as published by the authors."""

SIDE = 32
"""Height and width of an image in pixels."""

PARTS = ("train", "test")
"""The files with images, one per split; the authors' split is kept."""


class CifarError(HeadstandError):
    """Raised for a folder that does not hold the Python version of CIFAR-100."""


@dataclass(frozen=True)
class Batch:
    """Images of `train` or `test`: `data` `uint8 [N, 3072]`, `fine` and `coarse` labels `int64 [N]`."""

    data: np.ndarray
    fine: np.ndarray
    coarse: np.ndarray

    def pixels(self, indices: np.ndarray, chosen: list[int]) -> np.ndarray:
        """Returns the images at the indices `indices[chosen]` as `uint8 [P, 32, 32, 3]`; `data` is channels first."""
        return np.ascontiguousarray(self.data[indices[chosen]].reshape(-1, 3, SIDE, SIDE).transpose(0, 2, 3, 1))


def listing(source: Source, seed: int) -> Listing:
    """Writes the images of CIFAR-100 as PNG files into the cache and lists them; train and test are kept.

    Args:
        source: `folder`, the folder that holds `meta`, `train` and `test`, or its archive, downloaded if not set;
            `labels`, fine or coarse classes; `per_class`, the maximum number of images per class. The proportions of
            train to test, and of the fine classes in a superclass, are kept.
        seed: seed of the sample for `per_class`; a larger sample contains nearly all images of a smaller one.

    Raises:
        CifarError: another layout, labels that do not fit, or a sample too small for the splits; or the disk cannot be
            written.
        UnpickleError: a pickle is damaged, or holds more than plain data.
        RecipeError, TransferError, ArchiveError: as `archive.unpacked`.
    """
    if source.per_class is not None and source.per_class < len(SPLITS):
        raise CifarError(
            f"source.per_class is {source.per_class}: a class needs {len(SPLITS)} pictures or more, one for each split"
        )
    folder = _home(archive.unpacked(source.folder) if source.folder else archive.unpacked(ADDRESS, digest=DIGEST))
    fine, coarse = label_names(folder / "meta")
    parts = {part: _part(folder / part, len(fine), len(coarse)) for part in PARTS}
    names = fine if source.labels == "fine" else coarse
    root = (files.cache() / "cifar" / _key(parts)).absolute()
    chosen = _sample(parts, source, seed)
    found: list[tuple[int, str, str]] = []
    try:
        with files.sole(root):
            for name, part in parts.items():
                indices = np.flatnonzero(chosen[name])
                paths = [f"{name}/{part.fine[index]:02d}/{index:05d}.png" for index in indices]
                png_files.write(root, paths, partial(part.pixels, indices))
                labels = (part.fine if source.labels == "fine" else part.coarse)[indices].tolist()
                found += zip(labels, paths, [name] * len(paths), strict=True)
    except OSError as error:
        raise CifarError(
            f"cannot write the pictures to {root}: {error.strerror or error}; HEADSTAND_CACHE can name another folder"
        ) from error
    listed = png_files.listing(root, found, names)
    if (count := len(listed.classes)) < 2:
        raise CifarError(f"{folder} has pictures of {count} {source.labels} class only: a classifier needs two or more")
    return listed


def label_names(meta: Path) -> tuple[list[str], list[str]]:
    """Returns the names of the fine and the coarse classes from the file `meta`, indexed by class number.

    Raises:
        CifarError, UnpickleError: the file is not CIFAR-100's `meta`.
    """
    values = unpickle.read(meta)
    return _names(values, "fine_label_names", meta), _names(values, "coarse_label_names", meta)


def _home(folder: Path) -> Path:
    """Returns the folder with the files `meta`, `train` and `test`: `folder` or one directly in it."""
    inner = sorted(path for path in folder.iterdir() if path.is_dir())
    for candidate in (folder, *inner):
        if all((candidate / name).is_file() for name in ("meta", *PARTS)):
            return candidate
    raise CifarError(
        f"{folder} does not hold the files meta, train and test: the source must be the folder cifar-100-python, "
        f"or the archive of it that is at {ADDRESS}"
    )


def _names(values: dict[str, Any], key: str, meta: Path) -> list[str]:
    found = values.get(key)
    if not isinstance(found, list) or not found or not all(isinstance(name, str | bytes) for name in found):
        raise CifarError(f"{meta} has no {key}: it is not the one of CIFAR-100")
    try:
        names = [nfc(name.decode("utf-8") if isinstance(name, bytes) else name) for name in found]
    except UnicodeDecodeError:
        raise CifarError(f"{meta} has {key} that are not UTF-8") from None
    if len(set(names)) < len(names) or not all(names):
        raise CifarError(f"{meta} has {key} that are empty or double")
    return names


def _part(path: Path, fine: int, coarse: int) -> Batch:
    values = unpickle.read(path)
    data = values.get("data")
    if not isinstance(data, np.ndarray) or data.dtype != np.uint8 or data.ndim != 2 or data.shape[1] != 3 * SIDE**2:
        raise CifarError(f"{path} has no array data of uint8 [N, {3 * SIDE**2}]: it is not one of CIFAR-100")
    return Batch(
        data, _labels(path, values, "fine", len(data), fine), _labels(path, values, "coarse", len(data), coarse)
    )


def _labels(path: Path, values: dict[str, Any], kind: str, count: int, classes: int) -> np.ndarray:
    found = values.get(f"{kind}_labels")
    if isinstance(found, np.ndarray):
        found = found.tolist()
    if not isinstance(found, list) or not all(type(label) is int for label in found):
        raise CifarError(f"{path} has no list {kind}_labels of numbers: it is not one of CIFAR-100")
    if len(found) != count:
        raise CifarError(f"{path} has {count:,} pictures and {len(found):,} {kind}_labels")
    wrong = next((label for label in found if not 0 <= label < classes), None)
    if wrong is not None:
        raise CifarError(f"{path} has the {kind} label {wrong}, and meta names the classes 0 to {classes - 1}")
    return np.array(found, dtype=np.int64)


def _key(parts: dict[str, Batch]) -> str:
    """Returns the cache key: a hash of the images and their fine labels."""
    content = hashlib.sha256()
    for part in parts.values():
        content.update(f"{part.data.shape} ".encode())
        content.update(np.ascontiguousarray(part.data).data)
        content.update(part.fine.data)
    return content.hexdigest()[:16]


def _sample(parts: dict[str, Batch], source: Source, seed: int) -> dict[str, np.ndarray]:
    """Returns which images of each part to use, `bool [N]`: a stratified sample of `source.per_class` per class."""
    chosen = {name: np.ones(len(part.data), dtype=bool) for name, part in parts.items()}
    labels = {name: part.fine if source.labels == "fine" else part.coarse for name, part in parts.items()}
    for label in range(max((values.max(initial=-1) for values in labels.values()), default=-1) + 1):
        members = {name: np.flatnonzero(values == label) for name, values in labels.items()}
        total = sum(map(len, members.values()))
        if source.per_class is None or total <= source.per_class:
            continue
        # At least one test image, even if the proportion rounds to zero.
        test = min(max(1, round(source.per_class * len(members["test"]) / total)), len(members["test"]))
        for name, quota in (("train", source.per_class - test), ("test", test)):
            indices = members[name]
            chosen[name][indices] = False
            fine, where, counts = np.unique(parts[name].fine[indices], return_inverse=True, return_counts=True)
            for stratum, take in enumerate(_shares(counts, quota)):
                draw = np.random.default_rng([seed, PARTS.index(name), int(fine[stratum])])
                chosen[name][draw.permutation(indices[where == stratum])[:take]] = True
    return chosen


def _shares(counts: np.ndarray, total: int) -> list[int]:
    """Returns `total` apportioned to `counts` by the largest remainder method."""
    exact = counts * total / max(counts.sum(), 1)
    shares = np.floor(exact).astype(int)
    shares[np.argsort(shares - exact, kind="stable")[: total - shares.sum()]] += 1
    return [int(share) for share in shares]
