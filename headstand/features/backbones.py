"""Backbones: networks of `keras.applications` or in files, with preprocessing; those of registered kinds of input."""

import hashlib
import importlib
import json
import math
import re
from pathlib import Path
from typing import Any

import keras
import numpy as np

from headstand import environment, inputs
from headstand import recipe as recipes
from headstand.errors import HeadstandError
from headstand.features.built_in import plain
from headstand.heads import checkpoint
from headstand.keras_files import loading
from headstand.keras_files.parts import KerasFileError
from headstand.quiet import quiet
from headstand.recipe.sections import SHIPPED, Preprocessing
from headstand.tensorflow_setup import initial_weights

# Preprocessing of each family of keras.applications, as its `preprocess_input`; "none" if the network scales its input
# itself. A test compares this table with `preprocess_input` of each family.
_PREPROCESSING: tuple[tuple[str, Preprocessing], ...] = (
    ("ResNet50V2", "xception"), ("ResNet101V2", "xception"), ("ResNet152V2", "xception"), ("ResNet", "caffe"),
    ("VGG", "caffe"), ("DenseNet", "torch"), ("EfficientNet", "none"), ("ConvNeXt", "none"), ("MobileNetV3", "none"),
    ("Xception", "xception"), ("MobileNet", "xception"), ("Inception", "xception"), ("NASNet", "xception"),
)  # fmt: skip

# ImageNet statistics from `keras.applications.imagenet_utils.preprocess_input`: BGR means in 0..255 for "caffe", RGB
# means and standard deviations in 0..1 for "torch".
_CAFFE_MEAN = (103.939, 116.779, 123.68)
_TORCH_MEAN = (0.485, 0.456, 0.406)
_TORCH_STD = (0.229, 0.224, 0.225)

CELLS = 3
"""Cells per side of the grid in which the feature map before the last resolution is pooled.

docs/benchmarks.md compares it with other sizes and maps.
"""

_POOLING = {"avg": keras.layers.GlobalAveragePooling2D, "max": keras.layers.GlobalMaxPooling2D}
"""Pooling layers of a feature map by the recipe's key."""

_NAMES = ("name", "shared_object_id", "build_config")
"""Keys of a layer's configuration that do not change what it computes."""

_NO_FEATURES = (keras.layers.InputLayer, keras.layers.ZeroPadding2D, keras.layers.Rescaling)
"""Layers whose outputs are not feature maps of their own."""


class BackboneError(HeadstandError):
    """The backbone is unknown, or its weights cannot be downloaded or loaded."""


def names() -> list[str]:
    """Returns the names of the `keras.applications` classifiers that can be backbones for photos, sorted."""
    candidates = (name for name in dir(keras.applications) if preprocessing(name))
    return sorted(name for name in candidates if isinstance(getattr(keras.applications, name), type(names)))


def check(backbone: recipes.Backbone) -> None:
    """Checks that there is a network for photos of this name, without loading it.

    Raises:
        BackboneError: the name is unknown, or needs KerasHub, which is not installed.
        RecipeError: its file does not exist.
    """
    if backbone.network_file:
        recipes.locate(backbone.network_file, "HEADSTAND_WEIGHTS")
    elif backbone.preset:
        _hub()
    elif backbone.name not in names():
        known = [*names(), *SHIPPED, *(name for kind in inputs.REGISTERED.values() for name in kind.backbones)]
        raise BackboneError(
            f"unknown backbone {backbone.name!r}{environment.suggestion(backbone.name, known, prefix='')}; there are "
            f"{', '.join(known)}, networks in .keras and .h5 files, and presets of KerasHub (keras_hub:PRESET)"
        )


