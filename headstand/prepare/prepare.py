"""From a source to a prepared dataset: `data/<recipe>/{train,validation,test}/<class>/` and its manifest."""

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

from headstand import files
from headstand.errors import HeadstandError
from headstand.prepare import grouping, manifest, record, split
from headstand.prepare.conversion import CONVERSIONS
from headstand.prepare.copying import ChangedError, copy
from headstand.prepare.listing import Item, Listing
from headstand.prepare.manifest import SPLITS, Dataset, Photo
from headstand.prepare.scan import Candidate, Examine, examine, examine_large, forget, scan
from headstand.prepare.summary import Summary, counts
from headstand.recipe import Recipe

DIGITS = 4
"""Fewest digits of a photo's number."""


LONGEST = 200
"""Bytes of a class name. A photo's name is the class, a number and an extension; file systems take 255 bytes."""


class PrepareError(HeadstandError):
    """A dataset's folder that cannot be replaced, or class names that cannot be folders."""


def prepare(recipe: Recipe) -> Summary:
    """Make the recipe's dataset, unless it is there and neither source nor settings have changed.

    Files are copied byte for byte and the source is only read. The dataset is built beside its place and moved there
    when whole, so an interrupted run leaves the old one, or none, and what it has read and copied for the next to use.

    Raises:
        HeadstandError: a source that cannot be fetched or has no classes, too few photos, a folder in the way.
    """
    # A second preparation of the same dataset waits for the first, and then finds it made.
    key = hashlib.sha256(os.fsencode(recipe.data.absolute())).hexdigest()[:16]
    with files.sole(files.cache() / "prepared" / key):
        return _prepare(recipe)


def _prepare(recipe: Recipe) -> Summary:
    seconds: dict[str, float] = {}
    target = recipe.data
    with _timed(seconds, "source"):
        source = _module(recipe.source.kind)
        listing: Listing = source.listing(recipe.source, recipe.seed)
        apart = _apart(recipe)
        state = record.state(recipe, listing, apart)
    if (kept := record.kept(target, state)) is not None:
        return kept
    _check_replaceable(target, listing)
    names = _folder_names(listing.classes)
    split.check_train(
        [item.class_ for item in listing.items], split.kept([item.split for item in listing.items], recipe.split)
    )
    # Photos, unless the source's module tells of another kind of file itself.
    read: Examine = getattr(source, "examine", examine_large if recipe.source.large else examine)
    with _timed(seconds, "reading"):
        photos, left_out = scan(listing, read)
    with _timed(seconds, "twins"):
        photos, near = grouping.apart(photos, apart)
        left_out += [(photo.item, reason) for photo, reason in near]
        _check_filled(listing, photos, left_out)
        alike, pairs = grouping.alike(photos)
        groups = split.join(alike, [photo.item.group for photo in photos])
    with _timed(seconds, "split"):
        classes = [names[photo.item.class_] for photo in photos]
        given = split.kept([photo.item.split for photo in photos], recipe.split)
        digests = [photo.file.sha256 for photo in photos]
        splits = split.divide(classes, digests, groups, recipe.split, recipe.seed, given)
    rows = _rows(photos, classes, splits, groups)
    part = target.with_name(f".{target.name}.part")
    with _timed(seconds, "copying"):
        try:
            copy([photo.item.path for photo in photos], rows, part)
        except ChangedError as error:
            forget(listing, next(photo.item for photo in photos if photo.item.path == error.path), read)
            raise
    dataset = Dataset(part, tuple(rows))
    sizes = np.bincount(alike)
    summary = Summary(
        folder=target,
        counts=counts(dataset),
        groups=int((sizes > 1).sum()),
        twins=int(sizes[sizes > 1].sum()),
        largest=int(sizes.max()),
        related=sum(count > 1 for name, count in Counter(photo.item.group for photo in photos).items() if name),
        given=[
            name
            for name in SPLITS
            if name in given and all(s == g for g, s in zip(given, splits, strict=True) if g == name)
        ],
        layout=list(listing.lines),
        followers=sum(s in given and s != "train" for g, s in zip(given, splits, strict=True) if not g),
        straddling=split.straddling(groups, splits),
        conflicts=_conflicts(rows, alike),
        left_out=[*listing.left_out, *((_shown(item.path, listing), reason) for item, reason in left_out)],
        converted=_converted(photos, listing),
        ignored=listing.ignored,
        links=listing.links,
        seconds=seconds,
    )
    record.write(dataset, state, summary, pairs)
    manifest.write(dataset)
    _swap(part, target)
    return summary


