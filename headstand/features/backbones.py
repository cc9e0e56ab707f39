"""Backbones: networks of `keras.applications` with preprocessing layers, and those of registered kinds of input."""

import hashlib
import math
from pathlib import Path
from typing import Any, Literal

import keras
import numpy as np

from headstand import inputs
from headstand import recipe as recipes
from headstand.errors import HeadstandError
from headstand.heads import checkpoint
from headstand.keras_files import loading
from headstand.keras_files.parts import KerasFileError
from headstand.quiet import quiet

Preprocessing = Literal["tf", "caffe", "torch", "none"]

# Preprocessing of each family: the `mode` of its `preprocess_input` in keras.applications; "none" if the network
# scales its input itself. A test compares this table with `preprocess_input` of each family.
_PREPROCESSING: tuple[tuple[str, Preprocessing], ...] = (
    ("ResNet50V2", "tf"), ("ResNet101V2", "tf"), ("ResNet152V2", "tf"), ("ResNet", "caffe"), ("VGG", "caffe"),
    ("DenseNet", "torch"), ("EfficientNet", "none"), ("ConvNeXt", "none"), ("MobileNetV3", "none"),
    ("Xception", "tf"), ("MobileNet", "tf"), ("Inception", "tf"), ("NASNet", "tf"),
)  # fmt: skip

# ImageNet statistics from `keras.applications.imagenet_utils.preprocess_input`: BGR means in 0..255 for "caffe", RGB
# means and standard deviations in 0..1 for "torch".
_CAFFE_MEAN = (103.939, 116.779, 123.68)
_TORCH_MEAN = (0.485, 0.456, 0.406)
_TORCH_STD = (0.229, 0.224, 0.225)

_CUSTOM_LAYERS = ("LayerScale", "CustomScaleLayer")
"""Custom layers that are private to keras.applications."""

_POOLING = {
    "avg": keras.layers.GlobalAveragePooling2D,
    "max": keras.layers.GlobalMaxPooling2D,
    "none": keras.layers.Flatten,
}


_NO_FEATURES = (keras.layers.InputLayer, keras.layers.ZeroPadding2D, keras.layers.Rescaling)
"""Layers whose outputs are not feature maps of their own."""


class BackboneError(HeadstandError):
    """The backbone is unknown, or its weights cannot be downloaded or loaded."""


def names() -> list[str]:
    """Returns the names of the `keras.applications` classifiers that can be backbones for photos, sorted."""
    candidates = (name for name in dir(keras.applications) if preprocessing(name))
    return sorted(name for name in candidates if isinstance(getattr(keras.applications, name), type(names)))


def preprocessing(name: str) -> Preprocessing | None:
    """Returns the preprocessing mode of a backbone (see `scaled`); None for an unknown name."""
    return next((mode for prefix, mode in _PREPROCESSING if name.startswith(prefix)), None)


def extractor(backbone: recipes.Backbone, like: keras.Model | None = None) -> keras.Model:
    """Returns the feature extractor of a backbone, a model from decoded files to feature vectors.

    Args:
        backbone: the recipe's section.
        like: an extractor that differs in the number of depths only; its network is shared instead of loaded again.

    Returns:
        For photos, a model from `float32 [N, size, size, 3]` in 0..255 to `float32 [N, D]`: preprocessing, the network
        (layer `backbone`), and pooling (layer `pool`; without pooling it flattens, and D = height x width x channels).
        With several depths, pooling is part of the layer `backbone`: its output is the pooled last map, followed by
        the pooled `earlier_maps`, the nearest one first.
        For other kinds of input, a model from `float32 [N, *shape]` with the layer `backbone` alone.

    Raises:
        BackboneError: unknown name, a size too small for the network, or weights that do not fit or cannot be loaded.
    """
    kind = backbone.input
    if not isinstance(kind, inputs.PhotoInput):
        keras.utils.set_random_seed(0)  # as `_network` does
        network = kind.network(backbone.name)
        network.name = "backbone"
        values = keras.Input(kind.shape, name=kind.kind)
        return keras.Model(values, network(values), name="extractor")
    network = _network(backbone) if like is None else _without_pooling(like.get_layer("backbone"))
    pixels = keras.Input((backbone.size, backbone.size, 3), name="pixels")
    pool, values = _POOLING[backbone.pooling], scaled(pixels, preprocessing(backbone.name))
    earlier = [] if backbone.pooling == "none" else earlier_maps(network, backbone.depths - 1)
    if not earlier:
        return keras.Model(pixels, pool(name="pool")(network(values)), name="extractor")
    # The last map comes first, so that the order of the layers and of their weights is that of the network alone.
    pooled = [pool(name="pool")(network.output)]
    pooled += [pool(name=f"pool_{number}")(each) for number, each in enumerate(earlier, start=1)]
    network = keras.Model(network.input, keras.layers.Concatenate(name="depths")(pooled), name="backbone")
    return keras.Model(pixels, network(values), name="extractor")


