"""From a source to a prepared dataset: `data/<recipe>/{train,validation,test}/<class>/` and its manifest."""

import hashlib
import json
import os
import re
import shutil
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from headstand.errors import HeadstandError
from headstand.prepare import folder, manifest, split, twins
from headstand.prepare.manifest import Dataset, Photo
from headstand.prepare.scan import Candidate, scan
from headstand.prepare.summary import Summary, counts
from headstand.recipe import Recipe

VERSION = 1
"""Version of what preparation makes of a source; a new value makes all datasets anew."""

RECORD = "prepared.json"

DIGITS = 4
"""Fewest digits of a photo's number."""


class PrepareError(HeadstandError):
    """A dataset's folder that cannot be replaced, or class names that cannot be folders."""


def prepare(recipe: Recipe) -> Summary:
    """Make the recipe's dataset, unless it is there and neither source nor settings have changed.

    Files are copied byte for byte and the source is only read. The dataset is built beside its place and moved there
    when whole, so an interrupted run leaves the old one, or none.

    Raises:
        HeadstandError: a source that cannot be fetched or has no classes, too few photos, a folder in the way.
    """
    seconds: dict[str, float] = {}
    target = recipe.data
    with _timed(seconds, "source"):
        listing = folder.listing(_fetch(recipe))
        apart = _apart(recipe)
        state = _state(recipe, listing, apart)
    if (kept := _kept(target, state)) is not None:
        return kept
    _check_replaceable(target, listing.root)
    names = _folder_names(listing.classes)
    with _timed(seconds, "reading"):
        photos, unreadable = scan(listing.photos)
    left_out = [(path.relative_to(listing.root), reason) for path, reason in unreadable]
    with _timed(seconds, "twins"):
        photos, near = _without_twins(photos, apart)
        left_out += [(photo.path.relative_to(listing.root), reason) for photo, reason in near]
        _check_filled(listing, photos, left_out)
        groups = twins.groups([photo.signature for photo in photos], [photo.sha256 for photo in photos])
    with _timed(seconds, "split"):
        classes = [names[photo.class_] for photo in photos]
        splits = split.divide(classes, [photo.sha256 for photo in photos], groups, recipe.split, recipe.seed)
    part = target.with_name(f".{target.name}.part")
    try:
        with _timed(seconds, "copying"):
            shutil.rmtree(part, ignore_errors=True)
            dataset = _copy(photos, classes, splits, groups, part)
        sizes = np.bincount(groups)
        summary = Summary(
            folder=target,
            counts=counts(dataset),
            groups=int((sizes > 1).sum()),
            twins=int(sizes[sizes > 1].sum()),
            largest=int(sizes.max()),
            straddling=split.straddling(groups, splits),
            conflicts=_conflicts(dataset),
            left_out=[(_shown(path), reason) for path, reason in left_out],
            ignored=listing.ignored,
            links=listing.links,
            seconds=seconds,
        )
        record = {"state": state, "manifest": dataset.digest, "summary": {**asdict(summary), "folder": str(target)}}
        (part / RECORD).write_text(json.dumps(record, indent=1), encoding="utf-8")
        manifest.write(dataset)
        _swap(part, target)
    finally:
        shutil.rmtree(part, ignore_errors=True)
    return summary


def _fetch(recipe: Recipe) -> Path:
    """The source's folder; each kind's module is loaded only when it is asked for."""
    if recipe.source.kind == "kaggle":
        from headstand.prepare import kaggle

        return kaggle.fetch(recipe.source, recipe.seed)
    if recipe.source.kind == "rendered":
        from headstand.prepare import rendered

        return rendered.fetch(recipe.source, recipe.seed)
    return folder.fetch(recipe.source, recipe.seed)


def _apart(recipe: Recipe) -> dict[str, Dataset]:
    """The datasets whose validation and test photos must have no twin here.

    Raises:
        ManifestError: one is not prepared; the message names the command.
    """
    return {name: manifest.read(recipe.data.with_name(name)) for name in recipe.split.keep_apart}


def _state(recipe: Recipe, listing: folder.Listing, apart: dict[str, Dataset]) -> dict[str, Any]:
    """All that the result depends on; the source by its files' names, sizes and times, which are quick to read."""
    source = hashlib.sha256()
    for class_, path in listing.photos:
        status = path.stat()
        line = f"{class_}\0{path.relative_to(listing.root)}\0{status.st_size}\0{status.st_mtime_ns}\n"
        source.update(os.fsencode(line))
    return {
        "version": VERSION,
        "seed": recipe.seed,
        "split": recipe.split.model_dump(mode="json"),
        "source": source.hexdigest(),
        "apart": {name: dataset.digest for name, dataset in apart.items()},
    }


