"""`prepared.json`: what a dataset was made from, what its preparation told, and what need not be searched again."""

import hashlib
import json
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from headstand import files
from headstand.errors import HeadstandError
from headstand.prepare import manifest
from headstand.prepare.likely import Pair
from headstand.prepare.listing import Listing
from headstand.prepare.manifest import Dataset
from headstand.prepare.summary import Summary
from headstand.recipe import Recipe

VERSION = 2
"""Version of what preparation makes of a source; a new value makes all datasets anew."""

RECORD = "prepared.json"


def state(recipe: Recipe, listing: Listing, apart: dict[str, Dataset]) -> dict[str, Any]:
    """All that a preparation depends on; the source by its files' names, sizes and times, which are quick to read."""
    source = hashlib.sha256()
    for item in listing.items:
        try:
            status = item.path.stat()
            version = f"{status.st_size}\0{status.st_mtime_ns}"
        except OSError:  # it will be left out
            version = "missing"
        path = os.path.relpath(item.path, listing.root)
        source.update(os.fsencode(f"{item.class_}\0{path}\0{item.group}\0{item.split}\0{version}\n"))
    return {
        "version": VERSION,
        "seed": recipe.seed,
        "split": recipe.split.model_dump(mode="json"),
        "source": source.hexdigest(),
        **({"large": True} if recipe.source.large else {}),
        "apart": {name: dataset.digest for name, dataset in apart.items()},
    }


def write(dataset: Dataset, made_from: dict[str, Any], told: Summary, pairs: Sequence[Pair] | None) -> None:
    """Write the record into the dataset's folder.

    Args:
        dataset: as its manifest will list it.
        made_from: its `state`.
        told: its summary.
        pairs: the probable twins that were found, by places in the manifest; None where they were not searched.
    """
    record = {
        "state": made_from,
        "manifest": dataset.digest,
        "summary": {**asdict(told), "folder": str(told.folder)},
        "pairs": None if pairs is None else [asdict(pair) for pair in pairs],
    }
    (dataset.folder / RECORD).write_text(json.dumps(record, indent=1), encoding="utf-8")


def kept(folder: Path, made_from: dict[str, Any]) -> Summary | None:
    """The summary of the dataset that is there, if it is the one of this `state`, every photo as it was made."""
    try:
        record = _read(folder)
        dataset = manifest.read(folder)
        if record["state"] != made_from or record["manifest"] != dataset.digest:
            return None
        with ThreadPoolExecutor() as pool:
            if not all(pool.map(lambda photo: files.digest(folder / photo.path) == photo.sha256, dataset.photos)):
                return None
        told = Summary(**record["summary"])
        left_out = [(file, reason) for file, reason in told.left_out]  # JSON has no tuples
    except (OSError, ValueError, KeyError, TypeError, HeadstandError):
        return None
    return replace(told, folder=folder, left_out=left_out, made=False)


def summary(folder: Path) -> dict[str, Any]:
    """What the summary tells, by `Summary`'s names; empty for a dataset that was put together by hand."""
    try:
        return dict(_read(folder)["summary"])
    except (OSError, ValueError, KeyError, TypeError):
        return {}


def pairs(dataset: Dataset) -> list[Pair] | None:
    """The probable twins, by places in the manifest; None where they were not searched or are another manifest's."""
    try:
        record = _read(dataset.folder)
        if record["manifest"] != dataset.digest:
            return None
        found = [Pair(**pair) for pair in record["pairs"]]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return found


def _read(folder: Path) -> dict[str, Any]:
    return dict(json.loads((folder / RECORD).read_text(encoding="utf-8")))