def feature_map(network: keras.Model) -> Any:
    """Returns the final feature map of a layer `backbone`, a symbolic tensor `[N, height, width, C]`."""
    return network.output if len(network.output.shape) == 4 else network.get_layer("pool").input


def _without_pooling(network: keras.Model) -> keras.Model:
    return keras.Model(network.input, feature_map(network), name="backbone")


def balanced(extractor: keras.Model, head: keras.Model, features: np.ndarray) -> tuple[keras.Model, keras.Model]:
    """Returns an equivalent extractor and head whose features have the same range at every depth.

    In int8 all concatenated tensors have one scale, so that a depth of small values would have few levels: each depth
    is divided by its largest feature, and the first layer of the head multiplies its weights by it. An extractor of a
    single depth is returned as it is.

    Args:
        extractor: model from pixels to features.
        head: trained model from features to probabilities; it is not changed.
        features: training features, `float32 [N, D]`.
    """
    network = extractor.get_layer("backbone")
    if "depths" not in [layer.name for layer in network.layers]:
        return extractor, head
    pooled = network.get_layer("depths").input
    widths = [int(each.shape[-1]) for each in pooled]
    parts = np.split(features, np.cumsum(widths)[:-1], axis=1)
    largest = [max(float(np.abs(part).max()), 1e-6) for part in parts]
    scaled = [
        keras.layers.Rescaling(1 / value, name=f"rescale_{number}")(each)
        for number, (value, each) in enumerate(zip(largest, pooled, strict=True))
    ]
    network = keras.Model(network.input, keras.layers.Concatenate(name="depths")(scaled), name="backbone")
    x = extractor.input
    for layer in extractor.layers[1:-1]:
        x = layer(x)
    weights, head = head.get_weights(), keras.models.clone_model(head)
    head.set_weights(weights)
    first = next(layer for layer in head.layers if isinstance(layer, keras.layers.Dense))
    first.kernel.assign(first.kernel.numpy() * np.repeat(largest, widths)[:, None])
    return keras.Model(extractor.input, network(x), name="extractor"), head


def earlier_maps(network: keras.Model, count: int) -> list[Any]:
    """Returns the last feature maps of the resolutions before the final one, the smallest resolution first.

    A resolution is the whole number of halvings of the input's height that is nearest to a map's height. Maps that are
    smaller than the final one, such as the weights of channels in squeeze-and-excitation blocks, are not used.

    Args:
        network: from `[N, size, size, 3]` to a feature map `[N, height, width, C]`.
        count: largest number of maps.
    """

    def halvings(height: int) -> int:
        return round(math.log2(network.input.shape[1] / height))

    maps: dict[int, Any] = {}
    for depth in sorted(network._nodes_by_depth, reverse=True):
        for node in network._nodes_by_depth[depth]:
            if isinstance(
                node.operation, keras.layers.InputLayer | keras.layers.ZeroPadding2D | keras.layers.Rescaling
            ):
                continue
            for output in node.output_tensors:
                if len(output.shape) == 4 and output.shape[1]:
                    maps[halvings(output.shape[1])] = output
    levels = sorted(level for level in maps if 0 < level < halvings(network.output.shape[1]))
    return [maps[level] for level in levels[::-1][:count]]


def digest(model: keras.Model) -> str:
    """Returns the SHA-256 of all weights in their order, in hexadecimal; part of the feature cache's key."""
    sha256 = hashlib.sha256()
    for weight in model.get_weights():
        sha256.update(np.ascontiguousarray(weight).tobytes())
    return sha256.hexdigest()


