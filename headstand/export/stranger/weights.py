"""Give the built layers their stored weights.

An `.h5` keeps them under each outermost layer's name, for a network within in one list: first those that were trainable
when it was saved, then the rest. A `.keras` archive keeps them under paths made of class names and counters.
"""

import re
from collections.abc import Iterator
from typing import Any

import keras
import numpy as np

from headstand.export.stranger.description import Network, Part
from headstand.export.stranger.refusal import StrangerError, shown
from headstand.export.stranger.stored import Stored


def assign(network: Network, stored: Stored) -> None:
    """Fill all layers of a network that has been built.

    Raises:
        StrangerError: weights are missing, are too many, or have other shapes than the layers.
    """
    if stored.layout == "legacy":
        for part in network.parts:
            _fill(part.name, _legacy_order(part), stored)
    else:
        for path, part in _paths(network, "layers"):
            alternative = path.replace("layers/", "_layer_checkpoint_dependencies/", 1)
            _fill(path if path in stored.weights else alternative, list(part.layer.weights), stored)
    for part in _leaves(network):
        if isinstance(part.layer, keras.layers.Normalization):
            part.layer.finalize_state()


def _fill(key: str, variables: list[Any], stored: Stored) -> None:
    pairs = stored.weights.get(key, ())
    if not variables:
        return
    if len(pairs) != len(variables):
        raise StrangerError(f"its file holds {len(pairs)} weights for {shown(key)}, which takes {len(variables)}")
    for variable, (name, values) in zip(variables, pairs, strict=True):
        shape = tuple(variable.shape)
        # A LayerScale's [C] has become a depthwise 1x1 convolution's [1, 1, C, 1].
        if values.shape != shape and not (values.ndim == 1 and shape == (1, 1, values.size, 1)):
            raise StrangerError(
                f"its file holds {list(values.shape)} for {shown(f'{key}/{name}')}, which takes {list(shape)}"
            )
        if not np.isfinite(values).all():
            raise StrangerError(f"its weights {shown(f'{key}/{name}')} are not all numbers")
        last = re.sub(r":\d+$", "", name.split("/")[-1])
        if stored.layout == "legacy" and _differs(last, variable.name):
            raise StrangerError(f"its file holds {shown(name)} where {shown(key)} takes {variable.name}")
        variable.assign(values.reshape(shape))


_SAME = frozenset({"gamma", "beta", "bias", "moving_mean", "moving_variance"})
"""Names of weights that every Keras agrees on, and that have one shape within a layer."""


def _differs(stored: str, built: str) -> bool:
    """Whether two names contradict each other: then the order in the file is another than the layers'."""
    return stored in _SAME and built in _SAME and stored != built


def _legacy_order(part: Part) -> list[Any]:
    trainable: list[Any] = []
    rest: list[Any] = []
    for leaf in [part] if part.network is None else _leaves(part.network):
        if leaf.layer is not None:
            for variable in leaf.layer.weights:
                (trainable if variable.trainable and leaf.trainable else rest).append(variable)
    return trainable + rest


def _leaves(network: Network) -> Iterator[Part]:
    for part in network.parts:
        if part.network is not None:
            yield from _leaves(part.network)
        elif part.layer is not None:
            yield part


def _paths(network: Network, prefix: str) -> Iterator[tuple[str, Part]]:
    """Each layer with the path that Keras saves it under: the class in snake case, counted within its network."""
    used: dict[str, int] = {}
    for part in network.parts:
        if part.kind == "InputLayer" and network.kind == "Sequential":
            continue  # Keras does not count it among a Sequential's layers
        name = _snake_case(part.kind)
        used[name] = used.get(name, -1) + 1
        path = f"{prefix}/{name}" + (f"_{used[name]}" if used[name] else "")
        if part.network is not None:
            yield from _paths(part.network, f"{path}/layers")
        elif part.layer is not None:
            yield path, part


def _snake_case(kind: str) -> str:
    """As Keras does it, digits and all: `Conv2D` is `conv2d`, `BatchNormalization` `batch_normalization`."""
    kind = re.sub(r"\W+", "", kind)
    return re.sub("([a-z])([A-Z])", r"\1_\2", re.sub("(.)([A-Z][a-z]+)", r"\1_\2", kind)).lower()
