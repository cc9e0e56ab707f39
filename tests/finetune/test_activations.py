from pathlib import Path

import numpy as np
import pytest

from headstand.evaluation.predictions import pixels
from headstand.features import FeatureError
from headstand.finetune import freezing
from headstand.finetune.batches import ActivationBatches, FrozenPrefix
from headstand.preparation.manifest import Dataset
from headstand.recipe import Augmentation, Finetune
from tests import networks

pytestmark = pytest.mark.usefixtures("small_networks")

VIEWS = Augmentation(views=3)


def prefix() -> FrozenPrefix:
    parts = freezing.split(networks.classifier(), "3 layers")
    return FrozenPrefix(parts.prefix, "MobileNet", parts.depth)


def prepared(dataset: Dataset, augmentation: Augmentation = VIEWS) -> tuple[FrozenPrefix, np.ndarray]:
    one = prefix()
    return one, one.prepare(dataset.folder, dataset.split("train"), augmentation, 1, "")[0]


def batches(one: FrozenPrefix, names: np.ndarray, seed: int | None = 5, mixup: float = 0.0) -> ActivationBatches:
    """The label of each photo tells which one it is."""
    count = names.shape[1]
    settings = Finetune(batch_size=7, mixup=mixup)
    return ActivationBatches(
        one, names, np.eye(count, dtype=np.float32), np.arange(count, dtype=np.float32), settings, seed
    )


def epoch(data: ActivationBatches, number: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    data.epoch = number
    parts = [data[index] for index in range(len(data))]
    return tuple(np.concatenate(part) for part in zip(*parts, strict=True))


def test_photos_are_in_order_without_a_seed(dataset: Dataset) -> None:
    one, names = prepared(dataset)
    rows, labels, weights = epoch(batches(one, names, None))
    assert rows.shape == (24, 8, 8, 8)
    assert rows.dtype == np.float32
    assert labels.argmax(1).tolist() == weights.tolist() == list(range(24))
    shown = pixels(dataset.folder, dataset.split("train"), 32).astype("f4")
    np.testing.assert_allclose(rows, one.model(shown, training=False), atol=1e-5)


def test_epoch_draws_each_photo_once_as_itself_or_a_view(dataset: Dataset) -> None:
    one, names = prepared(dataset)
    known = one.read(names.reshape(-1)).reshape(4, 24, -1)
    drawn = np.zeros(4)
    for number in range(30):
        rows, labels, weights = epoch(batches(one, names), number)
        photos = labels.argmax(1)
        assert sorted(photos.tolist()) == list(range(24))
        assert weights.tolist() == photos.tolist()
        same = (known[:, photos] == rows.reshape(1, 24, -1)).all(axis=2)
        assert same.sum(axis=0).tolist() == [1] * 24
        drawn += same.sum(axis=1)
    assert drawn.sum() == 720
    assert drawn == pytest.approx([180] * 4, abs=45)


def test_an_epoch_is_a_function_of_seed_and_number(dataset: Dataset) -> None:
    one, names = prepared(dataset)
    first, again, later, other = (
        epoch(batches(one, names, seed), number) for seed, number in ((5, 2), (5, 2), (5, 3), (6, 2))
    )
    assert all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))
    assert not np.array_equal(first[1], later[1])
    assert not np.array_equal(first[1], other[1])


def test_mixup_mixes_activations_and_labels_alike(dataset: Dataset) -> None:
    one, names = prepared(dataset, Augmentation())
    known = one.read(names[0]).reshape(24, 8, 8, 8)
    rows, labels, weights = epoch(batches(one, names, 5, 0.4))
    assert ((labels > 0).sum(axis=1) == 2).any()
    np.testing.assert_allclose(rows, np.einsum("np,p...->n...", labels, known), atol=1e-5)
    np.testing.assert_allclose(weights, labels @ np.arange(24), rtol=1e-5)
    # What is validated is never mixed.
    assert np.array_equal(epoch(batches(one, names, None, 0.4))[1], np.eye(24))


def test_other_weights_or_another_cut_have_another_cache(dataset: Dataset) -> None:
    one, _ = prepared(dataset)
    # Behind the cut weights may change: what comes before gives the same.
    same = networks.classifier(seed=2)
    parts = freezing.split(same, "3 layers")
    assert FrozenPrefix(parts.prefix, "MobileNet", parts.depth).folder == one.folder
    other = networks.classifier()
    kernel = other.get_layer("backbone").layers[1]
    kernel.set_weights([values * 1.01 for values in kernel.get_weights()])
    parts = freezing.split(other, "3 layers")
    assert FrozenPrefix(parts.prefix, "MobileNet", parts.depth).folder != one.folder
    parts = freezing.split(networks.classifier(), "1 layer")
    assert FrozenPrefix(parts.prefix, "MobileNet", parts.depth).folder != one.folder


def test_interrupted_preparation_is_resumed(dataset: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    one = prefix()
    call, calls = one.call, []

    def interrupted(pixels: object) -> object:
        calls.append(1)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return call(pixels)

    one.call = interrupted
    with pytest.raises(KeyboardInterrupt):
        one.prepare(dataset.folder, dataset.split("train"), VIEWS, 1, "")
    names, computed = prefix().prepare(dataset.folder, dataset.split("train"), VIEWS, 1, "")
    assert (names.shape, computed) == ((4, 24), 96 - 32)


def test_cache_damaged_during_the_run_is_reported(dataset: Dataset, workplace: Path) -> None:
    one, names = prepared(dataset)
    (file,) = workplace.glob(".cache/headstand/activations/*/*.rows")
    file.write_bytes(b"\0" * file.stat().st_size)
    with pytest.raises(FeatureError, match="was damaged during the run"):
        epoch(batches(one, names))