def scaled(pixels: Any, mode: Preprocessing | None) -> Any:
    """Adds the preprocessing of a backbone as layers of the model and returns the preprocessed pixels.

    Args:
        pixels: symbolic RGB pixels in 0..255, `[N, height, width, 3]`.
        mode: `tf` scales to -1..1; `caffe` converts to BGR and subtracts ImageNet's means; `torch` scales to 0..1 and
            standardises with ImageNet's statistics; `none` and None return the pixels unchanged.
    """
    if mode == "tf":
        return keras.layers.Rescaling(1 / 127.5, offset=-1.0, name="scale")(pixels)
    if mode == "torch":
        scale = [1 / (255 * std) for std in _TORCH_STD]
        offset = [-mean / std for mean, std in zip(_TORCH_MEAN, _TORCH_STD, strict=True)]
        return keras.layers.Rescaling(scale, offset=offset, name="scale")(pixels)
    if mode == "caffe":
        # RGB to BGR minus the mean as a 1x1 convolution, a layer that every converter supports.
        layer = keras.layers.Conv2D(3, 1, name="scale", trainable=False)
        scaled = layer(pixels)
        layer.set_weights([np.eye(3, dtype=np.float32)[::-1].reshape(1, 1, 3, 3), -np.array(_CAFFE_MEAN, np.float32)])
        return scaled
    return pixels


def _network(backbone: recipes.Backbone) -> keras.Model:
    if backbone.name not in names():
        others = (name for kind in inputs.REGISTERED.values() for name in kind.backbones)
        raise BackboneError(f"unknown backbone {backbone.name!r}; there are {', '.join([*names(), *others])}")
    build = getattr(keras.applications, backbone.name)
    shape = (backbone.size, backbone.size, 3)
    # A fixed seed: the cache and a resumed run need the same random weights again.
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
    # Named after building: EfficientNetV2 selects its blocks by the name that it is built with.
    network.name = "backbone"
    return network


def _load(network: keras.Model, path: Path, name: str) -> keras.Model:
    """Returns the network (see `plain`) with weights from a `.weights.h5` file or from a checkpoint's backbone."""
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


def plain(network: keras.Model) -> keras.Model:
    """Returns an equivalent network of built-in layers, whose `.h5` loads in plain Keras.

    A network that has no other layers is returned unchanged.

    MobileNetV3, ConvNeXt and InceptionResNetV2 contain custom layers or arithmetic operations between layers, which
    Keras 3 writes to an `.h5` but cannot read back. Number and order of the weights stay the same. The weight `[C]` of
    a LayerScale becomes the kernel `[1, 1, C, 1]` of a depthwise 1x1 convolution.
    """
    if all(
        isinstance(part, keras.layers.Layer) and type(part).__name__ not in _CUSTOM_LAYERS
        for part in network.operations
    ):
        return network
    return keras.models.clone_model(network, clone_function=lambda part: part, call_function=_call)


def _call(part: Any, *arguments: Any, **keywords: Any) -> Any:
    """Calls a layer or operation of the network, or the built-in layers that replace it, and returns the output."""
    kind = type(part).__name__
    if kind == "LayerScale":
        scale = keras.layers.DepthwiseConv2D(1, use_bias=False, name=part.name)
        scaled = scale(arguments[0])
        scale.set_weights([part.get_weights()[0].reshape(1, 1, -1, 1)])
        return scaled
    if kind == "CustomScaleLayer":
        shortcut, residual = arguments[0]
        residual = keras.layers.Rescaling(part.scale, name=f"{part.name}_scale")(residual)
        return keras.layers.Add(name=part.name)([shortcut, residual])
    if kind in ("Add", "Multiply") and not isinstance(part, keras.layers.Layer):
        x, operand = arguments
        if isinstance(operand, keras.KerasTensor):
            return getattr(keras.layers, kind)(name=part.name)([x, operand])
        scale, offset = (1.0, operand) if kind == "Add" else (operand, 0.0)
        return keras.layers.Rescaling(scale, offset, name=part.name)(x)
    return part(*arguments, **keywords)
