import dataclasses
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from headstand import features, images
from headstand.features import Extractor, FeatureError, augmentation, backbones, decoding
from headstand.features import extractor as extraction
from headstand.inputs import PhotoInput
from headstand.preparation.manifest import Dataset, Photo
from headstand.recipe import Augmentation, Backbone
from tests import networks
from tests.networks import keras

SETTINGS = Backbone(name="MobileNet", size=32, weights="none")

pytestmark = pytest.mark.usefixtures("small_networks", "built_once")


@pytest.fixture(scope="module")
def networks_of_recipes() -> tuple[Any, Any]:
    """Builds each network and its graph once: without weights they are the same each time, and nobody changes them."""
    return cache(backbones.extractor), cache(features.compiled)


@pytest.fixture
def built_once(networks_of_recipes: tuple[Any, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backbones, "extractor", networks_of_recipes[0])
    monkeypatch.setattr(extraction, "compiled", networks_of_recipes[1])


def forbid(*_: Any) -> None:
    raise AssertionError("the network ran")


def counted(extractor: Extractor) -> list[int]:
    """The sizes of the batches that the network is given from now on."""
    sizes: list[int] = []
    call = extractor.call
    extractor.call = lambda pixels: (sizes.append(len(pixels)), call(pixels))[1]
    return sizes


def test_rows_are_the_model_on_decoded_pixels(dataset: Dataset) -> None:
    extractor = Extractor(SETTINGS)
    got = extractor.rows(dataset.folder, dataset.photos)
    assert got.computed == len(dataset.photos) == 48
    assert got.rows.dtype == np.float32
    pixels = np.stack([images.decode(dataset.folder / photo.path, 32) for photo in dataset.photos])
    np.testing.assert_allclose(got.rows, extractor.feature_model(pixels.astype(np.float32), training=False), atol=1e-5)
    # They differ from photo to photo, or the comparison would be worth little.
    assert np.unique(got.rows.round(4), axis=0).shape[0] == 48


def test_each_photo_passes_the_network_once(dataset: Dataset) -> None:
    first = Extractor(SETTINGS).rows(dataset.folder, dataset.photos)
    again = Extractor(SETTINGS)
    again.call = forbid
    warm = again.rows(dataset.folder, dataset.photos)
    assert warm.computed == 0
    assert np.array_equal(warm.rows, first.rows)
    # The order of the question is the order of the answer.
    turned = again.rows(dataset.folder, dataset.photos[::-1])
    assert np.array_equal(turned.rows, first.rows[::-1])


def test_only_missing_rows_are_computed(dataset: Dataset) -> None:
    extractor = Extractor(SETTINGS)
    extractor.rows(dataset.folder, dataset.split("train"))
    sizes = counted(extractor)
    assert extractor.rows(dataset.folder, dataset.photos).computed == 24
    assert sum(sizes) == 24


def interrupted(extractor: Extractor, number: int) -> list[int]:
    """Raises KeyboardInterrupt in the network's call with this number; returns a list of the sizes of all batches."""
    call, sizes = extractor.call, []

    def counted_call(pixels: Any) -> Any:
        sizes.append(len(pixels))
        if len(sizes) == number:
            raise KeyboardInterrupt
        return call(pixels)

    extractor.call = counted_call
    return sizes


def test_interruption_keeps_the_finished_batches(dataset: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decoding, "BATCH", 10)
    whole = Extractor(SETTINGS).feature_model(
        np.stack([images.decode(dataset.folder / photo.path, 32) for photo in dataset.photos]).astype(np.float32)
    )
    extractor = Extractor(SETTINGS)
    calls = interrupted(extractor, 3)
    with pytest.raises(KeyboardInterrupt):
        extractor.rows(dataset.folder, dataset.photos)
    assert calls == [10, 10, 10]
    resumed = Extractor(SETTINGS)
    sizes = counted(resumed)
    got = resumed.rows(dataset.folder, dataset.photos)
    assert got.computed == 28
    assert sizes == [10, 10, 8]
    np.testing.assert_allclose(got.rows, whole, atol=1e-5)


def test_truncated_cache_is_recomputed(dataset: Dataset, workplace: Path) -> None:
    first = Extractor(SETTINGS).rows(dataset.folder, dataset.photos)
    (file,) = workplace.glob(".cache/headstand/features/*/*.rows")
    file.write_bytes(file.read_bytes()[:-5])
    again = Extractor(SETTINGS).rows(dataset.folder, dataset.photos)
    assert again.computed == 1
    np.testing.assert_allclose(again.rows, first.rows, atol=1e-5)
    assert Extractor(SETTINGS).rows(dataset.folder, dataset.photos).computed == 0


@pytest.mark.parametrize(
    "change",
    [{"size": 33}, {"pooling": "max"}, {"pooling": "none"}, {"name": "Xception"}],
    ids=["size", "pooling", "no pooling", "network"],
)
def test_another_configuration_is_a_miss(dataset: Dataset, change: dict[str, Any]) -> None:
    Extractor(SETTINGS).rows(dataset.folder, dataset.photos)
    other = Extractor(SETTINGS.model_copy(update=change))
    assert other.rows(dataset.folder, dataset.photos).computed == 48


def test_other_weights_are_a_miss(dataset: Dataset, workplace: Path) -> None:
    extractor = Extractor(SETTINGS)
    extractor.rows(dataset.folder, dataset.photos)
    network = keras.models.clone_model(extractor.model.get_layer("backbone"))
    network.save_weights("other.weights.h5")
    other = Extractor(SETTINGS.model_copy(update={"weights": "other.weights.h5"}))
    assert other.rows(dataset.folder, dataset.photos).computed == 48


def test_another_decoder_is_a_miss(dataset: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    Extractor(SETTINGS).rows(dataset.folder, dataset.photos)
    monkeypatch.setattr(images, "DECODER", images.DECODER + "x")
    assert Extractor(SETTINGS).rows(dataset.folder, dataset.photos).computed == 48


def test_a_cache_serves_datasets_of_any_name(dataset: Dataset) -> None:
    Extractor(SETTINGS).rows(dataset.folder, dataset.photos)
    moved = dataset.folder.rename("data/others")
    assert Extractor(SETTINGS).rows(moved, dataset.photos).computed == 0


def refusal(dataset: Dataset, photos: tuple[Photo, ...]) -> str:
    extractor = Extractor(SETTINGS)
    with pytest.raises(FeatureError) as caught:
        extractor.rows(dataset.folder, photos)
    assert len(str(caught.value).splitlines()) == 1
    return str(caught.value)


@pytest.mark.parametrize("warm", [False, True])
def test_a_changed_photo_is_refused_by_name(dataset: Dataset, warm: bool) -> None:
    if warm:
        Extractor(SETTINGS).rows(dataset.folder, dataset.photos)
    path = dataset.folder / dataset.photos[7].path
    path.write_bytes(path.read_bytes() + b"\0")
    message = refusal(dataset, dataset.photos)
    assert (
        message == f"{path} is not the file that was prepared: run `python -m headstand explore PHOTOS --name shapes`"
    )


def test_a_missing_photo_is_refused_by_name(dataset: Dataset) -> None:
    path = dataset.folder / dataset.photos[7].path
    path.unlink()
    message = refusal(dataset, dataset.photos)
    assert str(path) in message
    assert "python -m headstand explore PHOTOS --name shapes" in message


def test_a_damaged_photo_is_refused_by_name(dataset: Dataset) -> None:
    import hashlib

    index = 7
    path = dataset.folder / dataset.photos[index].path
    path.write_bytes(path.read_bytes()[:300])
    changed = dataclasses.replace(dataset.photos[index], sha256=hashlib.sha256(path.read_bytes()).hexdigest())
    message = refusal(dataset, (*dataset.photos[:index], changed))
    assert str(path) in message
    assert "damaged" in message


def test_no_photos_give_no_rows(dataset: Dataset) -> None:
    got = Extractor(SETTINGS).rows(dataset.folder, [])
    assert (got.rows.shape, got.computed) == ((0, networks.WIDTH), 0)


VIEWS = Augmentation(views=3, rotation=10)


def test_views_are_the_model_on_random_views(dataset: Dataset) -> None:
    extractor = Extractor(SETTINGS)
    photos = dataset.split("train")
    got = extractor.views(dataset.folder, photos, VIEWS, 1)
    assert (got.rows.shape, got.rows.dtype, got.computed) == ((3, 24, networks.WIDTH), np.float32, 72)
    for number in range(3):
        for index in (0, 5, 23):
            data = (dataset.folder / photos[index].path).read_bytes()
            key = augmentation.view_key(bytes.fromhex(photos[index].sha256), VIEWS, 1, number)
            view = augmentation.view_sampler(data, PhotoInput(32), VIEWS)(augmentation.view_rng(key))
            wanted = extractor.feature_model(view[None].astype(np.float32), training=False).numpy()[0]
            np.testing.assert_allclose(got.rows[number, index], wanted, atol=1e-5)
    # They are neither the photos themselves nor one another.
    whole = extractor.rows(dataset.folder, photos).rows
    assert len(np.unique(np.concatenate([whole[None], got.rows]).reshape(-1, networks.WIDTH), axis=0)) == 4 * 24


def test_each_view_is_computed_once(dataset: Dataset) -> None:
    photos = dataset.split("test")
    first = Extractor(SETTINGS).views(dataset.folder, photos, VIEWS, 1)
    again = Extractor(SETTINGS)
    again.call = forbid
    # Another order of photos, fewer views: all known.
    turned = again.views(dataset.folder, photos[::-1], VIEWS.model_copy(update={"views": 2}), 1)
    assert turned.computed == 0
    assert np.array_equal(turned.rows, first.rows[:2, ::-1])
    more = Extractor(SETTINGS).views(dataset.folder, photos, VIEWS.model_copy(update={"views": 5}), 1)
    assert more.computed == 2 * 12
    assert np.array_equal(more.rows[:3], first.rows)


@pytest.mark.parametrize("change", [{"seed": 2}, {"rotation": 11.0}, {"flip": "none"}], ids=str)
def test_another_seed_or_setting_is_a_miss(dataset: Dataset, change: dict[str, Any]) -> None:
    photos = dataset.split("test")
    Extractor(SETTINGS).views(dataset.folder, photos, VIEWS, 1)
    seed = change.pop("seed", 1)
    other = Extractor(SETTINGS).views(dataset.folder, photos, VIEWS.model_copy(update=change), seed)
    assert other.computed == 3 * 12


def test_another_decoder_is_a_miss_for_views_too(dataset: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    photos = dataset.split("test")
    Extractor(SETTINGS).views(dataset.folder, photos, VIEWS, 1)
    monkeypatch.setattr(images, "DECODER", images.DECODER + "x")
    assert Extractor(SETTINGS).views(dataset.folder, photos, VIEWS, 1).computed == 3 * 12


def test_interrupted_views_are_resumed(dataset: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    photos = dataset.split("test")
    whole = Extractor(SETTINGS).views(dataset.folder, photos, VIEWS, 7).rows
    monkeypatch.setenv("HEADSTAND_CACHE", "other")
    monkeypatch.setattr(decoding, "BATCH", 10)
    extractor = Extractor(SETTINGS)
    interrupted(extractor, 3)
    with pytest.raises(KeyboardInterrupt):
        extractor.views(dataset.folder, photos, VIEWS, 7)
    got = Extractor(SETTINGS).views(dataset.folder, photos, VIEWS, 7)
    assert got.computed == 3 * 12 - 20
    np.testing.assert_allclose(got.rows, whole, atol=1e-5)


def test_the_remedy_of_an_error_is_not_composed_for_each_photo(
    dataset: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It reads the dataset's record, which takes ten times as long as hashing the photo."""
    monkeypatch.setattr(decoding, "preparing", lambda folder: pytest.fail("composed without an error"))
    assert len(Extractor(SETTINGS).rows(dataset.folder, dataset.photos).rows) == len(dataset.photos)


def test_a_photo_is_read_once_for_all_its_views(dataset: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    read, paths = images.read, []
    monkeypatch.setattr(images, "read", lambda path, *rest: (paths.append(path), read(path, *rest))[1])
    Extractor(SETTINGS).views(dataset.folder, dataset.split("test"), VIEWS, 1)
    assert len(paths) == len(set(paths)) == 12


def test_feature_table_leaves_no_file(dataset: Dataset, workplace: Path) -> None:
    got = Extractor(SETTINGS).rows(dataset.folder, dataset.photos)
    assert [path.suffix for path in workplace.glob(".cache/headstand/features/*/*")] == [".rows"]
    assert np.isfinite(got.rows).all()  # and stays readable


def test_compiled_is_the_model_in_inference_mode() -> None:
    model = networks.classifier()
    for layer in model.get_layer("backbone").layers:
        if isinstance(layer, networks.keras.layers.BatchNormalization):
            layer.moving_mean.assign(layer.moving_mean + 0.5)
    pixels = np.random.default_rng(0).integers(0, 256, (4, 32, 32, 3)).astype(np.uint8)
    call = features.compiled(model)
    np.testing.assert_allclose(call(pixels), model(pixels.astype(np.float32), training=False), atol=1e-6)
    # One graph for every batch size.
    np.testing.assert_allclose(call(pixels[:1]), call(pixels)[:1], atol=1e-6)
    assert backbones.digest(model) == backbones.digest(model)


def test_one_cache_entry_holds_all_depths(dataset: Dataset) -> None:
    deep = Extractor(SETTINGS.model_copy(update={"depths": 2}))
    both = deep.rows(dataset.folder, dataset.photos)
    last = Extractor(SETTINGS).rows(dataset.folder, dataset.photos)
    assert (both.computed, last.computed) == (48, 0)
    assert both.rows.shape == (48, networks.WIDTH + 6 * 8) and last.rows.shape == (48, networks.WIDTH)
    assert np.array_equal(both.rows[:, : networks.WIDTH], last.rows)
    pixels = np.stack([images.decode(dataset.folder / photo.path, 32) for photo in dataset.photos])
    np.testing.assert_allclose(both.rows, deep.feature_model(pixels.astype(np.float32), training=False), atol=1e-5)
