"""Backbones: networks of `keras.applications` with their preprocessing inside, and networks that take heatmaps."""

import hashlib
from pathlib import Path
from typing import Any, Literal

import keras
import numpy as np

from headstand import heatmaps
from headstand import recipe as recipes
from headstand.errors import HeadstandError
from headstand.keras_files import loading
from headstand.keras_files.parts import KerasFileError
from headstand.learn import checkpoint, heatmap_networks, keypoints
from headstand.learn.plain import plain
from headstand.quiet import quiet

Preprocessing = Literal["tf", "caffe", "torch", "none"]

# What each family was trained with: the `mode` that its `preprocess_input` in keras.applications uses; "none" where
# the network scales its input itself. A test holds this table against `preprocess_input` of each family.
_PREPROCESSING: tuple[tuple[str, Preprocessing], ...] = (
    ("ResNet50V2", "tf"), ("ResNet101V2", "tf"), ("ResNet152V2", "tf"), ("ResNet", "caffe"), ("VGG", "caffe"),
    ("DenseNet", "torch"), ("EfficientNet", "none"), ("ConvNeXt", "none"), ("MobileNetV3", "none"),
    ("Xception", "tf"), ("MobileNet", "tf"), ("Inception", "tf"), ("NASNet", "tf"),
)  # fmt: skip

# ImageNet statistics as `keras.applications.imagenet_utils.preprocess_input` has them: BGR means in 0..255 for "caffe",
# RGB mean and standard deviation in 0..1 for "torch".
_CAFFE_MEAN = (103.939, 116.779, 123.68)
_TORCH_MEAN = (0.485, 0.456, 0.406)
_TORCH_STD = (0.229, 0.224, 0.225)


_POOLING = {
    "avg": keras.layers.GlobalAveragePooling2D,
    "max": keras.layers.GlobalMaxPooling2D,
    "none": keras.layers.Flatten,
}


class BackboneError(HeadstandError):
    """A backbone that is not known, or whose weights cannot be had."""


_OF_HEATMAPS = {
    "keypoints": keypoints.network,
    "heatmaps_flat": heatmap_networks.flat,
    "heatmaps_cnn": heatmap_networks.convolutional,
}


def names() -> list[str]:
    """The classifiers of `keras.applications` that can be backbones of photos."""
    found = (name for name in dir(keras.applications) if preprocessing(name))
    return sorted(name for name in found if isinstance(getattr(keras.applications, name), type(names)))


def preprocessing(name: str) -> Preprocessing | None:
    """How the backbone wants its pixels; None for an unknown name."""
    return next((mode for prefix, mode in _PREPROCESSING if name.startswith(prefix)), None)


def extractor(backbone: recipes.Backbone) -> keras.Model:
    """Pixels or heatmaps to features.

    Returns:
        A model from `float32 [N, size, size, 3]` in 0..255 to `float32 [N, D]`: preprocessing, the network (the layer
        named `backbone`), pooling (the layer named `pool`; without pooling it flattens, D = height x width x channels).
        Of heatmaps, from `float32 [N, 17, 64, 48]`, and the layer `backbone` alone.

    Raises:
        BackboneError: unknown name, a size too small for it, or weights that do not fit or cannot be loaded.
    """
    if backbone.takes == "heatmaps":
        keras.utils.set_random_seed(0)  # as `_network` does
        network = _OF_HEATMAPS[backbone.name]()
        network.name = "backbone"
        maps = keras.Input(heatmaps.SHAPE, name="heatmaps")
        return keras.Model(maps, network(maps), name="extractor")
    network = _network(backbone)
    pixels = keras.Input((backbone.size, backbone.size, 3), name="pixels")
    features = network(scaled(pixels, preprocessing(backbone.name)))
    pool = _POOLING[backbone.pooling](name="pool")
    return keras.Model(pixels, pool(features), name="extractor")


def digest(model: keras.Model) -> str:
    """Hex SHA-256 over all weights in their order: names what a cached feature was computed with."""
    total = hashlib.sha256()
    for weight in model.get_weights():
        total.update(np.ascontiguousarray(weight).tobytes())
    return total.hexdigest()


def scaled(pixels: Any, mode: Preprocessing | None) -> Any:
    """Pixels in 0..255, RGB, as networks of a family were fed, in layers that are part of the model.

    Args:
        pixels: symbolic `[N, height, width, 3]`.
        mode: `tf` for -1..1, `caffe` for BGR less ImageNet's means, `torch` for 0..1 standardised by ImageNet's
            statistics, `none` for pixels as they are.
    """
    if mode == "tf":
        return keras.layers.Rescaling(1 / 127.5, offset=-1.0, name="scale")(pixels)
    if mode == "torch":
        scale = [1 / (255 * std) for std in _TORCH_STD]
        offset = [-mean / std for mean, std in zip(_TORCH_MEAN, _TORCH_STD, strict=True)]
        return keras.layers.Rescaling(scale, offset=offset, name="scale")(pixels)
    if mode == "caffe":
        # RGB to BGR minus the mean, as a 1x1 convolution: a plain layer that every converter knows.
        layer = keras.layers.Conv2D(3, 1, name="scale", trainable=False)
        scaled = layer(pixels)
        layer.set_weights([np.eye(3, dtype=np.float32)[::-1].reshape(1, 1, 3, 3), -np.array(_CAFFE_MEAN, np.float32)])
        return scaled
    return pixels


def _network(backbone: recipes.Backbone) -> keras.Model:
    if backbone.name not in names():
        raise BackboneError(f"unknown backbone {backbone.name!r}; there are {', '.join([*names(), *_OF_HEATMAPS])}")
    build = getattr(keras.applications, backbone.name)
    shape = (backbone.size, backbone.size, 3)
    # A network without weights is drawn from a fixed seed: the cache and a resumed run must find the same one again.
    keras.utils.set_random_seed(0)
    try:
        if backbone.weights == "imagenet":
            try:
                network = build(include_top=False, weights="imagenet", input_shape=shape)
            except Exception as error:  # keras raises a bare Exception when the download fails
                if isinstance(error, ValueError):
                    raise
                raise BackboneError(
                    f"cannot download the ImageNet weights of {backbone.name} ({error}); connect to the network, "
                    "name a file with --backbone.weights PATH, or use --backbone.weights none to train without"
                ) from error
        else:
            network = build(include_top=False, weights=None, input_shape=shape)
    except ValueError as error:
        raise BackboneError(f"{backbone.name} at {backbone.size} pixels: {str(error).splitlines()[0]}") from error
    if backbone.weights in ("imagenet", "none"):
        network = plain(network)
    else:
        network = _load(network, recipes.locate(backbone.weights, "HEADSTAND_WEIGHTS"), backbone.name)
    # Named afterwards: EfficientNetV2 looks its blocks up by the name that it is given.
    network.name = "backbone"
    return network


def _load(network: keras.Model, path: Path, name: str) -> keras.Model:
    """The network in plain layers, filled from a `.weights.h5` file or from the backbone inside a checkpoint."""
    try:
        if path.name.endswith(".weights.h5"):
            with loading.checked_weights(path) as copy, quiet():  # Keras warns of each layer before it refuses the file
                network.load_weights(copy)
            return plain(network)
        network = plain(network)
        network.set_weights(checkpoint.load(path).get_layer("backbone").get_weights())
        return network
    except KerasFileError as error:
        raise BackboneError(f"the weights {path} cannot be loaded: {error}") from error
    except (ValueError, OSError, KeyError) as error:
        reason = str(error).splitlines()[0]
        raise BackboneError(f"the weights {path} do not fit {name}: {reason}") from error