def _kept(target: Path, state: dict[str, Any]) -> Summary | None:
    """The summary of the dataset that is there, if it is this one, with its manifest and photos as they were made."""
    try:
        record = json.loads((target / RECORD).read_text(encoding="utf-8"))
        dataset = manifest.read(target)
        if record["state"] != state or record["manifest"] != dataset.digest:
            return None
        with ThreadPoolExecutor() as pool:
            if not all(pool.map(lambda photo: _digest(target / photo.path) == photo.sha256, dataset.photos)):
                return None
        summary = Summary(**record["summary"])
        left_out = [(file, reason) for file, reason in summary.left_out]  # JSON has no tuples
    except (OSError, ValueError, KeyError, TypeError, HeadstandError):
        return None
    return replace(summary, folder=target, left_out=left_out, made=False)


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _check_replaceable(target: Path, source: Path) -> None:
    """Refuse to replace what this program did not make, and what it is to read."""
    if source.resolve().is_relative_to(target.resolve()):
        raise PrepareError(
            f"the source {source} lies in {target}, which would be replaced: give the dataset another name with --name"
        )
    if target.exists() and not (target / RECORD).is_file() and (not target.is_dir() or any(target.iterdir())):
        raise PrepareError(f"{target} is there already and was not made by data_preparation.py: move it out of the way")


def _folder_names(classes: tuple[str, ...]) -> dict[str, str]:
    """A safe folder name for each class: the class's own wherever it is one on every system.

    Raises:
        PrepareError: two classes would share a folder.
    """
    names: dict[str, str] = {}
    for name in classes:
        safe = re.sub(r'[\x00-\x1f\x7f<>:"/\\|?*\ud800-\udfff]', "_", name).strip(" .") or "_"
        twin = next((other for other, taken in names.items() if taken.casefold() == safe.casefold()), None)
        if twin:
            raise PrepareError(f"the classes {twin!r} and {name!r} would share the folder {safe!r}: rename one")
        names[name] = safe
    return names


def _without_twins(
    photos: list[Candidate], apart: dict[str, Dataset]
) -> tuple[list[Candidate], list[tuple[Candidate, str]]]:
    """Leave out the photos that have a twin among the validation and test photos of other datasets."""
    near: list[tuple[Candidate, str]] = []
    for name, dataset in apart.items():
        examined = [*dataset.split("validation"), *dataset.split("test")]
        digests = {photo.sha256 for photo in examined}
        theirs = twins.signatures([dataset.folder / photo.path for photo in examined])
        alike = twins.twins_of_any([photo.signature for photo in photos], theirs)
        close = [bool(twin) or photo.sha256 in digests for photo, twin in zip(photos, alike, strict=True)]
        reason = f"twins of validation or test photos of {name}"
        near += [(photo, reason) for photo, out in zip(photos, close, strict=True) if out]
        photos = [photo for photo, out in zip(photos, close, strict=True) if not out]
    return photos, near


def _check_filled(listing: folder.Listing, photos: list[Candidate], left_out: list[tuple[Path, str]]) -> None:
    """Every class still has photos.

    Raises:
        PrepareError: one has none; the message gives the reason why its first photo was left out.
    """
    full = {photo.class_ for photo in photos}
    for name in listing.classes:
        if name not in full:
            path, reason = next((path, reason) for path, reason in left_out if path.parts[0] == name)
            raise PrepareError(
                f"class {name!r} has no usable photo ({_shown(path)}: {reason}): add photos or remove the class"
            )


def _copy(photos: list[Candidate], classes: list[str], splits: list[str], groups: np.ndarray, part: Path) -> Dataset:
    """Copy the photos under their new names, numbered over the class from 1."""
    digits = {name: max(DIGITS, len(str(count))) for name, count in Counter(classes).items()}
    number: Counter[str] = Counter()
    rows: list[Photo] = []
    work = list(zip(photos, classes, splits, groups.tolist(), strict=True))
    for photo, name, place, group in tqdm(work, "copying", unit="photo", leave=False, disable=not sys.stderr.isatty()):
        number[name] += 1
        path = Path(place, name, f"{name}{number[name]:0{digits[name]}d}{photo.extension}")
        (part / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(photo.path, part / path)
        rows.append(Photo(path.as_posix(), name, place, photo.sha256, photo.width, photo.height, group))
    return Dataset(part, tuple(rows))


def _shown(path: Path) -> str:
    """A file's name as it can be printed and stored, also where it is not UTF-8."""
    return str(path).encode("utf-8", "backslashreplace").decode()


def _conflicts(dataset: Dataset) -> list[list[str]]:
    """The groups of twins whose photos have more than one label."""
    groups: dict[int, list[Photo]] = defaultdict(list)
    for photo in dataset.photos:
        groups[photo.group].append(photo)
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
