"""Backbones of KerasHub, an optional package; the tests of its networks are skipped if it is not installed."""

import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest

from headstand.evaluation.grad_cam import grad_cam
from headstand.export import convert
from headstand.features import backbones, compiled
from headstand.features.backbones import BackboneError
from headstand.heads import checkpoint
from headstand.recipe import Backbone
from tests import networks
from tests.keras_files import files
from tests.networks import keras, layers

SIZE = 32


def pixels() -> np.ndarray:
    return files.pixels(3, SIZE)


def stand_in(network: keras.Model, **converter: Any) -> ModuleType:
    """Returns a replacement of the module keras_hub with one preset, named `one`."""

    def from_preset(preset: str, load_weights: bool = True, dtype: str = "") -> keras.Model:
        if preset != "one":
            raise ValueError(f"Unknown preset identifier {preset}.\nA second line.")
        return network

    def converter_of(preset: str) -> SimpleNamespace:
        if not converter:
            raise ValueError("no such file")
        return SimpleNamespace(**converter)

    module = ModuleType("keras_hub")
    module.models = SimpleNamespace(Backbone=SimpleNamespace(from_preset=from_preset))
    module.layers = SimpleNamespace(ImageConverter=SimpleNamespace(from_preset=converter_of))
    return module


def test_a_preset_of_built_in_layers_is_a_network_like_any_other(monkeypatch: pytest.MonkeyPatch) -> None:
    network = files.stirred(files.base(SIZE))
    module = stand_in(network, scale=[0.1, 0.2, 0.3], offset=-1.0)
    monkeypatch.setitem(sys.modules, "keras_hub", module)
    settings = Backbone(name="keras_hub:one", size=SIZE, depths=2)
    assert (settings.weights, Backbone(name="keras_hub:one").size) == ("pretrained", 224)
    extractor = backbones.extractor(settings.model_copy(update={"depths": 1}))
    wanted = network(pixels() * [0.1, 0.2, 0.3] - 1).numpy().mean(axis=(1, 2))
    np.testing.assert_allclose(extractor(pixels()), wanted, rtol=1e-5, atol=1e-5)
    lite = settings.model_copy(update={"preprocessing": "lite", "depths": 1})
    wanted = network((pixels() - 127) / 128).numpy().mean(axis=(1, 2))
    np.testing.assert_allclose(backbones.extractor(lite)(pixels()), wanted, rtol=1e-5, atol=1e-5)


def refused(name: str = "keras_hub:one", **settings: Any) -> str:
    with pytest.raises(BackboneError) as caught:
        backbones.extractor(Backbone(name=name, size=SIZE, **settings))
    return str(caught.value)


def test_presets_that_cannot_be_used_are_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "keras_hub", None)
    assert refused().endswith("need the package keras-hub (cannot import keras_hub): pip install keras-hub")
    monkeypatch.setitem(sys.modules, "keras_hub", stand_in(files.base(SIZE)))
    assert refused("keras_hub:two") == "cannot load the preset two of KerasHub: Unknown preset identifier two."
    assert refused() == "the preset one does not state how its pixels are scaled: add --backbone.preprocessing"
    text = keras.Input((7,))
    monkeypatch.setitem(sys.modules, "keras_hub", stand_in(keras.Model(text, layers.Dense(2)(text))))
    assert refused().endswith("is not a network from photos to features: its inputs are [(None, 7)]")


VIT = {
    "image_shape": (SIZE, SIZE, 3),
    "patch_size": 8,
    "num_layers": 2,
    "num_heads": 2,
    "hidden_dim": 12,
    "mlp_dim": 16,
}
EFFICIENTNET = {
    "width_coefficient": 1.0, "depth_coefficient": 1.0, "stackwise_kernel_sizes": [3, 3],
    "stackwise_num_repeats": [1, 1], "stackwise_input_filters": [8, 8], "stackwise_output_filters": [8, 16],
    "stackwise_expansion_ratios": [1, 6], "stackwise_squeeze_and_excite_ratios": [0.25, 0.25],
    "stackwise_strides": [1, 2], "stackwise_block_types": ["v1", "v1"], "input_shape": (SIZE, SIZE, 3),
}  # fmt: skip
VGG = {"stackwise_num_repeats": [1, 1], "stackwise_num_filters": [4, 8], "image_shape": (SIZE, SIZE, 3)}


@pytest.mark.parametrize(("kind", "arguments"), [("VGGBackbone", VGG), ("EfficientNetBackbone", EFFICIENTNET)])
def test_a_local_preset_is_extracted_saved_loaded_and_converted(
    tmp_path: Path, kind: str, arguments: dict[str, Any]
) -> None:
    package = pytest.importorskip("keras_hub", reason="the optional package keras-hub is not installed")
    network = getattr(package.models, kind)(**arguments)
    files.stirred(network)
    network.save_to_preset(tmp_path / "preset")
    package.layers.ImageConverter(scale=1 / 127.5, offset=-1.0).save_to_preset(tmp_path / "preset")
    settings = Backbone(name=f"keras_hub:{tmp_path / 'preset'}", size=SIZE, depths=4)
    extractor = backbones.extractor(settings)
    width = extractor.output.shape[1]
    features = np.asarray(network(pixels() / 127.5 - 1))
    last = features.mean(axis=tuple(range(1, features.ndim - 1)))
    assert width > last.shape[1]  # earlier maps follow
    np.testing.assert_allclose(extractor(pixels())[:, : last.shape[1]], last, rtol=1e-4, atol=1e-4)

    head = networks.heads.build(networks.Head(inner=()), width, 3, 1)
    model = networks.heads.assemble(extractor, head, "shapes")
    path = checkpoint.save(model, tmp_path / "shapes.h5", networks.about())
    loaded = checkpoint.load(path)
    np.testing.assert_allclose(compiled(loaded)(pixels().astype(np.uint8)), compiled(model)(pixels()), atol=1e-5)
    weights = backbones.extractor(settings.model_copy(update={"weights": str(path)}))
    assert backbones.digest(weights) == backbones.digest(extractor)
    random = backbones.extractor(settings.model_copy(update={"weights": "none"}))
    assert backbones.digest(random) != backbones.digest(extractor)
    assert grad_cam(loaded, pixels().astype(np.uint8), np.zeros(3, int)).shape == (3, SIZE, SIZE)
    assert convert.float32(loaded)[4:8] == b"TFL3"


def test_a_network_with_layers_of_its_own_is_refused(tmp_path: Path) -> None:
    package = pytest.importorskip("keras_hub", reason="the optional package keras-hub is not installed")
    package.models.ViTBackbone(**VIT).save_to_preset(tmp_path)
    message = refused(f"keras_hub:{tmp_path}")
    assert "has layers that only KerasHub defines (" in message and "ViTPatchingAndEmbedding" in message
