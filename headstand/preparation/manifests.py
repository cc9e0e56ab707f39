"""Export of one file list per split, for programs that read a list of files instead of folders.

The formats are CSV, and JSON Lines in the form of SageMaker's augmented manifests, as its labelling jobs write them for
image classification (https://docs.aws.amazon.com/sagemaker/latest/dg/sms-data-output.html).
"""

import csv
import io
import json
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from headstand import files, recipe
from headstand.preparation import manifest, upload
from headstand.preparation.manifest import SPLITS, Dataset

FOLDER = "manifests"


def run(name: str, overrides: Sequence[str], prefix: str | None, destination: str | None) -> None:
    """Writes the file lists of a recipe's dataset, prints their paths, and optionally uploads the dataset to S3.

    Args:
        name: name of the recipe.
        overrides: keys of the recipe as command-line arguments.
        prefix: address of the dataset in S3, `s3://BUCKET/KEY`; None if it is not there.
        destination: address to upload it to, which is the prefix too; None for no upload.

    Raises:
        HeadstandError: there is no such recipe or dataset, the address is invalid, or the upload fails.
    """
    address = destination or prefix
    location = upload.S3Location.of(address) if address else None
    dataset = manifest.read(recipe.load(name, list(overrides)).data)
    lists = write(dataset, location)
    for path in lists:
        print(path)
    if location is None:
        print("SageMaker's augmented manifests need the dataset's address: --prefix s3://BUCKET/KEY")
    elif destination:
        print(upload.upload(dataset, location, lists))


def write(dataset: Dataset, location: upload.S3Location | None = None) -> list[Path]:
    """Writes `manifests/SPLIT.csv` into the dataset's folder and, if `location` is given, `manifests/SPLIT.jsonl`.

    The columns of the CSV are `path`, `label` and `index`. `path` is the S3 address if `location` is given, otherwise
    relative to the CSV's folder, so that the source `table` can read it. `index` is the class index in
    `dataset.classes`. Each JSON line has the keys `source-ref`, `class` (the class index) and `class-metadata`.

    Args:
        dataset: the prepared dataset.
        location: current or future location of the dataset in S3.

    Returns:
        The paths of the files.
    """
    folder = dataset.folder / FOLDER
    folder.mkdir(exist_ok=True)
    # The date of the labels instead of today's gives identical files for the same dataset, so an upload can skip them.
    created = datetime.fromtimestamp((dataset.folder / "manifest.csv").stat().st_mtime, UTC)
    paths = []
    for split in SPLITS:
        texts = {".csv": _table(dataset, split, location)}
        if location:
            texts[".jsonl"] = _lines(dataset, split, location, created)
        else:
            (folder / f"{split}.jsonl").unlink(missing_ok=True)  # from an earlier run with another address or photos
        for suffix, text in texts.items():
            path = folder / f"{split}{suffix}"
            paths.append(files.write(path, text))
    return paths


def _table(dataset: Dataset, split: str, location: upload.S3Location | None) -> str:
    out = io.StringIO()
    table = csv.writer(out, lineterminator="\n")
    table.writerow(["path", "label", "index"])
    index = {name: number for number, name in enumerate(dataset.classes)}
    for photo in dataset.split(split):
        path = location.address(photo.path) if location else f"../{photo.path}"
        table.writerow([path, photo.class_, index[photo.class_]])
    return out.getvalue()


def _lines(dataset: Dataset, split: str, location: upload.S3Location, created: datetime) -> str:
    lines = []
    index = {name: number for number, name in enumerate(dataset.classes)}
    for photo in dataset.split(split):
        metadata = {
            "class-name": photo.class_,
            "confidence": 1.0,
            "type": "groundtruth/image-classification",
            "job-name": f"headstand/{dataset.folder.name}",
            "human-annotated": "yes",
            "creation-date": created.strftime("%Y-%m-%dT%H:%M:%S.%f"),
        }
        line = {"source-ref": location.address(photo.path), "class": index[photo.class_], "class-metadata": metadata}
        lines.append(json.dumps(line, ensure_ascii=False) + "\n")
    return "".join(lines)
