import csv
from pathlib import Path

import pytest

from headstand.preparation.manifest import Dataset
from headstand.preparation.sources.layout import FolderError
from headstand.scale.sagemaker import channels
from headstand.scale.sagemaker.job_folders import JobError


def folders(dataset: Dataset) -> dict[str, Path]:
    return {split: dataset.folder.absolute() / split for split in ("train", "validation", "test")}


def test_channels_are_found_by_the_names_of_splits(tmp_path: Path) -> None:
    variables = {
        "SM_CHANNEL_VALIDATION": str(tmp_path / "v"),
        "SM_CHANNEL_TRAINING": str(tmp_path / "t"),
        "SM_CHANNEL_TEST": str(tmp_path / "e"),
        "SM_CHANNEL_WEIGHTS": "/w",
        "SM_CHANNELS": "[]",
        "OTHER": "x",
    }
    found = {"train": tmp_path / "t", "validation": tmp_path / "v", "test": tmp_path / "e"}
    assert channels.splits(variables) == found
    assert channels.splits({"SM_CHANNEL_WEIGHTS": "/w"}) == {}


@pytest.mark.parametrize(
    ("variables", "message"),
    [
        (("TRAIN", "TRAINING"), "two channels hold photos for train"),
        (("VALIDATION", "TEST"), "a channel for test and validation and none for training"),
    ],
)
def test_channels_that_do_not_go_together_are_told(variables: tuple[str, ...], message: str) -> None:
    with pytest.raises(JobError, match=message):
        channels.splits({f"SM_CHANNEL_{name}": name for name in variables})


def test_the_training_channel_alone_is_a_folder_that_the_recipe_splits(dataset: Dataset, tmp_path: Path) -> None:
    train = folders(dataset)["train"]
    assert channels.source({"train": train}, tmp_path / "t.csv") == {
        "HEADSTAND_SOURCE__KIND": "folder",
        "HEADSTAND_SOURCE__FOLDER": str(train),
    }
    assert channels.source({}, tmp_path / "t.csv") == {}
    assert not (tmp_path / "t.csv").exists()


def test_several_channels_are_a_table_of_all_photos_with_their_splits(dataset: Dataset, tmp_path: Path) -> None:
    table = tmp_path / "work" / "channels.csv"
    found = channels.source(folders(dataset), table)
    assert found == {"HEADSTAND_SOURCE__KIND": "table", "HEADSTAND_SOURCE__TABLE": str(table)}
    with table.open(newline="") as file:
        rows = [(row["path"], row["label"], row["split"]) for row in csv.DictReader(file)]
    assert sorted(rows) == sorted(
        (str(dataset.folder.absolute() / photo.path), photo.class_, photo.split) for photo in dataset.photos
    )


def test_a_channel_without_class_folders_or_with_splits_of_its_own_is_told(dataset: Dataset, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(FolderError, match="empty"):
        channels.source({**folders(dataset), "test": tmp_path / "empty"}, tmp_path / "t.csv")
    (dataset.folder / "manifest.csv").unlink()
    with pytest.raises(JobError, match="the channel shapes is divided into splits itself"):
        both = {"train": dataset.folder.absolute(), "validation": folders(dataset)["validation"]}
        channels.source(both, tmp_path / "t.csv")


def test_a_prepared_dataset_is_known_by_its_manifest(dataset: Dataset) -> None:
    assert channels.prepared({"train": dataset.folder}) == dataset.folder
    assert channels.prepared({"train": folders(dataset)["train"]}) is None
    assert channels.prepared({}) is None
    with pytest.raises(JobError, match="holds a prepared dataset, with validation inside"):
        channels.prepared({"train": dataset.folder, "validation": folders(dataset)["validation"]})
