"""Classification of files and URLs at the command line, for the command `predict` and the script `predict.py`."""

import csv
import json
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from headstand.cli import models
from headstand.errors import ClientError, HeadstandError
from headstand.serve.classifier import Classifier, Prediction
from headstand.serve.download import fetch

SHOWN = 3
"""Number of classes in a line of text."""

Result = Prediction | ClientError
"""Prediction for an image, or the reason why it cannot be used."""


def predict(model: str, images: tuple[str, ...], form: str) -> None:
    """Prints a line for each image, in the order of the arguments and of the names in a folder.

    Args:
        model: as for `models.found`.
        images: files, folders and URLs.
        form: `text`, the highest probabilities; `csv`, a table with a column for each class; `json`, an object a line.

    Raises:
        HeadstandError: the model cannot be used, a folder has no images, or, at the end, an image cannot be used.
    """
    classifier = Classifier(models.found(model))
    labels = classifier.bundle.labels
    table = csv.writer(sys.stdout, lineterminator="\n")
    if form == "csv":
        table.writerow(["image", "class", "confident", "known", *labels, "error"])
    for name, result in results(classifier, _names(images, classifier.bundle.input.suffixes)):
        if form == "csv":
            table.writerow([name, *_columns(result, labels)])
        elif form == "json":
            print(json.dumps({"image": name, **_record(result)}), flush=True)
        else:
            print(_line(name, result), flush=True)


def results(classifier: Classifier, names: Iterable[str]) -> Iterator[tuple[str, Result]]:
    """Yields each file or URL with its prediction or error.

    Raises:
        HeadstandError: at the end, if any image cannot be used.
    """
    failed = count = 0
    for name in names:
        count += 1
        result: Result
        try:
            result = classifier.predict(fetch(name) if name.startswith(("http://", "https://")) else Path(name))
        except ClientError as error:
            failed += 1
            result = error
        yield name, result
    if failed:
        raise HeadstandError(f"{failed} of {count} images cannot be used")


def described(error: ClientError) -> dict[str, dict[str, str]]:
    """Returns an error as a JSON object with code and message."""
    return {"error": {"code": error.code, "message": str(error)}}


def _columns(result: Result, labels: tuple[str, ...]) -> list[str]:
    if not isinstance(result, Prediction):
        return ["", "", "", *[""] * len(labels), str(result)]
    values = result.probabilities
    known = "" if result.known is None else str(result.known).lower()
    return [next(iter(values)), str(result.confident).lower(), known, *(f"{values[label]:.6f}" for label in labels), ""]


def _record(result: Result) -> dict[str, Any]:
    if not isinstance(result, Prediction):
        return described(result)
    record = {"confident": result.confident, "probabilities": result.probabilities}
    return record if result.known is None else {**record, "known": result.known}


def _line(name: str, result: Result) -> str:
    if not isinstance(result, Prediction):
        return f"{name}  error: {result}"
    text = ", ".join(f"{label} {value:.3f}" for label, value in result.leading(SHOWN).items())
    notes = [] if result.confident else ["not confident"]
    notes += ["unlike the training photos"] if result.known is False else []
    return f"{name}  {text}" + (f"  ({'; '.join(notes)})" if notes else "")


def _names(images: tuple[str, ...], suffixes: tuple[str, ...]) -> Iterator[str]:
    """Yields the files and URLs, and the images in each folder and its subfolders.

    Raises:
        HeadstandError: a folder has no images.
    """
    from headstand.preparation.sources.walk import walk  # the containers, which have `predict.py`, lack this module

    for name in images:
        if not Path(name).is_dir():
            yield name
            continue
        files = sorted(path for path in walk(Path(name)).files if path.lower().endswith(suffixes))
        if not files:
            raise HeadstandError(f"{name} is a folder without images ({', '.join(suffixes)})")
        for file in files:
            yield str(Path(name) / file)
