from pathlib import Path

import numpy as np
import pytest

from headstand import images
from headstand.features import FeatureError, decoding
from headstand.inputs import PhotoInput
from headstand.prepare.manifest import Dataset
from headstand.recipe import Augmentation


def test_jobs_of_one_photo_stay_together_up_to_a_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decoding, "BATCH", 3)
    jobs = [(Path(name), place, None) for place, name in enumerate("aaaabbc")]
    assert [[place for _, place, _ in group] for group in decoding.grouped(jobs)] == [[0, 1, 2], [3], [4, 5], [6]]
    assert list(decoding.grouped([])) == []


def test_batches_hold_each_photo_once_and_the_last_is_short(dataset: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decoding, "BATCH", 5)
    paths = [dataset.folder / photo.path for photo in dataset.split("test")]
    jobs = iter([[(path, place, None)] for place, path in enumerate(paths)])
    batches = list(decoding.decoded(jobs, PhotoInput(16), Augmentation()))
    assert [len(places) for places, _ in batches] == [5, 5, 2]
    for places, pixels in batches:
        assert (pixels.shape[1:], pixels.dtype) == ((16, 16, 3), np.uint8)
        for place, picture in zip(places, pixels, strict=True):
            np.testing.assert_array_equal(picture, images.decode(paths[place], 16))


def test_a_damaged_photo_is_named(tmp_path: Path) -> None:
    path = tmp_path / "short.jpg"
    path.write_bytes(b"none")
    with pytest.raises(FeatureError, match=r"short\.jpg: .*; take it out of the source and prepare again"):
        list(decoding.decoded(iter([[(path, 0, None)]]), PhotoInput(16), Augmentation()))
