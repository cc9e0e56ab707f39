"""Small replacements of the networks of `keras.applications` that build, train and convert quickly."""

from pathlib import Path
from typing import Any

import headstand.tensorflow_setup  # noqa: F401 - imports TensorFlow quietly

import keras  # isort: skip
from keras import layers

from headstand import heads
from headstand.features import backbones
from headstand.heads import checkpoint
from headstand.recipe import Backbone, Head, Recipe
from tests.photos import CLASSES

SIZE = 32
WIDTH = 12


def tiny(include_top: bool = True, weights: Any = "imagenet", input_shape: Any = None) -> keras.Model:
    """Returns a small network of `WIDTH` channels; the signature is that of the `keras.applications` functions."""
    assert not include_top and weights is None
    pixels = x = keras.Input(input_shape)
    for channels in (8, WIDTH):
        x = layers.Conv2D(channels, 3, strides=4, padding="same", use_bias=False)(x)
        x = layers.BatchNormalization()(x)
        x = layers.ReLU()(x)
    return keras.Model(pixels, x)


def classifier(name: str = "MobileNet", seed: int = 1, size: int = SIZE) -> keras.Model:
    """Returns a complete classifier with the small network as its backbone."""
    extractor = backbones.extractor(Backbone(name=name, size=size, weights="none"))
    return heads.assemble(extractor, heads.build(Head(inner=(6,)), WIDTH, len(CLASSES), seed), "shapes")


def about(data: str = "0" * 64, name: str = "shapes") -> checkpoint.ModelMetadata:
    return checkpoint.ModelMetadata(name, CLASSES, SIZE, "MobileNet", data)


def recipe(folder: Path = Path("photos"), **sections: Any) -> Recipe:
    """Returns a recipe of a small run with the small network, which selects heads by accuracy."""
    values: dict[str, Any] = {
        "name": "shapes",
        "source": {"kind": "folder", "folder": folder},
        "backbone": {"name": "MobileNet", "size": SIZE, "weights": "none"},
        "head": {"inner": 8, "epochs": 12, "learning_rate": 0.02, "batch_size": 8},
        "search": {"selection": "accuracy"},
    }
    if "search" in sections:
        sections["search"] = {**values["search"], **sections["search"]}
    return Recipe.model_validate({**values, **sections})
