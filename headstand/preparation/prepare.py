"""Preparation of a dataset from a source: `data/<recipe>/{train,validation,test}/<class>/` and its manifest."""

import hashlib
import importlib
import os
import re
import shutil
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType

import numpy as np

from headstand import files, inputs
from headstand.errors import HeadstandError
from headstand.preparation import grouping, manifest, preparation_record, split
from headstand.preparation.conversion import CONVERSIONS
from headstand.preparation.copying import ChangedError, copy
from headstand.preparation.listing import Item, Listing
from headstand.preparation.manifest import SPLITS, Dataset, Photo
from headstand.preparation.scan import Examine, ScannedFile, examine, examine_large, forget, scan
from headstand.preparation.summary import Summary, counts
from headstand.recipe import Recipe

DIGITS = 4
"""Minimum number of digits in the number of a photo."""


LONGEST = 200
"""Maximum length of a class name in bytes.

The file name of a photo consists of the class, a number and an extension; file systems allow 255 bytes."""


class PrepareError(HeadstandError):
    """Raised if a dataset's folder cannot be replaced, a class name cannot be a folder, or a class has no photo."""


def prepare(recipe: Recipe) -> Summary:
    """Prepares the dataset of a recipe, unless it exists and neither source nor settings have changed.

    Files are copied byte for byte and the source is only read. The dataset is built in a temporary folder beside its
    target and renamed when complete. An interrupted run leaves the old dataset, or none; the next run reuses the files
    that it has read and copied.

    Raises:
        HeadstandError: the source cannot be fetched or has no classes, there are too few photos, a dataset in
            `split.disjoint_from` is not prepared, or the target folder cannot be replaced.
    """
    # A concurrent preparation of the same dataset waits for the first one and then reuses its result.
    key = hashlib.sha256(os.fsencode(recipe.data.absolute())).hexdigest()[:16]
    with files.sole(files.cache() / "prepared" / key):
        return _prepare(recipe)


def _prepare(recipe: Recipe) -> Summary:
    seconds: dict[str, float] = {}
    target = recipe.data
    with _timed(seconds, "source"):
        source = _module(recipe.source.kind)
        listing: Listing = source.listing(recipe.source, recipe.seed)
        # Their validation and test photos must have no near duplicate in this dataset.
        others = {name: manifest.read(target.with_name(name)) for name in recipe.split.disjoint_from}
        state = preparation_record.state(recipe, listing, others)
    if (kept := preparation_record.kept(target, state)) is not None:
        return kept
    _check_replaceable(target, listing)
    replaced = _replaced(recipe)
    names = _folder_names(listing.classes)
    split.check_train(
        [item.class_ for item in listing.items], split.kept([item.split for item in listing.items], recipe.split)
    )
    # A source module for files other than photos defines its own `examine`.
    read: Examine = getattr(source, "examine", examine_large if recipe.source.large else examine)
    with _timed(seconds, "reading"):
        photos, left_out = scan(listing, read)
    with _timed(seconds, "near duplicates"):
        photos, excluded = grouping.disjoint_splits(photos, others)
        left_out += [(photo.item, reason) for photo, reason in excluded]
        _check_filled(listing, photos, left_out)
        duplicates, pairs = grouping.near_duplicate_groups(photos)
        groups = split.join(duplicates, [photo.item.group for photo in photos])
    with _timed(seconds, "split"):
        classes = [names[photo.item.class_] for photo in photos]
        given = split.kept([photo.item.split for photo in photos], recipe.split)
        digests = [photo.file.sha256 for photo in photos]
        splits = split.divide(classes, digests, groups, recipe.split, recipe.seed, given)
    rows = _rows(photos, classes, splits, groups, listing)
    part = target.with_name(f".{target.name}.part")
    with _timed(seconds, "copying"):
        try:
            copy([photo.item.path for photo in photos], rows, part)
        except ChangedError as error:
            forget(listing, next(photo.item for photo in photos if photo.item.path == error.path), read)
            raise
    dataset = Dataset(part, tuple(rows))
    sizes = np.bincount(duplicates)
    predefined = set(given)
    summary = Summary(
        folder=target,
        counts=counts(dataset),
        groups=int((sizes > 1).sum()),
        near_duplicates=int(sizes[sizes > 1].sum()),
        largest=int(sizes.max()),
        related=sum(count > 1 for name, count in Counter(photo.item.group for photo in photos).items() if name),
        given=[
            name
            for name in SPLITS
            if name in predefined and all(s == g for g, s in zip(given, splits, strict=True) if g == name)
        ],
        layout=list(listing.lines),
        followers=sum(s in predefined and s != "train" for g, s in zip(given, splits, strict=True) if not g),
        in_several_splits=split.in_several_splits(groups, splits),
        conflicts=_conflicts(rows, duplicates),
        left_out=[*listing.left_out, *((_shown(item.path, listing), reason) for item, reason in left_out)],
        converted=_converted(photos, listing),
        ignored=listing.ignored,
        links=listing.links,
        seconds=seconds,
        replaced=replaced,
    )
    preparation_record.write(dataset, recipe.source, state, summary, pairs)
    manifest.write(dataset)
    _swap(part, target)
    return summary


