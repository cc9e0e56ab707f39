import shutil
from pathlib import Path

import numpy as np
import pytest

from headstand.export import photo_samples
from headstand.export.photo_samples import PhotoSample, PhotoSampleError
from headstand.heads import checkpoint
from headstand.preparation.manifest import Dataset
from tests import photos


def test_a_checkpoints_own_splits(model: Path, dataset: Dataset) -> None:
    found = photo_samples.prepared(checkpoint.metadata(model))
    for sample, split in ((found.calibration, "train"), (found.choosing, "validation"), (found.certifying, "test")):
        assert sample.name == split
        assert sample.paths == tuple(dataset.folder / photo.path for photo in dataset.split(split))
        assert sample.labels is not None
        assert [photos.CLASSES[label] for label in sample.labels] == [p.class_ for p in dataset.split(split)]
    assert (found.trained_on_choosing, found.trained_on_certifying) == (False, False)


def many(folder: Path, flat: bool = False) -> int:
    """Thirty photos, and two that are no photos."""
    rng = np.random.default_rng(5)
    for number in range(30):
        path = folder / ("" if flat else photos.CLASSES[number % 3]) / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        photos.picture(number, rng).save(path)
    (folder / "notes.txt").write_text("none")
    return 30


def split(found: photo_samples.ParitySamples) -> list[PhotoSample]:
    return [found.calibration, found.choosing, found.certifying]


def test_a_folder_is_split_into_three_samples(tmp_path: Path) -> None:
    count = many(tmp_path)
    parts = split(photo_samples.folder(tmp_path, photos.CLASSES))
    paths = [path for part in parts for path in part.paths]
    assert len(paths) == len(set(paths)) == count
    assert min(len(part.paths) for part in parts) >= 4
    for part in parts:
        assert part.labels is not None
        assert [photos.CLASSES[label] for label in part.labels] == [path.parent.name for path in part.paths]


def test_copies_stay_together_and_names_do_not_count(tmp_path: Path) -> None:
    many(tmp_path / "one")
    before = [
        {path.name for path in part.paths} for part in split(photo_samples.folder(tmp_path / "one", photos.CLASSES))
    ]
    shutil.copy(tmp_path / "one/circle/0.png", tmp_path / "one/cross/copy.png")
    shutil.move(tmp_path / "one", tmp_path / "elsewhere")
    after = [
        {p.name for p in part.paths} for part in split(photo_samples.folder(tmp_path / "elsewhere", photos.CLASSES))
    ]
    assert [names - {"copy.png"} for names in after] == before
    assert [("copy.png" in names) for names in after] == [("0.png" in names) for names in after]


def test_photos_alone_have_no_classes(tmp_path: Path) -> None:
    many(tmp_path, flat=True)
    assert [part.labels for part in split(photo_samples.folder(tmp_path, photos.CLASSES))] == [None] * 3


def test_an_unsuitable_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(PhotoSampleError, match=r"there is no folder .*nowhere"):
        photo_samples.folder(tmp_path / "nowhere", photos.CLASSES)
    with pytest.raises(PhotoSampleError, match=r"holds 0 photos, too few .*: use 48 or more"):
        photo_samples.folder(tmp_path, photos.CLASSES)
    many(tmp_path)
    with pytest.raises(
        PhotoSampleError, match=r"holds the folder 'square'; name its folders like the labels \(circle, cross"
    ):
        photo_samples.folder(tmp_path, photos.CLASSES[:2])
    shutil.copy(tmp_path / "circle/0.png", tmp_path / "loose.png")
    with pytest.raises(PhotoSampleError, match="holds photos beside its folders"):
        photo_samples.folder(tmp_path, photos.CLASSES)
