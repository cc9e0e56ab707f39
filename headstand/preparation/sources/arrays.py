"""Source `arrays`: images in `data.npy` and labels in `labels.npy`, in one folder or in one folder per split."""

import hashlib
import os
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from headstand import files
from headstand.errors import HeadstandError
from headstand.preparation.listing import Listing
from headstand.preparation.manifest import SPLITS, nfc
from headstand.preparation.sources import archive, cifar, png_files
from headstand.preparation.sources.split_names import split_of
from headstand.preparation.sources.walk import is_system
from headstand.recipe import Source

CLASSES = 100_000
"""Maximum number of classes; labels must be smaller."""

LARGEST = 4096
"""Maximum height and width of an image in pixels."""

_TOLERANCE = 1e-3
"""How far a float pixel may lie outside 0..1, as resizing can overshoot."""

_FILES = ("data.npy", "labels.npy")


class ArraysError(HeadstandError):
    """Raised if the arrays are missing, or are not valid images and labels."""


@dataclass(frozen=True)
class _SplitArrays:
    """Arrays of one split: folder, split (empty for none), number of images, labels `int64 [N]`, number of classes."""

    folder: Path
    split: str
    count: int
    labels: np.ndarray
    classes: int


def listing(source: Source, seed: int) -> Listing:
    """Writes the images of NumPy arrays as PNG files into the cache and lists them.

    `data.npy` has the shape `[N, height, width, 3]`, `[N, height, width, 1]` or `[N, height, width]`, and holds `uint8`
    0..255, or floats 0..1, which are rounded to 8 bits. `labels.npy` holds class numbers `[N]` or `[N, 1]`, or one-hot
    labels `[N, classes]`. Both files lie in the folder, or in one folder per split (`train`, `val`, `test`; see
    `split_names.split_of`); then the splits are kept. Class names are the lines of `labels.txt` beside them, or those
    of CIFAR-100's `meta` (`source.labels` selects fine or coarse), or the class numbers.

    Args:
        source: `folder`, the folder with the arrays or an archive of it.
        seed: not used, nothing is sampled.

    Raises:
        ArraysError: missing files, wrong types or shapes, numbers out of range; or the disk cannot be written.
        CifarError, UnpickleError: an invalid `meta`.
        RecipeError, TransferError, ArchiveError: as `archive.unpacked`.
    """
    home = _home(archive.unpacked(source.folder or ""))
    parts = _parts(home)
    classes = max(part.classes for part in parts)
    names = _names(home, source, classes) or [str(number) for number in range(classes)]
    root = (files.cache() / "arrays" / _key(parts)).absolute()
    found: list[tuple[int, str, str]] = []
    try:
        with files.sole(root):
            for part in parts:
                paths = [
                    f"{part.split or 'all'}/{label:05d}/{n:07d}.png" for n, label in enumerate(part.labels.tolist())
                ]
                png_files.write(root, paths, partial(_pixels, part.folder / "data.npy"))
                found += zip(part.labels.tolist(), paths, [part.split] * part.count, strict=True)
    except OSError as error:
        raise ArraysError(
            f"cannot write the pictures to {root}: {error.strerror or error}; HEADSTAND_CACHE can name another folder"
        ) from error
    listed = png_files.listing(root, found, names)
    if len(listed.classes) < 2:
        raise ArraysError(f"the labels in {home} are of one class only, {listed.classes[0]!r}: a classifier needs two")
    return listed


def _home(folder: Path) -> Path:
    """Returns the folder with the arrays, skipping wrapper folders: single entries that are not named as a split."""
    while True:
        inner = [path for path in folder.iterdir() if not is_system(path.name)]
        if len(inner) != 1 or not inner[0].is_dir() or split_of(inner[0].name):
            return folder
        folder = inner[0]


def _parts(home: Path) -> list[_SplitArrays]:
    if (home / "data.npy").is_file():
        return [_part(home, "")]
    folders: dict[str, Path] = {}
    for path in sorted(path for path in home.iterdir() if path.is_dir() and (path / "data.npy").is_file()):
        split = split_of(path.name)
        if not split or split in folders:
            why = f"a second folder for {split}" if split else "not the name of a split (train, validation, test)"
            raise ArraysError(f"{path} holds data.npy, and its name is {why}: move it away or rename it")
        folders[split] = path
    if not folders:
        raise ArraysError(f"{home} holds no data.npy and labels.npy, and no folders train, validation, test with them")
    return [_part(folders[split], split) for split in SPLITS if split in folders]


