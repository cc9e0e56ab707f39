"""Presets of KerasHub, an optional package, with a replacement of it; test_keras_hub.py needs the package itself."""

import sys
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest

from headstand.features import backbones
from headstand.features.backbones import BackboneError
from headstand.recipe import Backbone
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
