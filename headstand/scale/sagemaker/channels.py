"""Converts the input channels of a training job to the recipe's source."""

import csv
from collections.abc import Mapping
from pathlib import Path

from headstand.preparation.listing import SPLIT_NAMES
from headstand.preparation.sources.folder import class_folders
from headstand.scale.sagemaker.job_folders import JobError

_CHANNEL = "SM_CHANNEL_"

WEIGHTS = "WEIGHTS"
"""Channel with the weights that a recipe names; it becomes `HEADSTAND_WEIGHTS` in a job."""


def splits(environment: Mapping[str, str]) -> dict[str, Path]:
    """Returns the folder of each split: `SM_CHANNEL_TRAINING`, `SM_CHANNEL_VALIDATION`, `SM_CHANNEL_TEST`.

    Other channels are ignored.

    Raises:
        JobError: two channels for one split, or channels without a training one.
    """
    folders: dict[str, Path] = {}
    for variable, folder in sorted(environment.items()):
        split = SPLIT_NAMES.get(variable.removeprefix(_CHANNEL).lower()) if variable.startswith(_CHANNEL) else None
        if split in folders:
            raise JobError(f"two channels hold photos for {split}, {folders[split]} and {folder}: leave one out")
        if split:
            folders[split] = Path(folder).absolute()
    if folders and "train" not in folders:
        raise JobError(
            f"there is a channel for {' and '.join(folders)} and none for training: add the channel training"
        )
    return folders


def prepared(channels: Mapping[str, Path]) -> Path | None:
    """Returns the training channel if it holds a prepared dataset, else None.

    `python -m headstand manifests --upload` uploads a dataset in this form.

    Raises:
        JobError: there are other channels as well.
    """
    folder = channels.get("train")
    if folder is None or not (folder / "manifest.csv").is_file():
        return None
    if others := [name for name in channels if name != "train"]:
        raise JobError(
            f"the channel training holds a prepared dataset, with {' and '.join(others)} inside: "
            "leave the other channels out"
        )
    return folder


def source(channels: Mapping[str, Path], table: Path) -> dict[str, str]:
    """Returns environment variables that set the channels as the recipe's source; the command line overrides them.

    Args:
        channels: by split, folders with one subfolder per class. A single training channel is split by the recipe.
        table: path of the CSV file that lists the photos of several channels.

    Raises:
        FolderError: a channel has no class folders.
        JobError: a channel is divided into splits itself, and there are other channels.
    """
    if not channels:
        return {}
    if len(channels) == 1:
        return {"HEADSTAND_SOURCE__KIND": "folder", "HEADSTAND_SOURCE__FOLDER": str(channels["train"])}
    rows = []
    for split, folder in channels.items():
        for item in class_folders(folder).items:
            if item.split:
                raise JobError(f"the channel {folder.name} is divided into splits itself: leave the other channels out")
            rows.append((str(item.path), item.class_, split))
    table.parent.mkdir(parents=True, exist_ok=True)
    with table.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file, lineterminator="\n").writerows([("path", "label", "split"), *rows])
    return {"HEADSTAND_SOURCE__KIND": "table", "HEADSTAND_SOURCE__TABLE": str(table)}
