"""Command `predict`: classifies files, folders and URLs with a `.tflite`."""

import csv
import json
import sys
from collections.abc import Iterator
from pathlib import Path

from headstand.cli import models
from headstand.errors import HeadstandError
from headstand.images import ImageError
from headstand.prepare.sources.walk import walk
from headstand.serve.classifier import Classifier
from headstand.serve.download import fetch
from headstand.serve.download.errors import DownloadError

SHOWN = 3
"""Number of classes in a line of text."""


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
    table = csv.writer(sys.stdout, lineterminator="\n")
    labels = classifier.bundle.labels
    if form == "csv":
        table.writerow(["image", "class", "confident", "known", *labels, "error"])
    failed = count = 0
    for name in _names(images, classifier.bundle.input.suffixes):
        count += 1
        error = None
        try:
            data = fetch(name) if name.startswith(("http://", "https://")) else Path(name)
            prediction = classifier.predict(data)
        except (ImageError, DownloadError) as problem:
            error, failed = problem, failed + 1
        if error:
            if form == "csv":
                table.writerow([name, "", "", "", *[""] * len(labels), str(error)])
            elif form == "json":
                print(json.dumps({"image": name, "error": {"code": error.code, "message": str(error)}}), flush=True)
            else:
                print(f"{name}  error: {error}", flush=True)
            continue
        values = prediction.probabilities
        best = next(iter(values))
        if form == "csv":
            row = [f"{values[label]:.6f}" for label in labels]
            known = "" if prediction.known is None else str(prediction.known).lower()
            table.writerow([name, best, str(prediction.confident).lower(), known, *row, ""])
        elif form == "json":
            line = {"image": name, "confident": prediction.confident, "probabilities": values}
            print(json.dumps(line if prediction.known is None else {**line, "known": prediction.known}), flush=True)
        else:
            text = ", ".join(f"{label} {value:.3f}" for label, value in prediction.leading(SHOWN).items())
            notes = [] if prediction.confident else ["not confident"]
            if prediction.known is False:
                notes.append("unlike the training photos")
            print(name, "", text, *([f" ({'; '.join(notes)})"] if notes else []), flush=True)
    if failed:
        raise HeadstandError(f"{failed} of {count} images cannot be used")


def _names(images: tuple[str, ...], suffixes: tuple[str, ...]) -> Iterator[str]:
    """Yields the files and URLs, and the images in each folder and its subfolders.

    Raises:
        HeadstandError: a folder has no images.
    """
    for name in images:
        if not Path(name).is_dir():
            yield name
            continue
        files = sorted(path for path in walk(Path(name)).files if path.lower().endswith(suffixes))
        if not files:
            raise HeadstandError(f"{name} is a folder without images ({', '.join(suffixes)})")
        for file in files:
            yield str(Path(name) / file)
