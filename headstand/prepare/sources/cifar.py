"""The source `cifar`: CIFAR-100, 60,000 pictures of 32 x 32 in 100 classes and 20 superclasses.

A. Krizhevsky, "Learning Multiple Layers of Features from Tiny Images", 2009. Its pickles are read without running them.
"""

import hashlib
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from headstand import files
from headstand.errors import HeadstandError
from headstand.prepare.listing import Item, Listing
from headstand.prepare.manifest import natural, nfc
from headstand.prepare.sources import archive, pictures, unpickle
from headstand.recipe import Source

ADDRESS = "https://www.cs.toronto.edu/~kriz/cifar-100-python.tar.gz"

DIGEST = "md5:eb9058c3a382ffc7106e4002c42a8d85"
"""The archive's digest, as its authors publish it."""

SIDE = 32
"""Side of a picture in pixels."""

PARTS = ("train", "test")
"""The files of pictures, and how the authors divided them."""


class CifarError(HeadstandError):
    """A folder that does not hold CIFAR-100 in its layout for Python."""


@dataclass(frozen=True)
class Part:
    """The pictures of `train` or `test`: `data` `uint8 [N, 3072]`, `fine` and `coarse` labels `int64 [N]`."""

    data: np.ndarray
    fine: np.ndarray
    coarse: np.ndarray

    def pixels(self, places: np.ndarray, some: list[int]) -> np.ndarray:
        """The pictures at some of `places`, `uint8 [P, 32, 32, 3]`; they are stored colour by colour."""
        return np.ascontiguousarray(self.data[places[some]].reshape(-1, 3, SIDE, SIDE).transpose(0, 2, 3, 1))


def listing(source: Source, seed: int) -> Listing:
    """CIFAR-100's pictures, written as PNG files into the cache; the given train and test stay what they are.

    Args:
        source: `folder`, the folder that holds `meta`, `train` and `test` or its archive, downloaded if left out;
            `labels`, which classes to use; `per_class`, at most so many pictures of each class, train and test in
            their proportion and the classes of a superclass too.
        seed: draws the pictures for `per_class`; a larger number of them holds nearly all of a smaller one's.

    Raises:
        CifarError: another layout, or labels that do not fit; or the disk refuses.
        UnpickleError: a pickle that is damaged, or asks for more than plain data.
        RecipeError, DownloadError, ArchiveError: as `archive.unpacked`.
    """
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
                places = np.flatnonzero(chosen[name])
                paths = [f"{name}/{part.fine[place]:02d}/{place:05d}.png" for place in places]
                pictures.write(root, paths, partial(part.pixels, places))
                labels = (part.fine if source.labels == "fine" else part.coarse)[places].tolist()
                found += zip(labels, paths, [name] * len(paths), strict=True)
    except OSError as error:
        raise CifarError(
            f"cannot write the pictures to {root}: {error.strerror or error}; HEADSTAND_CACHE can name another folder"
        ) from error
    used = {label for label, _, _ in found}
    order = sorted(used, key=lambda label: (natural(names[label]), names[label]))
    if len(order) < 2:
        raise CifarError(
            f"{folder} has pictures of {len(order)} {source.labels} class only: a classifier needs two or more"
        )
    place_of = {label: place for place, label in enumerate(order)}
    found.sort(key=lambda item: (place_of[item[0]], item[1]))
    items = tuple(Item(names[label], root / file, split=split) for label, file, split in found)
    return Listing(root, tuple(names[label] for label in order), items)


def label_names(meta: Path) -> tuple[list[str], list[str]]:
    """The names of the fine and the coarse classes that a file `meta` holds, in the order of their numbers.

    Raises:
        CifarError, UnpickleError: it is no such file.
    """
    values = unpickle.read(meta)
    return _names(values, "fine_label_names", meta), _names(values, "coarse_label_names", meta)


def _home(folder: Path) -> Path:
    """The folder with the three files: this one, or the one that the archive has around them."""
    inner = sorted(path for path in folder.iterdir() if path.is_dir())
    for place in (folder, *inner):
        if all((place / name).is_file() for name in ("meta", *PARTS)):
            return place
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


def _part(path: Path, fine: int, coarse: int) -> Part:
    values = unpickle.read(path)
    data = values.get("data")
    if not isinstance(data, np.ndarray) or data.dtype != np.uint8 or data.ndim != 2 or data.shape[1] != 3 * SIDE**2:
        raise CifarError(f"{path} has no array data of uint8 [N, {3 * SIDE**2}]: it is not one of CIFAR-100")
    return Part(
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


def _key(parts: dict[str, Part]) -> str:
    """Names the pictures and their folders by their content."""
    content = hashlib.sha256()
    for part in parts.values():
        content.update(f"{part.data.shape} ".encode())
        content.update(np.ascontiguousarray(part.data).data)
        content.update(part.fine.data)
    return content.hexdigest()[:16]


def _sample(parts: dict[str, Part], source: Source, seed: int) -> dict[str, np.ndarray]:
    """Which pictures of each part to use, `bool [N]`."""
    chosen = {name: np.ones(len(part.data), dtype=bool) for name, part in parts.items()}
    labels = {name: part.fine if source.labels == "fine" else part.coarse for name, part in parts.items()}
    for label in range(max((values.max(initial=-1) for values in labels.values()), default=-1) + 1):
        members = {name: np.flatnonzero(values == label) for name, values in labels.items()}
        total = sum(map(len, members.values()))
        if source.per_class is None or total <= source.per_class:
            continue
        # No part goes without, if there is room for both.
        test = min(max(1, round(source.per_class * len(members["test"]) / total)), len(members["test"]))
        for name, quota in (("train", source.per_class - test), ("test", test)):
            places = members[name]
            chosen[name][places] = False
            fine, where, counts = np.unique(parts[name].fine[places], return_inverse=True, return_counts=True)
            for stratum, take in enumerate(_shares(counts, quota)):
                draw = np.random.default_rng([seed, PARTS.index(name), int(fine[stratum])])
                chosen[name][draw.permutation(places[where == stratum])[:take]] = True
    return chosen


def _shares(counts: np.ndarray, total: int) -> list[int]:
    """`total` divided in proportion to `counts`, by largest remainders."""
    exact = counts * total / max(counts.sum(), 1)
    shares = np.floor(exact).astype(int)
    shares[np.argsort(shares - exact, kind="stable")[: total - shares.sum()]] += 1
    return [int(share) for share in shares]
