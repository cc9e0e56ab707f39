import hashlib
from pathlib import Path

import numpy as np
import pytest

from headstand import images
from headstand.features import FeatureError, decoding, digest
from headstand.inputs import PhotoInput
from headstand.preparation.manifest import Dataset
from headstand.recipe import Augmentation


def test_jobs_of_one_photo_stay_together_up_to_a_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decoding, "BATCH", 3)
    jobs = [(Path(name), index, None) for index, name in enumerate("aaaabbc")]
    assert [[index for _, index, _ in group] for group in decoding.grouped(jobs)] == [[0, 1, 2], [3], [4, 5], [6]]
    assert list(decoding.grouped([])) == []


def test_batches_hold_each_photo_once_and_the_last_is_short(dataset: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decoding, "BATCH", 5)
    paths = [dataset.folder / photo.path for photo in dataset.split("test")]
    jobs = iter([[(path, index, None)] for index, path in enumerate(paths)])
    batches = list(decoding.decoded(jobs, PhotoInput(16), Augmentation()))
    assert [len(indices) for indices, _ in batches] == [5, 5, 2]
    for indices, pixels in batches:
        assert (pixels.shape[1:], pixels.dtype) == ((16, 16, 3), np.uint8)
        for index, array in zip(indices, pixels, strict=True):
            np.testing.assert_array_equal(array, images.decode(paths[index], 16))


def test_a_damaged_photo_is_named(tmp_path: Path) -> None:
    path = tmp_path / "short.jpg"
    path.write_bytes(b"none")
    with pytest.raises(FeatureError, match=r"short\.jpg: .*; take it out of the source and prepare again"):
        list(decoding.decoded(iter([[(path, 0, None)]]), PhotoInput(16), Augmentation()))


def test_digest_is_that_of_the_bytes(dataset: Dataset) -> None:
    photo = dataset.photos[3]
    assert digest(dataset.folder, photo) == hashlib.sha256((dataset.folder / photo.path).read_bytes()).digest()
    assert digest(dataset.folder, photo).hex() == photo.sha256


def test_changed_or_missing_file_is_reported_with_the_remedy(dataset: Dataset) -> None:
    photo, path = dataset.photos[3], dataset.folder / dataset.photos[3].path
    path.write_bytes(b"another")
    with pytest.raises(
        FeatureError, match="is not the file that was prepared: run `python -m headstand explore PHOTOS --name shapes`"
    ):
        digest(dataset.folder, photo)
    path.unlink()
    with pytest.raises(
        FeatureError, match=r"cannot read .*No such file or directory.*headstand explore PHOTOS --name shapes`"
    ):
        digest(dataset.folder, photo)
