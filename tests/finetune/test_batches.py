import threading
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from headstand import images
from headstand.evaluation.predictions import class_indices, decoded
from headstand.finetune.batches import TrainingBatches, ValidationBatches
from headstand.inputs import PhotoInput
from headstand.preparation.manifest import Dataset, Photo
from headstand.recipe import Augmentation, Finetune

SETTINGS = Augmentation(smallest_crop=1.0, flip="none", brightness=0, contrast=0)


def views(dataset: Dataset, seed: int = 1, settings: Augmentation = SETTINGS, **tuning: float) -> TrainingBatches:
    """Twelve photos; the label and weight of each tell which one it is."""
    photos = dataset.split("validation")
    paths = [dataset.folder / photo.path for photo in photos]
    finetune = Finetune.model_validate({"batch_size": 5, **tuning})
    labels, weights = np.eye(12, dtype=np.float32), np.arange(12, dtype=np.float32)
    return TrainingBatches(paths, labels, weights, PhotoInput(32), settings, finetune, seed)


def epoch(batches: TrainingBatches) -> list[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    return [batches[index] for index in range(len(batches))]


def order(batches: TrainingBatches) -> list[int]:
    return np.concatenate([labels.argmax(axis=1) for _, labels, _ in epoch(batches)]).tolist()


def test_an_epoch_shows_each_photo_once(dataset: Dataset) -> None:
    batches = views(dataset)
    assert len(batches) == 3
    got = epoch(batches)
    # Twelve photos in batches of at most five, spread evenly.
    assert [pixels.shape for pixels, _, _ in got] == [(4, 32, 32, 3)] * 3
    assert all(pixels.dtype == np.uint8 for pixels, _, _ in got)
    assert sorted(order(batches)) == list(range(12))
    assert order(batches) != list(range(12))


def test_pixels_label_and_weight_belong_together(dataset: Dataset) -> None:
    photos = dataset.split("validation")
    for pixels, labels, weights in epoch(views(dataset)):
        for shown, label, weight in zip(pixels, labels, weights, strict=True):
            index = int(label.argmax())
            assert weight == index
            whole = images.decode(dataset.folder / photos[index].path, 32).astype(int)
            others = [images.decode(dataset.folder / photo.path, 32).astype(int) for photo in photos]
            # A view is decoded larger and shrunk, so compare to all: its own is nearest.
            distances = [abs(other - shown).mean() for other in others]
            assert abs(whole - shown).mean() == min(distances)


def test_the_next_epoch_has_its_own_order_and_views(dataset: Dataset) -> None:
    batches = views(dataset, settings=Augmentation(), batch_size=12)
    first_order, (first, labels, _) = order(batches), batches[0]
    batches.epoch = 1
    second, second_labels, _ = batches[0]
    assert order(batches) != first_order
    one, other = first[labels.argmax(axis=0)], second[second_labels.argmax(axis=0)]
    assert all((one[index] != other[index]).any() for index in range(12))


@pytest.mark.parametrize("at", [0, 3])
def test_a_resumed_epoch_is_the_uninterrupted_one(dataset: Dataset, at: int) -> None:
    batches, resumed = views(dataset, settings=Augmentation()), views(dataset, settings=Augmentation())
    for number in range(at + 1):
        batches.epoch = number
        epoch(batches)
    resumed.epoch = at
    for one, other in zip(epoch(batches), epoch(resumed), strict=True):
        assert all(np.array_equal(a, b) for a, b in zip(one, other, strict=True))


@pytest.mark.parametrize("count", [2, 3, 4, 5, 6, 11, 12])
def test_batches_differ_by_at_most_one_photo(dataset: Dataset, count: int) -> None:
    paths = [dataset.folder / photo.path for photo in dataset.split("validation")[:count]]
    labels, weights = np.eye(count, dtype=np.float32), np.ones(count, np.float32)
    batches = TrainingBatches(paths, labels, weights, PhotoInput(32), SETTINGS, Finetune(batch_size=5), 1)
    sizes = [len(pixels) for pixels, _, _ in epoch(batches)]
    assert sum(sizes) == count
    assert max(sizes) - min(sizes) <= 1
    assert min(sizes) >= 2


def test_no_thread_is_left(dataset: Dataset) -> None:
    before = set(threading.enumerate())
    epoch(views(dataset))
    assert set(threading.enumerate()) <= before


def test_validation_photos_are_decoded_batch_by_batch(dataset: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    photos = dataset.split("validation")
    labels = np.eye(3, dtype=np.float32)[class_indices(dataset, photos)]
    sizes: list[int] = []

    def spied(folder: Path, some: Sequence[Photo], kind: PhotoInput) -> np.ndarray:
        sizes.append(len(some))
        return decoded(folder, some, kind)

    monkeypatch.setattr("headstand.finetune.batches.decoded", spied)
    batches = ValidationBatches(dataset.folder, photos, labels, PhotoInput(32), 5)
    assert sizes == []
    got = [batches[index] for index in range(len(batches))]
    assert sizes == [4, 4, 4]
    assert np.array_equal(
        np.concatenate([pixels for pixels, _ in got]), decoded(dataset.folder, photos, PhotoInput(32))
    )
    assert np.array_equal(np.concatenate([truth for _, truth in got]), labels)


def test_another_seed_is_another_order(dataset: Dataset) -> None:
    assert order(views(dataset, seed=1)) != order(views(dataset, seed=2))


def test_files_are_read_on_demand(dataset: Dataset) -> None:
    batches = views(dataset)
    Path(dataset.folder / dataset.split("validation")[0].path).unlink()
    with pytest.raises(images.ImageError, match="cannot read"):
        epoch(batches)


def test_mixup_mixes_pixels_labels_and_weights_alike(dataset: Dataset) -> None:
    plain, mixed = views(dataset, seed=5), views(dataset, seed=5, mixup=0.4)
    shares = set()
    for (pixels, labels, weights), (blend, blend_labels, blend_weights) in zip(epoch(plain), epoch(mixed), strict=True):
        assert blend.dtype == blend_labels.dtype == blend_weights.dtype == np.float32
        partners, share = [], None
        for index in range(len(pixels)):
            own = labels[index].argmax()
            assert blend_labels[index].argmax() == own  # the heavier share is its own
            others = np.flatnonzero((blend_labels[index] > 0) & (labels[index] == 0))
            if len(others):
                share = blend_labels[index, own]
                (partner,) = np.flatnonzero(labels[:, others[0]])
            else:
                partner = index
            partners.append(partner)
        assert share is not None and 0.5 <= share < 1
        shares.add(float(share))
        np.testing.assert_allclose(blend, share * pixels + (1 - share) * pixels[partners], atol=1e-3)
        np.testing.assert_allclose(blend_weights, share * weights + (1 - share) * weights[partners], rtol=1e-5)
        np.testing.assert_allclose(blend_labels.sum(axis=1), 1, rtol=1e-6)
    assert len(shares) == len(plain)


def test_mixup_is_reproducible(dataset: Dataset) -> None:
    first, again = views(dataset, mixup=0.4), views(dataset, mixup=0.4)
    first.epoch = 1
    assert not np.array_equal(first[0][0], again[0][0])
    again.epoch = 1
    assert all(np.array_equal(a, b) for a, b in zip(first[0], again[0], strict=True))
