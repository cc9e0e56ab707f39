"""Rewrites a network with built-in Keras layers only, so that a checkpoint loads in plain Keras."""

from typing import Any

import keras
import numpy as np

_CUSTOM_LAYERS = ("LayerScale", "CustomScaleLayer")
"""Custom layers that are private to keras.applications."""

_ACTIVATIONS = {
    "Relu": "relu", "Relu6": "relu6", "Silu": "silu", "Sigmoid": "sigmoid", "Tanh": "tanh", "Gelu": "gelu",
    "HardSigmoid": "hard_sigmoid", "HardSilu": "hard_silu",
}  # fmt: skip
"""Names of activations by the operation between layers."""


def plain(network: keras.Model, size: int | None = None) -> keras.Model:
    """Returns an equivalent network of built-in layers, without networks within it, whose `.h5` loads in plain Keras.

    A network that is already in this form is returned unchanged.

    MobileNetV3, ConvNeXt and InceptionResNetV2 contain custom layers or arithmetic operations between layers, which
    Keras 3 writes to an `.h5` but cannot read back. Number and order of the weights stay the same, except for those of
    networks within it. The weight `[C]` of a LayerScale becomes the kernel `[1, 1, C, 1]` of a depthwise 1x1
    convolution.

    Args:
        network: from photos to features; its layers are shared with the result.
        size: side of the input of the result in pixels; by default as it is.

    Raises:
        ValueError: the network cannot be applied to photos of this size.
    """
    if isinstance(network, keras.Sequential):
        network = network._functional
    given = network.inputs[0].shape[1:]
    shape = (size, size, 3) if size else given
    functional = type(network).__name__ == "Functional"  # and not a subclass of KerasHub
    if (
        functional
        and shape == given
        and all(
            isinstance(part, keras.layers.Layer)
            and not isinstance(part, keras.Model)
            and type(part).__name__ not in _CUSTOM_LAYERS
            for part in network.operations
        )
    ):
        return network
    pixels = keras.Input(shape, name=network.operations[0].name)
    return keras.Model(pixels, _call(network, pixels), name=network.name)


def _inside(layer: keras.layers.Layer, arguments: tuple[Any, ...]) -> keras.Model | None:
    """Returns the layers that another package's layer calls, as a network; None if it has weights besides theirs."""
    if len(arguments) != 1 or layer._trainable_variables or layer._non_trainable_variables:
        return None
    given = keras.Input(arguments[0].shape[1:])
    try:
        network = keras.Model(given, layer.call(given))
    except Exception:  # it cannot be called on a symbolic tensor without a batch size
        return None
    for part in network.operations:  # unique in the whole network
        part.name = f"{layer.name}_{part.name}"
    return network


def _call(part: Any, *arguments: Any, **keywords: Any) -> Any:
    """Calls a layer or operation of the network, or the built-in layers that replace it, and returns the output."""
    if isinstance(part, keras.Sequential):
        part = part._functional
    if isinstance(part, keras.Model):
        return part._run_through_graph(arguments[0], call_fn=_call)
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
    if isinstance(part, keras.layers.Layer):
        inner = None if type(part).__module__.startswith("keras.") else _inside(part, arguments)
        return part(*arguments, **keywords) if inner is None else _call(inner, *arguments)
    if kind in _ACTIVATIONS:
        return keras.layers.Activation(_ACTIVATIONS[kind], name=part.name)(arguments[0])
    if kind in ("Add", "Multiply", "Subtract", "TrueDivide"):
        one, other = arguments
        if all(isinstance(each, keras.KerasTensor) for each in arguments):
            if kind != "TrueDivide":
                return getattr(keras.layers, kind)(name=part.name)([one, other])
        elif isinstance(one, keras.KerasTensor) or kind in ("Add", "Multiply"):
            x, constant = (one, other) if isinstance(one, keras.KerasTensor) else (other, one)
            value = np.asarray(constant, np.float64)
            scale = value if kind == "Multiply" else 1 / value if kind == "TrueDivide" else np.array(1.0)
            offset = value if kind == "Add" else -value if kind == "Subtract" else np.array(0.0)
            return keras.layers.Rescaling(scale.tolist(), offset.tolist(), name=part.name)(x)
    return part(*arguments, **keywords)
