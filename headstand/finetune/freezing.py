"""Selects the frozen layers of a network and splits it, so that the part before the first trained layer runs once."""

import re
from collections.abc import Iterator, Sequence, Set
from dataclasses import dataclass
from typing import Any

import keras

from headstand.errors import HeadstandError
from headstand.features import backbones
from headstand.heads import applied, model_layers

_BLOCK = re.compile(
    r"(?P<name>block_?\d+[a-z]?(?=_(?!\d))"  # MobileNetV2, Xception, VGG, EfficientNet
    r"|conv\d+_block\d+(?=_)"  # ResNet, DenseNet
    r"|expanded_conv(_\d+)?(?=_)"  # MobileNetV3, and MobileNetV2's first
    r"|\w+_stage_\d+_block_\d+(?=_))"  # ConvNeXt
    r"|conv_(pad|dw|pw)_(?P<number>\d+)"  # MobileNet: a depthwise convolution and what follows it
)
"""Block names within layer names, as in keras.applications. InceptionV3, InceptionResNetV2 and NASNet are not covered:
their layer names mark only the end of a block, not its beginning."""


class FreezingError(HeadstandError):
    """More layers or blocks are to be unfrozen than there are, or blocks of a network that has none."""


@dataclass(frozen=True)
class SplitModel:
    """A model split in two: `rest(prefix(pixels))` equals `model(pixels)`, and both parts share the model's layers.

    `prefix` is None if no part of the backbone can be split off; `layer` is then empty. `layer` is the name of the
    prefix's last layer, and `depth` its index among the backbone's layers (Keras numbers unnamed layers consecutively,
    so the name may differ between runs). `frozen` are the backbone's frozen layers in both parts.
    """

    prefix: keras.Model | None
    rest: keras.Model
    layer: str
    depth: int
    frozen: tuple[keras.layers.Layer, ...]


def blocks(network: keras.Model) -> dict[str, int]:
    """Returns the network's blocks in order, by name, with the index of each first layer.

    If names of layers contain those of blocks, as in keras.applications, layers without a block in their name belong to
    the preceding block. Otherwise a block is what lies between two layers that merge all paths, such as the sums of a
    residual network; it has the name of its first layer.
    """
    starts: dict[str, int] = {}
    for index, layer in enumerate(network.layers):
        if match := _BLOCK.match(layer.name):
            starts.setdefault(match["name"] or match["number"], index)
    if starts:
        return starts
    merges = [layer for _, layer in _joints(network) if isinstance(layer, keras.layers.Add | keras.layers.Concatenate)]
    # The layers before the first merge and those after the last one belong to the nearest block.
    ends = [network.layers.index(layer) + 1 for layer in merges]
    return {network.layers[index].name: index for index in [0, *ends][: len(ends)]}


def frozen(network: keras.Model, unfreeze: str) -> tuple[keras.layers.Layer, ...]:
    """Returns the layers of the backbone that stay frozen during fine-tuning.

    Args:
        network: the backbone.
        unfreeze: `all`, `N blocks` or `N layers`: the last N are trained.

    Raises:
        FreezingError: the backbone has fewer blocks or layers, or its layers neither name blocks nor merge paths.
    """
    if unfreeze == "all":
        return ()
    count, unit = int(unfreeze.split()[0]), unfreeze.split()[1].rstrip("s")
    starts = list(blocks(network).values()) if unit == "block" else list(range(len(network.layers)))
    if not starts:
        raise FreezingError(
            f"finetune.unfreeze = {unfreeze!r}: this backbone has no blocks, since its layers neither name any nor "
            f"merge all paths; use 'N layers', of which it has {len(network.layers)}"
        )
    if count > len(starts):
        raise FreezingError(
            f"finetune.unfreeze = {unfreeze!r}: the backbone has {len(starts)} {unit}s; use fewer, or 'all'"
        )
    return tuple(network.layers[: starts[-count]])


def split(model: keras.Model, unfreeze: str) -> SplitModel:
    """Splits a whole model (pixels, scaling, the layer `backbone`, pooling, head) at the end of its frozen part.

    `unfreeze` and errors are as in `frozen`.
    """
    scaling, network, pooling, head = model_layers(model)
    frozen_layers = frozen(network, unfreeze)
    cut = _cut(network, [layer for layer in network.layers if layer not in frozen_layers])
    if not frozen_layers or cut is None:
        return SplitModel(None, model, "", 0, frozen_layers)
    tensor, last = cut
    # If no layer of the backbone is trained, no part of it remains after the cut.
    remainder = [] if tensor is network.output else [keras.Model(tensor, network.output)]
    pixels, activations = keras.Input(model.input.shape[1:]), keras.Input(tensor.shape[1:])
    prefix = keras.Model(pixels, applied([*scaling, keras.Model(network.input, tensor)], pixels))
    rest = keras.Model(activations, applied([*remainder, *pooling, *head], activations))
    return SplitModel(prefix, rest, last.name, network.layers.index(last), frozen_layers)


def _cut(network: keras.Model, free: Sequence[keras.layers.Layer]) -> tuple[Any, keras.layers.Layer] | None:
    """Returns the last tensor that all paths pass through before the first trained layer, and the layer it comes from.

    None if there is no such tensor but the network's input. `free` are the layers that are not frozen.
    """
    # BatchNormalization is never trained: see `finetune.compile_for`.
    trained = {id(layer) for layer in free if layer.weights and not isinstance(layer, keras.layers.BatchNormalization)}
    joints = [*_joints(network, trained)]
    return joints[-1] if joints else None


def _joints(network: keras.Model, until: Set[int] = frozenset()) -> Iterator[tuple[Any, keras.layers.Layer]]:
    """Yields the tensors that all paths pass through, except the input, in order, with the layers they come from.

    It ends before the first call of a layer whose `id` is in `until`.
    """
    nodes = backbones.nodes(network)
    last_use = {id(tensor): index for index, node in enumerate(nodes) for tensor in node.input_tensors}
    last_use |= {id(tensor): len(nodes) for tensor in network.outputs}
    alive: dict[int, Any] = {}
    for index, node in enumerate(nodes):
        if id(node.operation) in until:
            return
        alive |= {id(tensor): (tensor, node.operation) for tensor in node.output_tensors}
        alive = {key: value for key, value in alive.items() if last_use.get(key, -1) > index}
        if len(alive) == 1 and not node.is_input:
            yield from alive.values()