def _part(folder: Path, split: str) -> _SplitArrays:
    data, labels = (_open(folder / name) for name in _FILES)
    where = folder / "data.npy"
    shape = " x ".join(map(str, data.shape))
    if data.ndim not in (3, 4) or (data.ndim == 4 and data.shape[3] not in (1, 3)) or not data.size:
        raise ArraysError(f"{where} has the shape {shape}; pictures are N x height x width, grey or with 3 colours")
    if max(data.shape[1:3]) > LARGEST:
        raise ArraysError(
            f"{where} has pictures with a side of {max(data.shape[1:3])} pixels; at most {LARGEST} are taken"
        )
    if data.dtype != np.uint8 and data.dtype.kind != "f":
        raise ArraysError(f"{where} holds {data.dtype}; pixels are uint8 from 0 to 255, or floats from 0 to 1")
    numbers, classes = _labels(folder / "labels.npy", labels)
    if len(numbers) != len(data):
        raise ArraysError(f"{folder} has {len(data):,} pictures in data.npy and {len(numbers):,} labels in labels.npy")
    return _SplitArrays(folder, split, len(data), numbers, classes)


def _open(path: Path) -> np.ndarray:
    """Returns a memory-mapped array; arrays of Python objects, which are pickles, are refused."""
    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except FileNotFoundError:
        raise ArraysError(f"there is no {path}") from None
    except OSError as error:
        raise ArraysError(f"cannot read {path}: {error.strerror or 'it is cut short'}") from error
    except (ValueError, EOFError, SyntaxError, TypeError, OverflowError, MemoryError) as error:
        what = "holds Python objects, which can be programs" if "object" in str(error).lower() else "is damaged or none"
        raise ArraysError(f"{path} is no array of numbers that NumPy wrote: it {what}") from None
    if not isinstance(array, np.ndarray):
        raise ArraysError(f"{path} is an archive of arrays (.npz), not one array")
    return array


def _labels(path: Path, labels: np.ndarray) -> tuple[np.ndarray, int]:
    """Returns class numbers `int64 [N]` and the number of classes."""
    if labels.ndim == 2 and labels.shape[1] > 1:
        if labels.shape[1] > CLASSES or labels.dtype.kind not in "biuf":
            raise ArraysError(f"{path} has {labels.shape[1]:,} columns of {labels.dtype}: they are no one-hot labels")
        ones = labels == 1
        wrong = np.flatnonzero((ones.sum(1) != 1) | ((labels != 0).sum(1) != 1))
        if len(wrong):
            raise ArraysError(f"{path} is not one-hot: row {wrong[0]} has not one 1 and else 0")
        return ones.argmax(1).astype(np.int64), labels.shape[1]
    if labels.ndim not in (1, 2) or labels.dtype.kind not in "iu" or not labels.size:
        shape = " x ".join(map(str, labels.shape)) or "a single number"
        raise ArraysError(
            f"{path} holds {labels.dtype} ({shape}); labels are whole numbers, N, or one-hot, N x classes"
        )
    least, most = int(labels.min()), int(labels.max())
    if least < 0 or most >= CLASSES:
        raise ArraysError(
            f"{path} has labels from {least} to {most}; classes are numbered from 0 to {CLASSES - 1} at most"
        )
    return np.array(labels, dtype=np.int64).ravel(), most + 1


def _names(home: Path, source: Source, classes: int) -> list[str]:
    """Returns the class names from `labels.txt` or `meta`; empty if there is neither."""
    lines, meta = home / "labels.txt", home / "meta"
    if lines.is_file():
        try:
            names = [nfc(line.strip()) for line in lines.read_text(encoding="utf-8-sig").splitlines() if line.strip()]
        except UnicodeDecodeError:
            raise ArraysError(f"{lines} is not UTF-8 text") from None
        path = lines
    elif meta.is_file():
        fine, coarse = cifar.label_names(meta)
        names, path = (fine if source.labels == "fine" else coarse), meta
    else:
        return []
    if len(names) < classes or len(set(names)) < len(names):
        hint = f' (source.labels is "{source.labels}")' if path == meta else ""
        raise ArraysError(
            f"{path} gives {len(set(names))} different names{hint}, and the labels have {classes} classes"
        )
    return names


def _pixels(path: Path, indices: list[int]) -> np.ndarray:
    """Returns the images at `indices` as `uint8 [P, height, width, 3]`.

    The file is memory-mapped for each call, so that pages read before do not stay in memory.
    """
    values = _open(path)[indices]
    if values.dtype != np.uint8:
        low, high = float(values.min()), float(values.max())
        if not (low >= -_TOLERANCE and high <= 1 + _TOLERANCE):
            raise ArraysError(
                f"{path} has floats from {low:g} to {high:g}; as floats pixels go from 0 to 1, from 0 to 255 as uint8"
            )
        values = np.clip(np.rint(values.astype(np.float32) * 255), 0, 255).astype(np.uint8)
    grey = values[..., None] if values.ndim == 3 else values
    return np.ascontiguousarray(np.broadcast_to(grey, (*grey.shape[:3], 3)))


def _key(parts: list[_SplitArrays]) -> str:
    """Returns the cache key: a hash of the data files' paths, sizes and modification times, and of the labels.

    The images are not hashed, as reading gigabytes twice would take too long.
    """
    source = hashlib.sha256()
    for part in parts:
        path = (part.folder / "data.npy").resolve()
        source.update(b"%s\0%d\0%d\0" % (os.fsencode(path), *files.state(path)))
        source.update(part.labels.data)
    return source.hexdigest()[:16]