def note(backbone: recipes.Backbone) -> str:
    """Returns a note for a backbone whose weights were trained at another size of the input; else an empty text."""
    file = backbone.weights_file
    try:
        own = checkpoint.metadata(recipes.locate(file, "HEADSTAND_WEIGHTS")).size if file else backbone.size
    except HeadstandError:  # no checkpoint of Headstand, or reported when it is loaded
        return ""
    if own == backbone.size:
        return ""
    return f"note: {file} was trained at {own} px and is used at {backbone.size} px: --backbone.size {own} changes that"


def preprocessing(name: str) -> Preprocessing | None:
    """Returns the preprocessing of a network of `keras.applications` (see `scaled`); None for another name."""
    return next((mode for prefix, mode in _PREPROCESSING if name.startswith(prefix)), None)


def _preprocessed(pixels: Any, backbone: recipes.Backbone, network: keras.Model) -> Any:
    """Returns pixels scaled as the recipe states, or as the network was trained.

    Raises:
        BackboneError: neither is known.
    """
    if backbone.preset and backbone.preprocessing == "auto":
        converter = _converter(backbone.preset)
        scale, offset = (
            given if isinstance(given, list | tuple) else [default if given is None else given] * 3
            for given, default in ((converter.scale, 1.0), (converter.offset, 0.0))
        )
        return keras.layers.Rescaling(list(scale), list(offset), name="scale")(pixels)
    return scaled(pixels, _preprocessing(backbone, network))


def _preprocessing(backbone: recipes.Backbone, network: keras.Model) -> Preprocessing:
    if backbone.preprocessing != "auto":
        return backbone.preprocessing
    if not backbone.network_file:
        return preprocessing(backbone.name) or "none"
    if backbone.name in SHIPPED:
        return SHIPPED[backbone.name][1]
    first = next(layer for layer in network.layers if not isinstance(layer, keras.layers.InputLayer))
    if isinstance(first, keras.layers.Rescaling | keras.layers.Normalization) or first.name == "scale":
        return "none"
    raise BackboneError(
        f"{backbone.name} does not begin with a Rescaling or Normalization layer: state how its pixels are scaled with "
        "--backbone.preprocessing xception, caffe, torch, lite, or none if the network scales them itself"
    )


def extractor(backbone: recipes.Backbone, like: keras.Model | None = None) -> keras.Model:
    """Returns the feature extractor of a backbone, a model from decoded files to feature vectors.

    Args:
        backbone: the recipe's section.
        like: an extractor that differs in the number of depths only; its network is shared instead of loaded again.

    Returns:
        For photos, a model from `float32 [N, size, size, 3]` in 0..255 to `float32 [N, D]`: preprocessing, the network
        up to its last feature map (layer `backbone`), and pooling (layer `pool`; without pooling it flattens, and D =
        height x width x channels).
        With several depths, pooling is part of the layer `backbone`: its output is the pooled last map, followed by
        the pooled `earlier_maps`, the nearest one first. That one is pooled in cells, see `_cells`.
        For other kinds of input, a model from `float32 [N, *shape]` with the layer `backbone` alone.

    Raises:
        BackboneError: unknown name, a size too small for the network, or weights that do not fit or cannot be loaded.
    """
    kind = backbone.input
    if not isinstance(kind, inputs.PhotoInput):
        with initial_weights(0):  # as in `_from_applications`
            network = kind.network(backbone.name)
        network.name = "backbone"
        values = keras.Input(kind.shape, name=kind.kind)
        return keras.Model(values, network(values), name="extractor")
    network = _network(backbone) if like is None else _without_pooling(like.get_layer("backbone"))
    pixels = keras.Input((backbone.size, backbone.size, 3), name="pixels")
    values = _preprocessed(pixels, backbone, network)
    mapped = len(network.output.shape) == 4
    pool = _POOLING.get(backbone.pooling, keras.layers.Flatten) if mapped else keras.layers.Flatten
    earlier = [] if pool is keras.layers.Flatten else earlier_maps(network, backbone.depths - 1)
    if not earlier:
        return keras.Model(pixels, pool(name="pool")(network(values)), name="extractor")
    # The last map comes first, so that the order of the layers and of their weights is that of the network alone.
    pooled = [pool(name="pool")(network.output)]
    pooled.append(_cells(backbone.pooling, earlier[0]))
    pooled += [pool(name=f"pool_{number}")(each) for number, each in enumerate(earlier[1:], start=2)]
    network = keras.Model(network.input, keras.layers.Concatenate(name="depths")(pooled), name="backbone")
    return keras.Model(pixels, network(values), name="extractor")


