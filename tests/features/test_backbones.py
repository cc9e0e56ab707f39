import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from headstand.export import tflite_conversion
from headstand.features import backbones, compiled
from headstand.features.backbones import BackboneError, plain
from headstand.heads import checkpoint
from headstand.recipe import Backbone, RecipeError
from tests import networks
from tests.keras_files import files
from tests.networks import keras

NAMES = backbones.names()


def same(one: keras.Model, other: keras.Model) -> bool:
    pairs = zip(one.get_weights(), other.get_weights(), strict=True)
    return all(np.array_equal(a, b) for a, b in pairs)


def test_common_families_are_available() -> None:
    common = {"Xception", "MobileNetV2", "ResNet50", "ResNet50V2", "VGG16", "EfficientNetV2B0", "DenseNet121"}
    assert common <= set(NAMES)
    assert len(NAMES) == len(set(NAMES)) >= 38


def family_of(name: str) -> str:
    return getattr(keras.applications, name).__module__


@pytest.mark.parametrize("name", {family_of(name): name for name in NAMES}.values())
def test_pixels_are_scaled_as_the_family_was_trained(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    family = sys.modules[family_of(name)]
    of_family = {backbones.preprocessing(other) for other in NAMES if family_of(other) == family_of(name)}
    assert of_family == {backbones.preprocessing(name)}

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
    return backbones.extractor(Backbone(name="MobileNet", size=48, weights="none"))


@pytest.mark.parametrize("pooling", ["avg", pytest.param("max", marks=pytest.mark.slow)])
def test_features_are_the_pooled_network_on_scaled_pixels(mobilenet: keras.Model, pooling: str, tmp_path: Path) -> None:
    network = mobilenet.get_layer("backbone")
    path = tmp_path / "net.weights.h5"
    network.save_weights(path)
    settings = Backbone(name="MobileNet", size=40, weights=str(path), pooling=pooling)
    extractor = backbones.extractor(settings)
    assert same(extractor, mobilenet)
    assert extractor.output.shape == (None, 1024)
    pixels = np.random.default_rng(0).integers(0, 256, (3, 40, 40, 3)).astype(np.float32)
    plain = keras.applications.MobileNet(include_top=False, weights=None, input_shape=(40, 40, 3), pooling=pooling)
    plain.set_weights(network.get_weights())
    wanted = plain(keras.applications.mobilenet.preprocess_input(pixels.copy()), training=False)
    np.testing.assert_allclose(extractor(pixels, training=False), wanted, rtol=1e-4, atol=1e-6)


@pytest.mark.slow
def test_backbone_is_loaded_from_a_checkpoint_of_another_size(mobilenet: keras.Model, tmp_path: Path) -> None:
    head = networks.heads.build(networks.Head(inner=(4,)), 1024, 3, 5)
    model = networks.heads.assemble(mobilenet, head, "shapes")
    path = checkpoint.save(model, tmp_path / "shapes_01_0.500.h5", networks.about())
    lent = backbones.extractor(Backbone(name="MobileNet", size=32, weights=str(path)))
    assert same(lent, mobilenet)
    weights = tmp_path / "net.weights.h5"
    mobilenet.get_layer("backbone").save_weights(weights)
    assert same(lent, backbones.extractor(Backbone(name="MobileNet", size=32, weights=str(weights))))


def test_random_weights_are_reproducible(small_networks: None) -> None:
    settings = Backbone(name="MobileNet", size=32, weights="none")
    first = backbones.extractor(settings)
    np.random.default_rng().random()
    keras.utils.set_random_seed(99)
    assert backbones.digest(first) == backbones.digest(backbones.extractor(settings))


def test_efficientnet_v2_is_renamed_after_building() -> None:
    extractor = backbones.extractor(Backbone(name="EfficientNetV2B0", size=32, weights="none"))
    assert [layer.name for layer in extractor.layers][1:] == ["backbone", "pool"]


def test_digest_depends_on_every_weight(small_networks: None) -> None:
    model = networks.classifier()
    weights = model.get_weights()
    seen = {backbones.digest(model)}
    for index, values in enumerate(weights):
        changed = values.copy()
        changed.flat[-1] += 1e-6 + abs(changed.flat[-1]) * 1e-6
        model.set_weights([*weights[:index], changed, *weights[index + 1 :]])
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


def test_unknown_name_is_reported_with_the_known_names() -> None:
    message = refused(name="MobileNetV9", weights="none")
    assert "'MobileNetV9'" in message
    assert "MobileNetV2" in message
    # Not everything that keras.applications holds is a network.
    assert "unknown backbone 'imagenet_utils'" in refused(name="imagenet_utils", weights="none")


def test_size_below_the_minimum_is_refused() -> None:
    message = refused(name="Xception", size=32, weights="none")
    assert message.startswith("Xception at 32 pixels: ")
    assert "71" in message


def test_missing_weights_file_is_refused(workplace: Path, small_networks: None) -> None:
    message = refused(name="MobileNetV2", size=32, weights="nowhere.weights.h5")
    assert "there is no nowhere.weights.h5" in message
    assert "HEADSTAND_WEIGHTS" in message


@pytest.mark.parametrize("name", ["other.weights.h5", "other.h5"])
def test_weights_of_another_network_are_refused(
    tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch, small_networks: None
) -> None:
    path = tmp_path / name
    if name == "other.h5":
        checkpoint.save(networks.classifier(), path, networks.about())
    else:
        networks.classifier().get_layer("backbone").save_weights(path)
    monkeypatch.setattr(keras.applications, "MobileNetV2", custom)
    message = refused(name="MobileNetV2", size=32, weights=str(path))
    assert f"the weights {path} do not fit MobileNetV2" in message
    if name == "other.h5":
        assert message.endswith(": they are those of MobileNet: use --backbone.name MobileNet --backbone.size 32")


def test_weights_of_another_size_are_noted(workplace: Path, small_networks: None) -> None:
    checkpoint.save(networks.classifier(), Path("own.h5"), networks.about())
    Path("text.h5").touch()
    for size, weights in ((32, "own.h5"), (48, "none"), (48, "text.h5"), (48, "lost.h5")):
        assert backbones.note(Backbone(name="MobileNet", size=size, weights=weights)) == ""
    assert backbones.note(Backbone(name="MobileNet", size=48, weights="own.h5")) == (
        "note: own.h5 was trained at 32 px and is used at 48 px: --backbone.size 32 changes that"
    )


@pytest.mark.parametrize("name", ["text.weights.h5", "text.h5"])
def test_damaged_weights_are_refused(tmp_path: Path, name: str, small_networks: None) -> None:
    (tmp_path / name).write_text("not HDF5")
    with pytest.raises((BackboneError, checkpoint.CheckpointError), match=name):
        backbones.extractor(Backbone(name="MobileNet", size=32, weights=str(tmp_path / name)))


def test_model_without_a_backbone_is_refused(tmp_path: Path, small_networks: None) -> None:
    pixels = keras.Input((32, 32, 3))
    path = tmp_path / "plain.h5"
    model = keras.Model(pixels, keras.layers.Dense(3)(keras.layers.Flatten()(pixels)))
    checkpoint.save(model, path, networks.about())
    assert "backbone" in refused(name="MobileNet", size=32, weights=str(path))


def test_imagenet_weights_without_a_connection_are_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    def unreachable(*_: Any, **__: Any) -> None:
        raise Exception("URL fetch failure on https://storage.invalid/x.h5: None -- [Errno -2] Name not known")

    monkeypatch.setattr("keras.src.utils.file_utils.get_file", unreachable)
    message = refused(name="MobileNetV2", size=96, weights="imagenet")
    assert "cannot download the ImageNet weights of MobileNetV2" in message
    assert "--backbone.weights PATH" in message
    assert "Errno -2" in message


# The smallest of each family; the first three hold parts that an .h5 cannot give back.
FAMILIES = [
    "MobileNetV3Small", "ConvNeXtTiny", "InceptionResNetV2",
    "DenseNet121", "EfficientNetB0", "EfficientNetV2B0", "InceptionV3", "MobileNet", "MobileNetV2", "NASNetMobile",
    "ResNet50", "ResNet50V2", "VGG16", "Xception",
]  # fmt: skip


def test_plain_network_is_unchanged() -> None:
    network = networks.tiny(False, None, (32, 32, 3))
    assert plain(network) is network


def custom(include_top: bool, weights: None, input_shape: Any) -> keras.Model:
    """A small network with the custom layers of `keras.applications`."""
    from keras.src.applications.convnext import LayerScale
    from keras.src.applications.inception_resnet_v2 import CustomScaleLayer

    pixels = keras.Input(input_shape)
    x = keras.layers.Conv2D(3, 1, name="first")(pixels)
    scale = LayerScale(0.5, 3, name="layer_scale")
    scaled = scale(x)
    scale.set_weights([np.array([0.5, -2, 3], np.float32)])
    x = pixels + scaled
    x = CustomScaleLayer(0.17, name="residual")([x, pixels])
    x = keras.layers.ReLU(6.0)(x + 3.0) * (1 / 6) * pixels
    return keras.Model(pixels, keras.layers.Conv2D(2, 1, name="last")(x), name="network")


def test_custom_layers_are_replaced_by_equivalent_layers(tmp_path: Path) -> None:
    network = custom(False, None, (8, 8, 3))
    changed = plain(network)
    assert [type(part).__name__ for part in changed.operations] == [
        "InputLayer", "Conv2D", "DepthwiseConv2D", "Add", "Rescaling", "Add", "Rescaling", "ReLU", "Rescaling",
        "Multiply", "Conv2D",
    ]  # fmt: skip
    assert all(isinstance(part, keras.layers.Layer) for part in changed.operations)
    values = np.random.default_rng(0).normal(0, 4, (3, 8, 8, 3)).astype(np.float32)
    np.testing.assert_allclose(changed(values), network(values), rtol=1e-5, atol=1e-5)
    shapes = [tuple(weight.shape) for weight in changed.weights]
    assert shapes == [(1, 1, 3, 3), (3,), (1, 1, 3, 1), (1, 1, 3, 2), (2,)]
    checkpoint.save(changed, tmp_path / "plain.h5", networks.about())
    np.testing.assert_allclose(checkpoint.load(tmp_path / "plain.h5")(values), changed(values), atol=1e-6)


def round_trip(name: str, folder: Path) -> keras.Model:
    """A model over the network is saved, loaded, answers alike, and lends its backbone."""
    size = 75 if name.startswith("Inception") else 71 if name == "Xception" else 32
    extractor = backbones.extractor(Backbone(name=name, size=size, weights="none"))
    head = networks.heads.build(networks.Head(inner=()), int(extractor.output.shape[-1]), 3, 1)
    model = networks.heads.assemble(extractor, head, "shapes")
    path = checkpoint.save(model, folder / "shapes.h5", networks.about())
    pixels = np.random.default_rng(0).integers(0, 256, (2, size, size, 3)).astype(np.uint8)
    np.testing.assert_allclose(compiled(checkpoint.load(path))(pixels), compiled(model)(pixels), atol=1e-5)
    # Other random weights than those that a new network has.
    network = extractor.get_layer("backbone")
    network.set_weights([values + np.float32(0.01) for values in network.get_weights()])
    trained = network.get_weights()  # as they are kept: EfficientNet counts its samples in whole numbers
    checkpoint.save(model, path, networks.about())
    lent = backbones.extractor(Backbone(name=name, size=size, weights=str(path)))
    given = lent.get_layer("backbone").get_weights()
    assert all(np.array_equal(one, other) for one, other in zip(given, trained, strict=True))
    return model


@pytest.mark.slow
def test_network_with_custom_layers_is_saved_and_loaded(tmp_path: Path) -> None:
    round_trip("MobileNetV3Small", tmp_path)


@pytest.mark.parametrize("small", [True, pytest.param(False, marks=pytest.mark.slow)])
def test_weights_of_the_original_keras_network_are_loaded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, small: bool
) -> None:
    if small:
        monkeypatch.setattr(keras.applications, "MobileNetV3Small", custom)
    original = keras.applications.MobileNetV3Small(include_top=False, weights=None, input_shape=(48, 48, 3))
    if small:  # weights that a new network does not have
        original.set_weights([values + np.float32(0.1) for values in original.get_weights()])
    original.save_weights(tmp_path / "net.weights.h5")
    settings = Backbone(name="MobileNetV3Small", size=48, weights=str(tmp_path / "net.weights.h5"), pooling="max")
    pixels = np.random.default_rng(0).integers(0, 256, (2, 48, 48, 3)).astype(np.float32)
    wanted = original(pixels, training=False).numpy().max(axis=(1, 2))
    np.testing.assert_allclose(backbones.extractor(settings)(pixels, training=False), wanted, rtol=1e-4, atol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("name", FAMILIES)
def test_every_family_is_saved_loaded_and_converted(name: str, tmp_path: Path) -> None:
    assert tflite_conversion.float32(round_trip(name, tmp_path))[4:8] == b"TFL3"


@pytest.mark.parametrize(
    ("name", "size", "maps"),
    [
        ("VGG16", 64, {4: 512, 8: 512, 16: 256}),  # the maps before the last three poolings
        pytest.param("MobileNetV2", 96, {6: 576, 12: 192, 24: 144}, marks=pytest.mark.slow),
        pytest.param("ResNet50", 64, {4: 1024, 8: 512, 16: 256}, marks=pytest.mark.slow),
        # Weights of channels (1 x 1) and padded maps (odd sizes) are not depths.
        pytest.param("EfficientNetB0", 64, {4: 672, 8: 240, 16: 144}, marks=pytest.mark.slow),
    ],
)
def test_earlier_depths_are_the_last_maps_of_each_resolution(name: str, size: int, maps: dict[int, int]) -> None:
    settings = Backbone(name=name, size=size, weights="none")
    one = backbones.extractor(settings)
    deep = backbones.extractor(settings.model_copy(update={"depths": 4}), like=one)
    network = deep.get_layer("backbone")
    found = backbones.earlier_maps(one.get_layer("backbone"), 3)
    assert {each.shape[1]: each.shape[3] for each in found} == maps
    last = one.output.shape[-1]
    (side, channels), *others = maps.items()
    assert deep.output.shape[-1] == last + 6 * channels + sum(channels for _, channels in others)
    for alone, shared in zip(one.get_layer("backbone").get_weights(), network.get_weights(), strict=True):
        np.testing.assert_array_equal(alone, shared)
    pixels = np.random.default_rng(0).integers(0, 256, (2, size, size, 3)).astype(np.float32)
    outputs = keras.Model(network.input, list(found))
    values = deep(pixels).numpy()
    np.testing.assert_allclose(values[:, :last], one(pixels), rtol=1e-5, atol=1e-6)
    preprocessed = pixels
    for layer in deep.layers[1:-1]:  # the preprocessing, if the network does not contain it
        preprocessed = layer(preprocessed)
    nearest, *rest = [np.asarray(each) for each in outputs(preprocessed)]
    step, width = side // 3, side // 3 + side % 3  # of 3 x 3 cells that cover the map, overlapping if they must
    starts = [step * number for number in range(3)]
    cells = np.array([[nearest[:, y : y + width, x : x + width].mean(axis=(1, 2)) for x in starts] for y in starts])
    rows = [part for left, middle, right in cells for part in ((left + right) / 2, middle)]
    pooled = np.concatenate([*rows, *(each.mean(axis=(1, 2)) for each in rest)], axis=1)
    np.testing.assert_allclose(values[:, last:], pooled, rtol=1e-4, atol=1e-5)


def test_without_pooling_there_is_one_depth(small_networks: None) -> None:
    settings = Backbone(name="MobileNet", size=32, weights="none", pooling="none", depths=4)
    assert backbones.extractor(settings).output.shape == (None, 2 * 2 * networks.WIDTH)


def test_features_of_cells_do_not_depend_on_left_and_right(
    small_networks: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An 8 x 8 map has 3 x 3 overlapping cells, or one for each position if there are to be more."""
    for pooling, sides, count in (("avg", 3, 3 * 2), ("max", 3, 3 * 2), ("avg", 9, 8 * 4)):
        monkeypatch.setattr(backbones, "CELLS", sides)
        settings = Backbone(name="MobileNet", size=32, weights="none", depths=2, pooling=pooling)
        network = backbones.extractor(settings).get_layer("backbone")
        feature_map = network.get_layer("pool_1").input
        cells = keras.Model(feature_map, network.get_layer("cells").output)
        assert cells.output.shape == (None, count * 8)
        values = np.random.default_rng(0).normal(size=(2, *feature_map.shape[1:])).astype(np.float32)
        np.testing.assert_allclose(cells(values), cells(values[:, :, ::-1]), rtol=1e-4, atol=1e-6)
        assert np.abs(cells(values) - cells(values[:, ::-1])).max() > 0.1


def test_balanced_depths_have_one_range_and_the_same_predictions(small_networks: None) -> None:
    extractor = backbones.extractor(Backbone(name="MobileNet", size=32, weights="none", depths=2))
    pixels = np.random.default_rng(0).integers(0, 256, (9, 32, 32, 3)).astype(np.float32)
    features = extractor(pixels).numpy()
    for inner in ((), (4,)):
        head = networks.heads.build(networks.Head(inner=inner), networks.WIDTH + 6 * 8, 3, 1)
        before = head.get_weights()
        other, changed = backbones.balanced(extractor, head, features)
        np.testing.assert_allclose(changed(other(pixels)), head(features), rtol=1e-5, atol=1e-6)
        for part in np.split(other(pixels).numpy(), [networks.WIDTH], axis=1):
            assert np.abs(part).max() == pytest.approx(1, rel=1e-5)
        assert all((one == two).all() for one, two in zip(before, head.get_weights(), strict=True))
    single = backbones.extractor(Backbone(name="MobileNet", size=32, weights="none"))
    assert backbones.balanced(single, head, features) == (single, head)


def test_network_in_a_file_is_a_backbone_of_its_own_size(tmp_path: Path) -> None:
    network = files.stirred(files.base(48))
    for suffix in (".keras", ".h5"):
        path = str(files.saved(network, tmp_path / f"net{suffix}"))
        settings = Backbone(name=path, preprocessing="lite", pooling="max")
        assert (settings.size, settings.weights) == (48, "pretrained")
        pixels = files.pixels(size=48)
        wanted = network((pixels - 127) / 128).numpy().max(axis=(1, 2))
        np.testing.assert_allclose(backbones.extractor(settings)(pixels), wanted, rtol=1e-5, atol=1e-5)
        # At another size it is the same network: it has convolutions only.
        larger = backbones.extractor(settings.model_copy(update={"size": 64}))
        assert same(larger, network)
        pixels = files.pixels(size=64)
        base = files.base(64)
        base.set_weights(network.get_weights())
        wanted = base((pixels - 127) / 128).numpy().max(axis=(1, 2))
        np.testing.assert_allclose(larger(pixels), wanted, rtol=1e-5, atol=1e-5)


def test_network_in_a_file_needs_its_preprocessing(tmp_path: Path) -> None:
    path = str(files.saved(files.base(32), tmp_path / "net.keras"))
    message = refused(name=path)
    assert message.startswith(f"{path} does not begin with a Rescaling or Normalization layer: state how its pixels")
    assert "--backbone.preprocessing xception, caffe, torch, lite, or none" in message


@pytest.mark.parametrize("sequential", [False, True])
def test_a_classifier_in_a_file_is_used_up_to_its_last_feature_map(tmp_path: Path, sequential: bool) -> None:
    given = keras.Input((32, 32, 3))
    inner = keras.Sequential([given, files.base(32)]) if sequential else files.base(32)
    x = inner(keras.layers.Rescaling(1 / 127.5, -1)(given))
    outputs = keras.layers.Dense(4, "softmax")(keras.layers.GlobalAveragePooling2D()(x))
    model = files.stirred(keras.Model(given, outputs))
    path = str(files.saved(model, tmp_path / "classifier.keras"))
    extractor = backbones.extractor(Backbone(name=path))
    assert not any(isinstance(layer, keras.Model) for layer in extractor.get_layer("backbone").layers)
    pixels = files.pixels(size=32)
    wanted = inner(pixels / 127.5 - 1).numpy().mean(axis=(1, 2))
    np.testing.assert_allclose(extractor(pixels), wanted, rtol=1e-5, atol=1e-5)
    # Its checkpoint lends the weights to the same network.
    head = networks.heads.build(networks.Head(inner=()), 4, 3, 5)
    saved = checkpoint.save(networks.heads.assemble(extractor, head, "x"), tmp_path / "x.h5", networks.about())
    assert same(backbones.extractor(Backbone(name=path, weights=str(saved))), extractor)


def test_arithmetic_between_the_layers_of_a_file_becomes_layers(tmp_path: Path) -> None:
    given = keras.Input((32, 32, 3))
    mean = np.array([120, 115, 100], np.float32)
    x = keras.layers.Conv2D(4, 3, strides=2, name="conv")((given - mean) / 60.0)
    x = keras.ops.silu(0.5 * x) * (x - keras.ops.relu6(x)) + 2.0
    model = files.stirred(keras.Model(given, x))
    path = str(files.saved(model, tmp_path / "net.keras"))
    extractor = backbones.extractor(Backbone(name=path, preprocessing="none"))
    network = extractor.get_layer("backbone")
    assert all(isinstance(part, keras.layers.Layer) for part in network.operations)
    pixels = files.pixels(size=32)
    np.testing.assert_allclose(network(pixels), model(pixels), rtol=1e-4, atol=1e-4)


def test_a_file_that_is_no_network_for_photos_is_refused(tmp_path: Path) -> None:
    given = keras.Input((40,))
    path = str(files.saved(keras.Model(given, keras.layers.Dense(2)(given)), tmp_path / "m.keras"))
    assert refused(name=path).endswith("its input is [None, 40], not [photos, height, width, 3]")
    (tmp_path / "text.keras").write_text("no archive")
    assert "is neither HDF5 (.h5) nor a Keras archive (.keras)" in refused(name=str(tmp_path / "text.keras"))
    assert "there is no nowhere.h5" in refused(name="nowhere.h5")
    given = keras.Input((32, 32, 3))
    fixed = keras.Model(given, keras.layers.Reshape((16, 64, 3))(given))
    path = str(files.saved(fixed, tmp_path / "fixed.keras"))
    assert refused(name=path, size=40, preprocessing="none").endswith(
        "it was built for 32 pixels: use --backbone.size 32"
    )


def test_a_sequential_network_in_a_file_is_a_backbone(tmp_path: Path) -> None:
    layers = [keras.Input((32, 32, 3)), keras.layers.Rescaling(1 / 255), keras.layers.Conv2D(4, 3, strides=2)]
    network = files.stirred(keras.Sequential([*layers, keras.layers.GlobalAveragePooling2D(), keras.layers.Dense(2)]))
    path = str(files.saved(network, tmp_path / "net.keras"))
    pixels = files.pixels(size=32)
    wanted = network.layers[1](network.layers[0](pixels)).numpy().mean(axis=(1, 2))
    np.testing.assert_allclose(backbones.extractor(Backbone(name=path))(pixels), wanted, rtol=1e-5, atol=1e-5)


def test_digest_depends_on_the_architecture_but_not_on_names() -> None:
    def network(activation: str, name: str | None = None) -> keras.Model:
        given = keras.Input((8, 8, 3))
        return keras.Model(given, keras.layers.ReLU(name=name)(keras.layers.Activation(activation)(given)))

    one = backbones.digest(network("tanh"))
    assert one == backbones.digest(network("tanh", "other"))
    assert one != backbones.digest(network("relu"))
    shared = keras.Input((8, 8, 3))
    a, b = keras.layers.Rescaling(2.0)(shared), keras.layers.Rescaling(3.0)(shared)
    first, second = (keras.layers.Subtract()(pair) for pair in ([a, b], [b, a]))
    assert backbones.digest(keras.Model(shared, first)) != backbones.digest(keras.Model(shared, second))


def test_name_of_a_folder() -> None:
    assert backbones.folder_name("MobileNetV2") == "MobileNetV2"
    assert backbones.folder_name("../some nets/b0@2.keras") == "b0-2.keras"
