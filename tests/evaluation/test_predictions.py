from dataclasses import replace

import numpy as np
import pytest

from headstand import images
from headstand.evaluation.predictions import class_indices, pixels, predict
from headstand.images import ImageError
from headstand.inputs import PhotoInput
from headstand.preparation.manifest import Dataset


def test_pixels_are_decoded_in_the_order_of_the_photos(dataset: Dataset) -> None:
    photos = dataset.split("test")[::-1]
    shown = pixels(dataset.folder, photos, 24)
    assert (shown.shape, shown.dtype) == ((12, 24, 24, 3), np.uint8)
    for picture, photo in zip(shown, photos, strict=True):
        np.testing.assert_array_equal(picture, images.decode(dataset.folder / photo.path, 24))


def test_a_damaged_photo_is_named(dataset: Dataset) -> None:
    photo = dataset.split("test")[5]
    (dataset.folder / photo.path).write_bytes(b"none")
    with pytest.raises(ImageError, match=f"{dataset.folder / photo.path}: the data is not an image") as excinfo:
        pixels(dataset.folder, dataset.split("test"), 24)
    assert excinfo.value.code == "not_an_image"


def test_labels_are_indices_in_natural_order(dataset: Dataset) -> None:
    photos = [replace(dataset.photos[0], class_=name) for name in ("pose10", "pose2", "pose2")]
    numbered = Dataset(dataset.folder, tuple(photos))
    assert class_indices(numbered, photos).tolist() == [1, 0, 0]


def test_predictions_are_in_the_order_of_the_split(dataset: Dataset) -> None:
    def mean(shown: np.ndarray) -> np.ndarray:
        return np.asarray(shown).mean(axis=(1, 2))

    expected = pixels(dataset.folder, dataset.split("train"), 16).mean(axis=(1, 2))
    np.testing.assert_allclose(predict(mean, dataset, "train", PhotoInput(16)), expected)
