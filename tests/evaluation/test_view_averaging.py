import numpy as np
import pytest
import tensorflow as tf

from headstand import images
from headstand.evaluation.view_averaging import averaged
from headstand.inputs import PhotoInput
from headstand.preparation.manifest import Dataset


def colours(batches: list[np.ndarray], pixels: tf.Tensor) -> tf.Tensor:
    """Stands for a model: the colour of the upper left pixel, as probabilities."""
    batches.append(pixels.numpy())
    corner = pixels.numpy()[:, 0, 0].astype(np.float32) + 1
    return tf.constant(corner / corner.sum(axis=1, keepdims=True))


def decoded(dataset: Dataset, size: int) -> np.ndarray:
    return np.stack([images.decode(dataset.folder / photo.path, size) for photo in dataset.split("test")])


def mean(dataset: Dataset, corners: list[np.ndarray]) -> np.ndarray:
    return np.mean([(one + 1.0) / (one + 1.0).sum(axis=1, keepdims=True) for one in corners], axis=0)


@pytest.mark.parametrize("batch", [5, 32])
def test_mirror_is_the_mean_over_the_photo_and_its_mirror_image(
    dataset: Dataset, batch: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("headstand.evaluation.view_averaging.BATCH", batch)
    batches: list[np.ndarray] = []
    found = averaged(lambda pixels: colours(batches, pixels), dataset, "test", PhotoInput(28), "mirror")
    decoded_photos = decoded(dataset, 28)
    assert found.shape == (12, 3)
    np.testing.assert_allclose(found, mean(dataset, [decoded_photos[:, 0, 0], decoded_photos[:, 0, -1]]), atol=1e-6)
    assert all(one.shape[1:] == (28, 28, 3) and one.dtype == np.uint8 for one in batches)


def test_crops_are_the_corners_the_middle_and_their_mirror_images(dataset: Dataset) -> None:
    batches: list[np.ndarray] = []
    found = averaged(lambda pixels: colours(batches, pixels), dataset, "test", PhotoInput(28), "crops")
    decoded_photos = decoded(dataset, 32)
    assert len(batches) == 10
    tops = [0, 0, 4, 4, 2]
    lefts = [0, 4, 0, 4, 2]
    corners = [decoded_photos[:, top, left] for top, left in zip(tops, lefts, strict=True)]
    corners += [decoded_photos[:, top, left + 27] for top, left in zip(tops, lefts, strict=True)]
    np.testing.assert_allclose(found, mean(dataset, corners), atol=1e-6)