def _cells(pooling: str, feature_map: Any) -> Any:
    """Returns a feature map pooled in a grid, row by row, so that the head can use where in a photo something is.

    Each column is averaged with the one on the other side of the photo, as if the head were trained on mirrored photos
    too: with `CELLS` = 3, a row has the mean of left and right and the middle, `[N, 6 x C]`. Cells overlap if the
    map's side is no multiple of theirs; a map of fewer positions has as many cells.
    """
    sides = [int(side) for side in feature_map.shape[1:3]]
    counts = [min(CELLS, side) for side in sides]
    strides = [side // count for side, count in zip(sides, counts, strict=True)]
    sizes = [side - stride * (count - 1) for side, stride, count in zip(sides, strides, counts, strict=True)]
    kind = keras.layers.MaxPooling2D if pooling == "max" else keras.layers.AveragePooling2D
    grid, last = kind(sizes, strides, name="pool_1")(feature_map), counts[1] - 1
    columns = [keras.layers.Cropping2D(((0, 0), (left, last - left)))(grid) for left in range(counts[1])]
    pairs = [keras.layers.Average()([columns[left], columns[last - left]]) for left in range(counts[1] // 2)]
    mirrored = [*pairs, *columns[len(pairs) : counts[1] - len(pairs)]]
    joined = keras.layers.Concatenate(axis=2)(mirrored) if len(mirrored) > 1 else mirrored[0]
    return keras.layers.Flatten(name="cells")(joined)


def feature_map(network: keras.Model) -> Any:
    """Returns the final features of a layer `backbone` before pooling, a symbolic tensor.

    It is a feature map `[N, height, width, C]`; of a network without one, its output.
    """
    pools = [layer for layer in network.layers if layer.name == "pool"]
    return pools[0].input if pools else network.output


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
        network: from `[N, size, size, 3]` to a feature map `[N, height, width, C]`; other networks have no such maps.
        count: largest number of maps.
    """
    if len(network.output.shape) != 4:
        return []
    maps, final = _maps(network), _halvings(network, network.output)
    levels = sorted(level for level in maps if 0 < level < final)
    return [maps[level] for level in levels[::-1][:count]]


def _halvings(network: keras.Model, tensor: Any) -> int:
    return round(math.log2(network.input.shape[1] / tensor.shape[1]))


def _maps(network: keras.Model) -> dict[int, Any]:
    """Returns the last feature map of each resolution by its number of halvings."""
    maps: dict[int, Any] = {}
    for node in nodes(network):
        if not isinstance(node.operation, _NO_FEATURES):
            for output in node.output_tensors:
                if len(output.shape) == 4 and output.shape[1]:
                    maps[_halvings(network, output)] = output
    return maps


def nodes(network: keras.Model) -> list[Any]:
    """Returns the calls of the network's layers in their order, as Keras's nodes."""
    return [node for depth in sorted(network._nodes_by_depth, reverse=True) for node in network._nodes_by_depth[depth]]


def _to_features(network: keras.Model) -> keras.Model:
    """Returns the network up to its features: its output, or the last feature map if it ends in pooling or classes.

    The last map is the last one of the smallest resolution above 1 x 1.
    """
    if len(network.output.shape) > 2:
        return network
    last = [tensor for _, tensor in sorted(_maps(network).items()) if tensor.shape[1] > 1]
    return keras.Model(network.input, last[-1]) if last else network


def digest(model: keras.Model) -> str:
    """Returns the SHA-256 of a model's layers and weights in their order, in hexadecimal; part of cache keys.

    Names of layers, which Keras may number differently in each process, do not change it.
    """
    sha256 = hashlib.sha256(json.dumps(_architecture(model)).encode())
    for weight in model.get_weights():
        sha256.update(np.ascontiguousarray(weight).tobytes())
    return sha256.hexdigest()


def _architecture(model: keras.Model) -> list[Any]:
    """Returns for each call of the model's layers: class, configuration, and the numbers of the tensors it takes."""
    numbers: dict[int, int] = {}
    calls: list[Any] = []
    for node in nodes(model):
        part = node.operation
        if isinstance(part, keras.Model):
            config: Any = _architecture(part)
        else:
            config = _without_names(part.get_config())
        taken = [numbers[id(tensor)] for tensor in node.input_tensors if not node.is_input]
        calls.append([type(part).__name__, config, taken])
        for tensor in node.output_tensors:
            numbers[id(tensor)] = len(numbers)
    return calls


def _without_names(value: Any) -> Any:
    """Returns a configuration that can be written as JSON, without the keys in `_NAMES`."""
    if isinstance(value, dict):
        return {str(key): _without_names(item) for key, item in sorted(value.items()) if key not in _NAMES}
    if isinstance(value, list | tuple | np.ndarray):
        return [_without_names(item) for item in value]
    return value if value is None or isinstance(value, bool | int | float | str) else type(value).__name__


def folder_name(name: str) -> str:
    """Returns the name of a backbone, which may be a path, as a part of a folder's name."""
    return re.sub(r"[^A-Za-z0-9_.-]+", "-", Path(name).name)


def scaled(pixels: Any, mode: Preprocessing) -> Any:
    """Adds the preprocessing of a backbone as layers of the model and returns the preprocessed pixels.

    Args:
        pixels: symbolic RGB pixels in 0..255, `[N, height, width, 3]`.
        mode: the scaling.
    """
    if mode == "xception":
        return keras.layers.Rescaling(1 / 127.5, offset=-1.0, name="scale")(pixels)
    if mode == "lite":
        return keras.layers.Rescaling(1 / 128, offset=-127 / 128, name="scale")(pixels)
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
    """Returns the network of a backbone for photos up to its features, as the layer `backbone`."""
    check(backbone)
    build = _from_file if backbone.network_file else _from_preset if backbone.preset else _from_applications
    network = build(backbone)
    if backbone.weights_file:
        network = _load(network, recipes.locate(backbone.weights_file, "HEADSTAND_WEIGHTS"), backbone.name)
    else:
        network = plain(network)
    # Named after building: EfficientNetV2 selects its blocks by the name that it is built with.
    network.name = "backbone"
    return network


def _from_applications(backbone: recipes.Backbone) -> keras.Model:
    build = getattr(keras.applications, backbone.name)
    shape = (backbone.size, backbone.size, 3)
    try:
        if backbone.weights != "imagenet":
            with initial_weights(0):  # a fixed seed: the cache and a resumed run need the same weights again
                network = build(include_top=False, weights=None, input_shape=shape)
        else:
            try:
                network = build(include_top=False, weights="imagenet", input_shape=shape)
            except Exception as error:  # keras raises a bare Exception when the download fails
                if isinstance(error, ValueError):
                    raise
                raise BackboneError(
                    f"cannot download the ImageNet weights of {backbone.name} ({error}); connect to the network, "
                    f"name a file with --backbone.weights PATH, use --backbone.name {next(iter(SHIPPED))}, which needs "
                    "no download, or --backbone.weights none to train without"
                ) from error
    except ValueError as error:
        raise BackboneError(f"{backbone.name} at {backbone.size} pixels: {str(error).splitlines()[0]}") from error
    return network


def _from_file(backbone: recipes.Backbone) -> keras.Model:
    """Returns the network in an untrusted `.keras` or `.h5` file, for photos of the recipe's size.

    Raises:
        BackboneError: the file is refused, or its network does not take photos of this size.
    """
    assert backbone.network_file
    try:
        network = loading.load(recipes.locate(backbone.network_file, "HEADSTAND_WEIGHTS"), backbone.size)
    except KerasFileError as error:
        raise BackboneError(f"backbone {backbone.name}: {error}") from error
    shape = network.input_shape
    if len(shape) != 4 or shape[3] not in (3, None):
        raise BackboneError(f"backbone {backbone.name}: its input is {list(shape)}, not [photos, height, width, 3]")
    try:
        return _to_features(plain(network, backbone.size))
    except ValueError as error:
        own = f"; it was built for {shape[1]} pixels: use --backbone.size {shape[1]}" if shape[1] else ""
        raise BackboneError(
            f"backbone {backbone.name} at {backbone.size} pixels: {str(error).strip().splitlines()[0]}{own}"
        ) from error


def _from_preset(backbone: recipes.Backbone) -> keras.Model:
    """Returns a backbone of KerasHub as a network of built-in layers.

    Raises:
        BackboneError: KerasHub is not installed, has no such preset, cannot download it, or it is not for photos or has
            layers that are not built in.
    """
    package = _hub()
    try:
        with quiet(), initial_weights(0):  # as in `_from_applications`
            network = package.models.Backbone.from_preset(
                backbone.preset, load_weights=backbone.weights != "none", dtype="float32"
            )
    except Exception as error:  # of KerasHub, Keras, and of kagglehub's requests
        reason = next((line for line in str(error).splitlines() if line.strip()), type(error).__name__)
        raise BackboneError(f"cannot load the preset {backbone.preset} of KerasHub: {reason}") from error
    shapes = [tensor.shape for tensor in network.inputs]
    if len(shapes) != 1 or len(shapes[0]) != 4 or len(network.outputs) != 1:
        raise BackboneError(f"{backbone.name} is not a network from photos to features: its inputs are {shapes}")
    try:
        network = plain(network, backbone.size)
    except ValueError as error:
        raise BackboneError(
            f"{backbone.name} at {backbone.size} pixels: {str(error).strip().splitlines()[0]}; it was built for "
            f"{shapes[0][1]} pixels: use --backbone.size {shapes[0][1]}"
        ) from error
    if own := [type(part).__name__ for part in network.operations if not type(part).__module__.startswith("keras.")]:
        raise BackboneError(
            f"{backbone.name} has layers that only KerasHub defines ({', '.join(sorted(set(own)))}): a checkpoint, "
            "which is loaded without code from other packages, cannot hold them; choose a network of Keras's own layers"
        )
    return network


def _hub() -> Any:
    """Returns the module keras_hub, which is optional.

    Raises:
        BackboneError: it is not installed.
    """
    try:
        return importlib.import_module("keras_hub")
    except ImportError as error:
        raise BackboneError(
            f"presets of KerasHub need the package keras-hub (cannot import {error.name}): pip install keras-hub"
        ) from error


def _converter(preset: str) -> Any:
    """Returns KerasHub's preprocessing of a preset, with the attributes `scale` and `offset`.

    Raises:
        BackboneError: the preset has none.
    """
    try:
        return _hub().layers.ImageConverter.from_preset(preset)
    except Exception as error:  # as in `_from_preset`
        raise BackboneError(
            f"the preset {preset} does not state how its pixels are scaled: add --backbone.preprocessing"
        ) from error


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
        try:
            own = checkpoint.metadata(path)
        except HeadstandError:  # weights without a checkpoint
            own = None
        if own and own.backbone != name:
            reason = f"they are those of {own.backbone}: use --backbone.name {own.backbone} --backbone.size {own.size}"
        raise BackboneError(f"the weights {path} do not fit {name}: {reason}") from error
