from pathlib import Path

import numpy as np
import pytest

from headstand.export import convert
from headstand.features import backbones, compiled
from headstand.features.plain_layers import plain
from headstand.heads import checkpoint
from headstand.recipe import Backbone
from tests import networks
from tests.networks import keras

# The smallest of each family; the first three hold parts that an .h5 cannot give back.
FAMILIES = [
    "MobileNetV3Small", "ConvNeXtTiny", "InceptionResNetV2",
    "DenseNet121", "EfficientNetB0", "EfficientNetV2B0", "InceptionV3", "MobileNet", "MobileNetV2", "NASNetMobile",
    "ResNet50", "ResNet50V2", "VGG16", "Xception",
]  # fmt: skip


def test_what_is_plain_stays_itself() -> None:
    network = networks.tiny(False, None, (32, 32, 3))
    assert plain(network) is network


def test_every_part_is_replaced_by_one_that_does_the_same(tmp_path: Path) -> None:
    from keras.src.applications.convnext import LayerScale
    from keras.src.applications.inception_resnet_v2 import CustomScaleLayer

    pixels = keras.Input((8, 8, 3))
    x = keras.layers.Conv2D(3, 1, name="first")(pixels)
    scale = LayerScale(0.5, 3, name="layer_scale")
    scaled = scale(x)
    scale.set_weights([np.array([0.5, -2, 3], np.float32)])
    x = pixels + scaled
    x = CustomScaleLayer(0.17, name="residual")([x, pixels])
    x = keras.layers.ReLU(6.0)(x + 3.0) * (1 / 6) * pixels
    network = keras.Model(pixels, keras.layers.Conv2D(2, 1, name="last")(x), name="network")
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
def test_a_network_with_parts_of_its_own_survives_its_file(tmp_path: Path) -> None:
    round_trip("MobileNetV3Small", tmp_path)


def test_weights_of_the_network_as_keras_has_it_are_taken(tmp_path: Path) -> None:
    original = keras.applications.MobileNetV3Small(include_top=False, weights=None, input_shape=(48, 48, 3))
    original.save_weights(tmp_path / "net.weights.h5")
    settings = Backbone(name="MobileNetV3Small", size=48, weights=str(tmp_path / "net.weights.h5"), pooling="max")
    pixels = np.random.default_rng(0).integers(0, 256, (2, 48, 48, 3)).astype(np.float32)
    wanted = original(pixels, training=False).numpy().max(axis=(1, 2))
    np.testing.assert_allclose(backbones.extractor(settings)(pixels, training=False), wanted, rtol=1e-4, atol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("name", FAMILIES)
def test_every_family_is_saved_loaded_and_converted(name: str, tmp_path: Path) -> None:
    assert convert.float32(round_trip(name, tmp_path))[4:8] == b"TFL3"
