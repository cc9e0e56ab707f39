"""Preparation record `prepared.json`: inputs and summary of a preparation, and the geometric matches that it found."""

import hashlib
import json
import os
import shlex
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from headstand import files, threads
from headstand.errors import HeadstandError
from headstand.preparation import manifest
from headstand.preparation.geometric_matches import MatchedPair
from headstand.preparation.listing import Listing
from headstand.preparation.manifest import Dataset
from headstand.preparation.summary import Summary
from headstand.recipe import Recipe, RecipeError, Source, locate, with_current_keys
from headstand.storage import is_remote

VERSION = 2
"""Version of the preparation; a new value causes all datasets to be prepared again."""

RECORD = "prepared.json"

_RENAMED = {
    "twins": "near_duplicates", "straddling": "in_several_splits", "made": "is_new", "likeness": "correlation",
    "apart": "disjoint_from",
}  # fmt: skip
"""Keys of earlier records that are called otherwise now."""


def state(recipe: Recipe, listing: Listing, others: dict[str, Dataset]) -> dict[str, Any]:
    """Returns everything that a preparation depends on, for detecting changes.

    The source is represented by a digest of the names, sizes and modification times of its files, which are quick to
    read.
    """
    source = hashlib.sha256()
    for item in listing.items:
        try:
            version = "{}\0{}".format(*files.state(item.path))
        except OSError:  # the scan leaves this file out
            version = "missing"
        path = os.path.relpath(item.path, listing.root)
        source.update(os.fsencode(f"{item.class_}\0{path}\0{item.group}\0{item.split}\0{version}\n"))
    return {
        "version": VERSION,
        "seed": recipe.seed,
        "split": recipe.split.model_dump(mode="json"),
        "source": source.hexdigest(),
        **({"large": True} if recipe.source.large else {}),
        "disjoint_from": {name: dataset.digest for name, dataset in others.items()},
    }


def write(
    dataset: Dataset,
    source: Source,
    inputs: dict[str, Any],
    summary: Summary,
    pairs: Sequence[MatchedPair] | None,
) -> None:
    """Writes the record into the dataset's folder.

    Args:
        dataset: the dataset as its manifest will list it.
        source: where its photos come from.
        inputs: result of `state`.
        summary: summary of the preparation.
        pairs: geometric matches, as indices of the manifest's rows; None if they were not searched.
    """
    record = {
        "source": located(source).model_dump(mode="json", exclude_defaults=True) | {"kind": source.kind},
        "state": inputs,
        "manifest": dataset.digest,
        "summary": {**asdict(summary), "folder": str(summary.folder)},
        "pairs": None if pairs is None else [asdict(pair) for pair in pairs],
    }
    (dataset.folder / RECORD).write_text(json.dumps(record, indent=1), encoding="utf-8")


def kept(folder: Path, inputs: dict[str, Any]) -> Summary | None:
    """Returns the summary of an existing dataset if its inputs and files are unchanged, otherwise None.

    Args:
        folder: the dataset's folder.
        inputs: result of `state`.
    """
    try:
        record = _read(folder)
        dataset = manifest.read(folder)
        if record["state"] != inputs or record["manifest"] != dataset.digest:
            return None
        digests = threads.parallel(lambda photo: files.digest(folder / photo.path), dataset.photos)
        if any(digest != photo.sha256 for digest, photo in zip(digests, dataset.photos, strict=True)):
            return None
        recorded = Summary(**record["summary"])
        left_out = [(file, reason) for file, reason in recorded.left_out]  # JSON has no tuples
    except (OSError, ValueError, KeyError, TypeError, HeadstandError):
        return None
    return replace(recorded, folder=folder, left_out=left_out, is_new=False)


def located(source: Source) -> Source:
    """Returns a source with absolute paths of its local files and folders."""
    paths = {}
    for key in ("folder", "table", "images", "annotations"):
        path = getattr(source, key)
        if path and not is_remote(path):
            with suppress(RecipeError):
                paths[key] = str(locate(path, "HEADSTAND_DATA").absolute())
    return source.model_copy(update=paths)


def source(folder: Path) -> Source | None:
    """Returns the source that a dataset was prepared from; None if an earlier version prepared it, or nothing did."""
    try:
        return Source.model_validate(_read(folder)["source"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def check_options(recipe: Recipe, overrides: Sequence[str]) -> None:
    """Checks that options of the source and the split are those of the prepared dataset, which training uses as it is.

    Args:
        recipe: the recipe with the options.
        overrides: its keys from the command line, each with its value.

    Raises:
        HeadstandError: the dataset was prepared with others.
    """
    try:
        split = _read(recipe.data)["state"]["split"]
    except (OSError, ValueError, KeyError, TypeError):
        return
    before = source(recipe.data)
    others = {
        "--source": before is not None and before.location != located(recipe.source).location,
        "--split": split != recipe.split.model_dump(mode="json"),
    }
    for section, other in others.items():
        options = [
            part
            for key, value in zip(overrides[::2], overrides[1::2], strict=True)
            if key.startswith(section)
            for part in (key, value)
        ]
        if other and options:
            again = manifest.preparing(recipe.data) if section == "--split" else "python data_preparation.py NAME"
            raise HeadstandError(
                f"{recipe.data} was prepared without {shlex.join(options)}, which has no effect on training: prepare "
                f"it with this option first, `{again} {shlex.join(options)}`"
            )


def with_source(recipe: Recipe) -> Recipe:
    """Returns a recipe with the source that its dataset was prepared from, which the command line may have named."""
    recorded = source(recipe.data)
    return recipe.model_copy(update={"source": recorded}) if recorded else recipe


def summary(folder: Path) -> dict[str, Any]:
    """Returns the recorded summary as a dictionary with the attributes of `Summary`; empty if there is no record."""
    try:
        return dict(_read(folder)["summary"])
    except (OSError, ValueError, KeyError, TypeError):
        return {}


def pairs(dataset: Dataset) -> list[MatchedPair] | None:
    """Returns the recorded geometric matches, as indices of the manifest's rows.

    Returns None if they were not searched or the record belongs to another manifest.
    """
    try:
        record = _read(dataset.folder)
        if record["manifest"] != dataset.digest:
            return None
        found = [MatchedPair(**pair) for pair in record["pairs"]]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return found


def _read(folder: Path) -> dict[str, Any]:
    """Reads a record, also one with the keys of an earlier version."""
    record = dict(json.loads((folder / RECORD).read_text(encoding="utf-8")))
    pairs = record.get("pairs")
    return record | {
        "state": _renamed(with_current_keys(record.get("state", {}))),
        "summary": _renamed(record["summary"]),
        "pairs": pairs and [_renamed(pair) for pair in pairs],
    }


def _renamed(values: dict[str, Any]) -> dict[str, Any]:
    return {_RENAMED.get(key, key): value for key, value in dict(values).items()}