def _module(kind: str) -> ModuleType:
    """The source's module, loaded only when it is asked for: some need packages that others do without.

    It is called as the kind. Its `listing(source, seed)` fetches and lists the items; its `examine(path)`, if it has
    one, reads a file that is no photo.
    """
    return importlib.import_module(f"headstand.prepare.sources.{kind}")


def _apart(recipe: Recipe) -> dict[str, Dataset]:
    """The datasets whose validation and test photos must have no twin here.

    Raises:
        ManifestError: one is not prepared; the message names the command.
    """
    return {name: manifest.read(recipe.data.with_name(name)) for name in recipe.split.keep_apart}


def _check_replaceable(target: Path, listing: Listing) -> None:
    """Refuse to replace what this program did not make, and what it is to read."""
    place = target.resolve()
    places = {listing.root, *{item.path.parent for item in listing.items}}
    if inside := next((path for path in sorted(places) if path.resolve().is_relative_to(place)), None):
        raise PrepareError(
            f"the source {inside} lies in {target}, which would be replaced: give the dataset another name with --name"
        )
    if target.exists() and not (target / record.RECORD).is_file() and (not target.is_dir() or any(target.iterdir())):
        raise PrepareError(f"{target} is there already and was not made by data_preparation.py: move it out of the way")


def _folder_names(classes: tuple[str, ...]) -> dict[str, str]:
    """A safe folder name for each class: the class's own wherever it is one on every system.

    Raises:
        PrepareError: two classes would share a folder, or a name is too long for a file's.
    """
    names: dict[str, str] = {}
    for name in classes:
        safe = re.sub(r'[\x00-\x1f\x7f<>:"/\\|?*\ud800-\udfff]', "_", name).strip(" .") or "_"
        twin = next((other for other, taken in names.items() if taken.casefold() == safe.casefold()), None)
        if twin:
            raise PrepareError(f"the classes {twin!r} and {name!r} would share the folder {safe!r}: rename one")
        if (size := len(safe.encode())) > LONGEST:
            raise PrepareError(
                f"the class name {name[:40]!r}... has {size} bytes, and at most {LONGEST} can be part of a file's "
                "name: rename the folder or label"
            )
        names[name] = safe
    return names


def _check_filled(listing: Listing, photos: list[Candidate], left_out: list[tuple[Item, str]]) -> None:
    """Every class still has photos.

    Raises:
        PrepareError: one has none; the message gives the reason why its first photo was left out.
    """
    full = {photo.item.class_ for photo in photos}
    for name in listing.classes:
        if name not in full:
            why = next(
                (f"{_shown(item.path, listing)}: {reason}" for item, reason in left_out if item.class_ == name), ""
            )
            raise PrepareError(f"class {name!r} has no usable photo ({why or 'none'}): add photos or remove the class")


def _rows(photos: list[Candidate], classes: list[str], splits: list[str], groups: np.ndarray) -> list[Photo]:
    """The manifest's rows: the photos under their new names, numbered over the class from 1."""
    digits = {name: max(DIGITS, len(str(count))) for name, count in Counter(classes).items()}
    number: Counter[str] = Counter()
    rows: list[Photo] = []
    for photo, name, place, group in zip(photos, classes, splits, groups.tolist(), strict=True):
        number[name] += 1
        path = f"{place}/{name}/{name}{number[name]:0{digits[name]}d}{photo.file.extension}"
        rows.append(Photo(path, name, place, photo.file.sha256, photo.file.width, photo.file.height, group))
    return rows


def _shown(path: Path, listing: Listing) -> str:
    """A file's name below the source as it can be printed and stored, also where it is not UTF-8."""
    return os.path.relpath(path, listing.root).encode("utf-8", "backslashreplace").decode()


def _converted(photos: list[Candidate], listing: Listing) -> dict[str, list[str]]:
    """By conversion, in their order, the files that need it."""
    paths = {name: [_shown(p.item.path, listing) for p in photos if name in p.file.conversions] for name in CONVERSIONS}
    return {name: some for name, some in paths.items() if some}


def _conflicts(rows: list[Photo], alike: np.ndarray) -> list[list[str]]:
    """The groups of twins whose photos have more than one label."""
    groups: dict[int, list[Photo]] = defaultdict(list)
    for photo, group in zip(rows, alike.tolist(), strict=True):
        groups[group].append(photo)
    return [[p.path for p in group] for group in groups.values() if len({p.class_ for p in group}) > 1]


def _swap(part: Path, target: Path) -> None:
    """Put the new dataset in the old one's place; two renames, so no reader meets a mixture."""
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
