"""Which layers of a network stay as they are, and where it can be cut so that those before the cut run only once."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import keras

from headstand.errors import HeadstandError

_BLOCK = re.compile(
    r"(?P<name>block_?\d+[a-z]?(?=_(?!\d))"  # MobileNetV2, Xception, VGG, EfficientNet
    r"|conv\d+_block\d+(?=_)"  # ResNet, DenseNet
    r"|expanded_conv(_\d+)?(?=_)"  # MobileNetV3, and MobileNetV2's first
    r"|\w+_stage_\d+_block_\d+(?=_))"  # ConvNeXt
    r"|conv_(pad|dw|pw)_(?P<number>\d+)"  # MobileNet: a depthwise convolution and what follows it
)
"""How layers of keras.applications name the block that they belong to. InceptionV3, InceptionResNetV2 and NASNet name
the ends of their blocks alone, which says nothing of where they begin."""


class FreezingError(HeadstandError):
    """More is to be unfrozen than there is, or blocks of a network that does not name them."""


@dataclass(frozen=True)
class Parts:
    """A model in two: `rest(prefix(pixels))` is `model(pixels)`, and both hold its very layers.

    `prefix` is None where everything has to run. `layer` is the last of the prefix, and `depth` its place among the
    backbone's layers (Keras numbers unnamed layers through, so its name may differ from run to run). `frozen` are the
    backbone's layers that stay as they are, on both sides of the cut.
    """

    prefix: keras.Model | None
    rest: keras.Model
    layer: str
    depth: int
    frozen: tuple[keras.layers.Layer, ...]


def blocks(network: keras.Model) -> dict[str, int]:
    """The blocks that the network's layers name, in order, and the place of each one's first layer.

    Layers that name none belong to the block before them.
    """
    found: dict[str, int] = {}
    for place, layer in enumerate(network.layers):
        if match := _BLOCK.match(layer.name):
            found.setdefault(match["name"] or match["number"], place)
    return found


def frozen(network: keras.Model, unfreeze: str) -> tuple[keras.layers.Layer, ...]:
    """The layers that stay as they are.

    Args:
        network: the backbone.
        unfreeze: `all`, `N blocks` or `N layers`: so many at the end are trained.

    Raises:
        FreezingError: there are not so many.
    """
    if unfreeze == "all":
        return ()
    count, unit = int(unfreeze.split()[0]), unfreeze.split()[1].rstrip("s")
    starts = list(blocks(network).values()) if unit == "block" else list(range(len(network.layers)))
    if not starts:
        raise FreezingError(
            f"finetune.unfreeze = {unfreeze!r}: this backbone's layers do not name their blocks; say "
            f"'N layers', of which it has {len(network.layers)}"
        )
    if count > len(starts):
        raise FreezingError(
            f"finetune.unfreeze = {unfreeze!r}: the backbone has {len(starts)} {unit}s; say fewer, or 'all'"
        )
    return tuple(network.layers[: starts[-count]])


def split(model: keras.Model, unfreeze: str) -> Parts:
    """Cut a whole model (pixels, scaling, the layer `backbone`, pooling, head) where its frozen part ends.

    Raises:
        FreezingError: as `frozen`.
    """
    network = model.get_layer("backbone")
    still = frozen(network, unfreeze)
    found = _cut(network, [layer for layer in network.layers if layer not in still])
    if not still or found is None:
        return Parts(None, model, "", 0, still)
    tensor, last = found
    # Where no layer of the backbone learns, nothing of it is left behind the cut.
    behind = [] if tensor is network.output else [keras.Model(tensor, network.output)]
    place = model.layers.index(network)
    pixels = x = keras.Input(model.input.shape[1:])
    for layer in (*model.layers[1:place], keras.Model(network.input, tensor)):
        x = layer(x)
    prefix = keras.Model(pixels, x)
    activations = y = keras.Input(tensor.shape[1:])
    for layer in (*behind, *model.layers[place + 1 :]):
        y = layer(y)
    return Parts(prefix, keras.Model(activations, y), last.name, network.layers.index(last), still)


def _cut(network: keras.Model, free: Sequence[keras.layers.Layer]) -> tuple[Any, keras.layers.Layer] | None:
    """The last tensor that all paths go through before any layer that learns, and the layer that it comes from.

    None where that is the network's input.
    """
    nodes = [node for depth in sorted(network._nodes_by_depth, reverse=True) for node in network._nodes_by_depth[depth]]
    # BatchNormalization does not learn, wherever it stands: see finetune.compile_for.
    learning = {id(layer) for layer in free if layer.weights and not isinstance(layer, keras.layers.BatchNormalization)}
    last_use = {id(tensor): place for place, node in enumerate(nodes) for tensor in node.input_tensors}
    last_use |= {id(tensor): len(nodes) for tensor in network.outputs}
    alive: dict[int, Any] = {}
    found = None
    for place, node in enumerate(nodes):
        if id(node.operation) in learning:
            break
        alive |= {id(tensor): (tensor, node.operation) for tensor in node.output_tensors}
        alive = {key: value for key, value in alive.items() if last_use.get(key, -1) > place}
        if len(alive) == 1 and not node.is_input:
            (found,) = alive.values()
    return found
