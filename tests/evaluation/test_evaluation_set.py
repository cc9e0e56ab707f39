import hashlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from headstand.errors import HeadstandError
from headstand.evaluation.evaluation_set import EvaluationSetError, of_dataset, of_folder
from headstand.heads.checkpoint import ModelMetadata
from headstand.preparation import manifest
from headstand.preparation.manifest import Dataset
from tests import networks
from tests.evaluation import colours

ABOUT = ModelMetadata("tiny", ("blue", "green", "red"), 32, "", "")


def test_a_split_of_the_own_dataset(dataset: Dataset) -> None:
    sample = of_dataset(dataset.folder, "test", networks.about(dataset.digest))
    assert sample.own
    assert sample.photos == dataset.split("test")
    assert [("circle", "cross", "square")[index] for index in sample.labels] == [p.class_ for p in sample.photos]
    assert str(sample) == "the test split of data/shapes"
    assert not of_dataset(dataset.folder, "validation", networks.about("0" * 64)).own


def test_labels_are_in_the_order_of_the_model(dataset: Dataset) -> None:
    about = replace(networks.about(), labels=("square", "sphere", "cross", "circle"))
    sample = of_dataset(dataset.folder, "test", about)
    assert [about.labels[index] for index in sample.labels] == [photo.class_ for photo in sample.photos]


def test_a_dataset_that_has_changed_is_an_error(dataset: Dataset) -> None:
    (dataset.folder / dataset.split("test")[3].path).write_bytes(b"another")
    with pytest.raises(HeadstandError, match="not the file that was prepared"):
        of_dataset(dataset.folder, "test", networks.about())
    manifest.write(Dataset(dataset.folder, dataset.split("train")))
    with pytest.raises(EvaluationSetError, match="no photos for test: prepare it again"):
        of_dataset(dataset.folder, "test", networks.about())


def test_a_folder_of_class_folders(workplace: Path) -> None:
    folder = colours.write(workplace / "photos", {"red/2.png": "red", "red/10.png": "blue", "blue/1.png": "blue"})
    (folder / "red/notes.txt").write_text("none")
    (folder / "red/short.png").write_bytes((folder / "red/2.png").read_bytes()[:60])
    sample = of_folder(folder, None, ABOUT)
    assert [photo.path for photo in sample.photos] == ["blue/1.png", "red/2.png", "red/10.png"]
    assert sample.labels.tolist() == [0, 2, 2]
    assert [name for name, _ in sample.left_out] == ["red/short.png"]
    first = sample.photos[0]
    assert (first.width, first.height) == (40, 30)
    assert first.sha256 == hashlib.sha256((folder / "blue/1.png").read_bytes()).hexdigest()
    assert (sample.own, sample.split, str(sample)) == (False, "", str(folder))
    assert len({photo.group for photo in sample.photos}) == 3


def test_a_folder_with_splits(workplace: Path) -> None:
    names = ["train/red/1.png", "valid/red/2.png", "test/red/3.png", "test/blue/4.png"]
    folder = colours.write(workplace / "photos", dict.fromkeys(names, "red"))
    assert [photo.path for photo in of_folder(folder, None, ABOUT).photos] == ["test/blue/4.png", "test/red/3.png"]
    sample = of_folder(folder, "validation", ABOUT)
    assert [photo.path for photo in sample.photos] == ["valid/red/2.png"]
    assert str(sample) == f"the validation split of {folder}"


def test_a_prepared_dataset_elsewhere(dataset: Dataset) -> None:
    sample = of_folder(dataset.folder, None, networks.about(dataset.digest))
    assert sample.photos == dataset.split("test")
    assert sample.own
    np.testing.assert_array_equal(
        of_folder(dataset.folder, "validation", networks.about()).labels,
        of_dataset(dataset.folder, "validation", networks.about()).labels,
    )


@pytest.mark.parametrize(
    ("photos", "split", "message"),
    [
        ({}, None, "contains no folders"),
        ({"red/1.txt": ""}, None, r"photos has no photos that can be used \(.jpg, "),
        ({"red/1.png": ""}, None, r"no photos that can be used; red/1.png: "),
        ({"red/1.png": "red"}, "test", "is not divided into splits: leave --split out"),
        ({"train/red/1.png": "red", "val/red/2.png": "red"}, None, "has no photos for test that can be used"),
        (
            {"Red/1.png": "red", "blue/2.png": "red"},
            None,
            r"photos of 'Red' \(did you mean red\?\), but the model's classes are 'blue', 'green', 'red': rename",
        ),
    ],
)
def test_unusable_photos_are_an_error(workplace: Path, photos: dict[str, str], split: str | None, message: str) -> None:
    folder = workplace / "photos"
    folder.mkdir()
    colours.write(folder, {name: colour for name, colour in photos.items() if colour})
    for name, colour in photos.items():
        if not colour:
            (folder / name).parent.mkdir(exist_ok=True)
            (folder / name).write_bytes(b"no photo")
    with pytest.raises(HeadstandError, match=message):
        of_folder(folder, split, ABOUT)


def test_a_missing_folder_is_an_error(workplace: Path) -> None:
    with pytest.raises(HeadstandError, match="there is no folder nowhere"):
        of_folder(Path("nowhere"), None, ABOUT)