def _module(kind: str) -> ModuleType:
    """Imports the module of a source: `headstand.preparation.sources.<kind>`, or the one in `inputs.SOURCES`.

    It is imported on demand because some sources need additional packages. Its `listing(source, seed)` fetches and
    lists the items; its optional `examine(path)` reads the metadata of files that are not photos.
    """
    return importlib.import_module(inputs.SOURCES.get(kind, f"headstand.preparation.sources.{kind}"))


def _check_replaceable(target: Path, listing: Listing) -> None:
    """Checks that the target folder may be replaced.

    Raises:
        PrepareError: part of the source lies in it, or this program did not write it.
    """
    resolved = target.resolve()
    folders = {listing.root, *{item.path.parent for item in listing.items}}
    if inside := next((path for path in sorted(folders) if path.resolve().is_relative_to(resolved)), None):
        raise PrepareError(
            f"the source {inside} lies in {target}, which would be replaced: give the dataset another name with --name"
        )
    if (
        target.exists()
        and not (target / preparation_record.RECORD).is_file()
        and (not target.is_dir() or any(target.iterdir()))
    ):
        raise PrepareError(
            f"{target} exists already and was not written by data_preparation.py: move it to another path"
        )


def _replaced(recipe: Recipe) -> str:
    """Returns the source of an existing dataset if the recipe has another, so that its photos are replaced; else ""."""
    before = preparation_record.source(recipe.data)
    return before.location if before and before.location != preparation_record.located(recipe.source).location else ""


def _folder_names(classes: tuple[str, ...]) -> dict[str, str]:
    """Returns a folder name for each class that is valid on every operating system: unchanged if it already is.

    Raises:
        PrepareError: two classes would share a folder, or a name is longer than `LONGEST` bytes.
    """
    names: dict[str, str] = {}
    for name in classes:
        safe = re.sub(r'[\x00-\x1f\x7f<>:"/\\|?*\ud800-\udfff]', "_", name).strip(" .") or "_"
        same = next((other for other, taken in names.items() if taken.casefold() == safe.casefold()), None)
        if same:
            raise PrepareError(f"the classes {same!r} and {name!r} would share the folder {safe!r}: rename one")
        if (size := len(safe.encode())) > LONGEST:
            raise PrepareError(
                f"the class name {name[:40]!r}... has {size} bytes, and at most {LONGEST} can be part of a file's "
                "name: rename the folder or label"
            )
        names[name] = safe
    return names


def _check_filled(listing: Listing, photos: list[ScannedFile], left_out: list[tuple[Item, str]]) -> None:
    """Checks that every class has a usable photo.

    Raises:
        PrepareError: a class has none; the message contains the reason why its first photo was left out.
    """
    full = {photo.item.class_ for photo in photos}
    for name in listing.classes:
        if name not in full:
            reason = next((f"{_shown(item.path, listing)}: {why}" for item, why in left_out if item.class_ == name), "")
            raise PrepareError(
                f"class {name!r} has no usable photo ({reason or 'none'}): add photos or remove the class"
            )


def _rows(
    photos: list[ScannedFile], classes: list[str], splits: list[str], groups: np.ndarray, listing: Listing
) -> list[Photo]:
    """Returns the manifest's rows, the photos under their new names, numbered from 1 within each class."""
    digits = {name: max(DIGITS, len(str(count))) for name, count in Counter(classes).items()}
    number: Counter[str] = Counter()
    rows: list[Photo] = []
    for photo, name, split_, group in zip(photos, classes, splits, groups.tolist(), strict=True):
        number[name] += 1
        path = f"{split_}/{name}/{name}{number[name]:0{digits[name]}d}{photo.file.extension}"
        file, original = photo.file, _shown(photo.item.path, listing)
        rows.append(Photo(path, name, split_, file.sha256, file.width, file.height, group, original))
    return rows


def _shown(path: Path, listing: Listing) -> str:
    """Returns a file's path relative to the source; undecodable bytes and control characters are backslash-escaped."""
    text = os.path.relpath(path, listing.root).encode("utf-8", "backslashreplace").decode()
    return re.sub(r"[\x00-\x1f\x7f]", lambda found: f"\\x{ord(found[0]):02x}", text)


def _converted(photos: list[ScannedFile], listing: Listing) -> dict[str, list[str]]:
    """Returns the files that need each conversion, in the order of `CONVERSIONS`."""
    paths = {name: [_shown(p.item.path, listing) for p in photos if name in p.file.conversions] for name in CONVERSIONS}
    return {name: files for name, files in paths.items() if files}


def _conflicts(rows: list[Photo], duplicates: np.ndarray) -> list[list[str]]:
    """Returns the groups of near duplicates whose photos have more than one label, as paths in the dataset."""
    groups: dict[int, list[Photo]] = defaultdict(list)
    for photo, group in zip(rows, duplicates.tolist(), strict=True):
        groups[group].append(photo)
    return [[p.path for p in group] for group in groups.values() if len({p.class_ for p in group}) > 1]


def _swap(part: Path, target: Path) -> None:
    """Replaces the old dataset by the new one with two renames, so that readers never get files of both."""
    old = target.with_name(f".{target.name}.old")
    shutil.rmtree(old, ignore_errors=True)
    if target.exists():
        target.rename(old)
    part.rename(target)
    shutil.rmtree(old, ignore_errors=True)


@contextmanager
def _timed(seconds: dict[str, float], step: str) -> Iterator[None]:
    start = time.perf_counter()
    yield
    seconds[step] = round(time.perf_counter() - start, 2)
