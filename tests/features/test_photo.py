import hashlib

import pytest

from headstand.features import FeatureError, digest
from headstand.prepare.manifest import Dataset


def test_the_digest_is_that_of_the_bytes(dataset: Dataset) -> None:
    photo = dataset.photos[3]
    assert digest(dataset.folder, photo) == hashlib.sha256((dataset.folder / photo.path).read_bytes()).digest()
    assert digest(dataset.folder, photo).hex() == photo.sha256


def test_a_file_that_changed_or_went_is_named_with_the_remedy(dataset: Dataset) -> None:
    photo, path = dataset.photos[3], dataset.folder / dataset.photos[3].path
    path.write_bytes(b"another")
    with pytest.raises(FeatureError, match="is not the file that was prepared: run `python data_prep"):
        digest(dataset.folder, photo)
    path.unlink()
    with pytest.raises(FeatureError, match=r"cannot read .*No such file or directory.*data_preparation"):
        digest(dataset.folder, photo)
