import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from headstand.features import backbones
from headstand.features.backbones import BackboneError
from headstand.heads import checkpoint
from headstand.recipe import Backbone, RecipeError
from tests import networks
from tests.networks import keras

NAMES = backbones.names()


def same(one: keras.Model, other: keras.Model) -> bool:
    pairs = zip(one.get_weights(), other.get_weights(), strict=True)
    return all(np.array_equal(a, b) for a, b in pairs)


def test_the_families_that_people_ask_for_are_there() -> None:
    asked = {"Xception", "MobileNetV2", "ResNet50", "ResNet50V2", "VGG16", "EfficientNetV2B0", "DenseNet121"}
    assert asked <= set(NAMES)
    assert len(NAMES) == len(set(NAMES)) >= 38


@pytest.mark.parametrize("name", NAMES)
def test_pixels_are_scaled_as_the_family_was_trained(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    family = sys.modules[getattr(keras.applications, name).__module__]

    def through(include_top: bool, weights: None, input_shape: Any) -> keras.Model:
        pixels = keras.Input(input_shape)
        return keras.Model(pixels, keras.layers.Identity()(pixels))

    monkeypatch.setattr(keras.applications, name, through)
    # Of one colour each, so that pooling by maximum gives the pixel itself.
    corners = [np.eye(3) * 255, np.zeros(3), np.full(3, 255)]
    colors = np.vstack([*corners, np.random.default_rng(0).uniform(0, 255, (9, 3))])
    pixels = np.broadcast_to(colors[:, None, None, :], (len(colors), 32, 32, 3)).astype(np.float32)
    wanted = np.array(family.preprocess_input(pixels.copy()))[:, 0, 0]
    given = backbones.extractor(Backbone(name=name, size=32, weights="none", pooling="max"))(pixels).numpy()
    # VGG and ResNet keep 0..255, where float32 has four decimals.
    np.testing.assert_allclose(given, wanted, rtol=1e-5, atol=1e-4 if np.abs(wanted).max() > 10 else 1e-5)


def test_without_pooling_the_features_are_all_values_of_the_map(small_networks: None) -> None:
    flat, averaged, highest = (
        backbones.extractor(Backbone(name="MobileNet", size=32, weights="none", pooling=pooling))
        for pooling in ("none", "avg", "max")
    )
    pixels = np.random.default_rng(0).integers(0, 256, (3, 32, 32, 3)).astype(np.float32)
    assert flat.output.shape == (None, 2 * 2 * networks.WIDTH)
    assert flat.get_layer("pool").output is flat.output
    values = flat(pixels).numpy().reshape(3, 4, networks.WIDTH)
    np.testing.assert_allclose(values.mean(1), averaged(pixels), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(values.max(1), highest(pixels), rtol=1e-6)
    model = networks.heads.assemble(
        flat, networks.heads.build(networks.Head(inner=(5,)), 4 * networks.WIDTH, 3, 1), "x"
    )
    assert model(pixels).shape == (3, 3)


@pytest.fixture(scope="module")
def mobilenet() -> keras.Model:
    """The real network, at another size than the tests' own."""
    return backbones.extractor(Backbone(name="MobileNetV2", size=48, weights="none"))


@pytest.mark.parametrize("pooling", ["avg", "max"])
def test_features_are_the_pooled_network_on_scaled_pixels(mobilenet: keras.Model, pooling: str, tmp_path: Path) -> None:
    network = mobilenet.get_layer("backbone")
    path = tmp_path / "net.weights.h5"
    network.save_weights(path)
    settings = Backbone(name="MobileNetV2", size=40, weights=str(path), pooling=pooling)
    extractor = backbones.extractor(settings)
    assert same(extractor, mobilenet)
    assert extractor.output.shape == (None, 1280)
    pixels = np.random.default_rng(0).integers(0, 256, (3, 40, 40, 3)).astype(np.float32)
    plain = keras.applications.MobileNetV2(include_top=False, weights=None, input_shape=(40, 40, 3), pooling=pooling)
    plain.set_weights(network.get_weights())
    wanted = plain(keras.applications.mobilenet_v2.preprocess_input(pixels.copy()), training=False)
    np.testing.assert_allclose(extractor(pixels, training=False), wanted, rtol=1e-4, atol=1e-6)


@pytest.mark.slow
def test_a_checkpoint_of_another_size_lends_its_backbone(mobilenet: keras.Model, tmp_path: Path) -> None:
    head = networks.heads.build(networks.Head(inner=(4,)), 1280, 3, 5)
    model = networks.heads.assemble(mobilenet, head, "shapes")
    path = checkpoint.save(model, tmp_path / "shapes_01_0.500.h5", networks.about())
    lent = backbones.extractor(Backbone(name="MobileNetV2", size=32, weights=str(path)))
    assert same(lent, mobilenet)
    weights = tmp_path / "net.weights.h5"
    mobilenet.get_layer("backbone").save_weights(weights)
    assert same(lent, backbones.extractor(Backbone(name="MobileNetV2", size=32, weights=str(weights))))


def test_no_weights_are_the_same_no_weights_each_time(small_networks: None) -> None:
    settings = Backbone(name="MobileNet", size=32, weights="none")
    first = backbones.extractor(settings)
    np.random.default_rng().random()
    keras.utils.set_random_seed(99)
    assert backbones.digest(first) == backbones.digest(backbones.extractor(settings))


def test_efficientnet_v2_builds_under_our_name() -> None:
    extractor = backbones.extractor(Backbone(name="EfficientNetV2B0", size=32, weights="none"))
    assert [layer.name for layer in extractor.layers][1:] == ["backbone", "pool"]


def test_the_digest_is_of_every_weight(small_networks: None) -> None:
    model = networks.classifier()
    weights = model.get_weights()
    seen = {backbones.digest(model)}
    for place, values in enumerate(weights):
        changed = values.copy()
        changed.flat[-1] += 1e-6 + abs(changed.flat[-1]) * 1e-6
        model.set_weights([*weights[:place], changed, *weights[place + 1 :]])
        seen.add(backbones.digest(model))
    assert len(seen) == len(weights) + 1
    model.set_weights(weights)
    assert backbones.digest(model) in seen


def refused(**settings: Any) -> str:
    with pytest.raises((BackboneError, RecipeError)) as caught:
        backbones.extractor(Backbone(**settings))
    message = str(caught.value)
    assert len(message.splitlines()) == 1
    return message


def test_an_unknown_name_is_told_with_the_known_ones() -> None:
    message = refused(name="MobileNetV9", weights="none")
    assert "'MobileNetV9'" in message
    assert "MobileNetV2" in message
    # Not everything that keras.applications holds is a network.
    assert "unknown backbone 'imagenet_utils'" in refused(name="imagenet_utils", weights="none")


def test_a_size_that_the_network_cannot_take() -> None:
    message = refused(name="Xception", size=32, weights="none")
    assert message.startswith("Xception at 32 pixels: ")
    assert "71" in message


def test_a_file_that_is_not_there(workplace: Path) -> None:
    message = refused(name="MobileNetV2", size=32, weights="nowhere.weights.h5")
    assert "there is no nowhere.weights.h5" in message
    assert "HEADSTAND_WEIGHTS" in message


@pytest.mark.parametrize("name", ["other.weights.h5", "other.h5"])
def test_weights_of_another_network(tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(keras.applications, "MobileNet", networks.tiny)
        path = tmp_path / name
        if name == "other.h5":
            checkpoint.save(networks.classifier(), path, networks.about())
        else:
            networks.classifier().get_layer("backbone").save_weights(path)
    message = refused(name="MobileNetV2", size=32, weights=str(path))
    assert f"the weights {path} do not fit MobileNetV2" in message


@pytest.mark.parametrize("name", ["text.weights.h5", "text.h5"])
def test_weights_that_are_no_weights(tmp_path: Path, name: str, small_networks: None) -> None:
    (tmp_path / name).write_text("not HDF5")
    with pytest.raises((BackboneError, checkpoint.CheckpointError), match=name):
        backbones.extractor(Backbone(name="MobileNet", size=32, weights=str(tmp_path / name)))


def test_a_model_without_a_backbone_inside(tmp_path: Path, small_networks: None) -> None:
    pixels = keras.Input((32, 32, 3))
    path = tmp_path / "plain.h5"
    model = keras.Model(pixels, keras.layers.Dense(3)(keras.layers.Flatten()(pixels)))
    checkpoint.save(model, path, networks.about())
    assert "backbone" in refused(name="MobileNet", size=32, weights=str(path))


def test_imagenet_without_a_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def unreachable(*_: Any, **__: Any) -> None:
        raise Exception("URL fetch failure on https://storage.invalid/x.h5: None -- [Errno -2] Name not known")

    monkeypatch.setattr("keras.src.utils.file_utils.get_file", unreachable)
    message = refused(name="MobileNetV2", size=96, weights="imagenet")
    assert "cannot download the ImageNet weights of MobileNetV2" in message
    assert "--backbone.weights PATH" in message
    assert "Errno -2" in message
