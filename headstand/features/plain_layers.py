"""Replaces custom layers and operations of a network by built-in Keras layers, so that its `.h5` loads in plain Keras.

MobileNetV3, ConvNeXt and InceptionResNetV2 contain custom layers or arithmetic operations between layers, which Keras 3
writes to an `.h5` but cannot read back.
"""

from typing import Any

import keras

_OWN = ("LayerScale", "CustomScaleLayer")
"""Custom layers that are private to keras.applications."""


def plain(network: keras.Model) -> keras.Model:
    """Returns an equivalent network of built-in layers; the network itself if it has no others.

    Number and order of the weights stay the same. The weight `[C]` of a LayerScale becomes the kernel `[1, 1, C, 1]` of
    a depthwise 1x1 convolution.
    """
    if all(isinstance(part, keras.layers.Layer) and type(part).__name__ not in _OWN for part in network.operations):
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
        one, other = arguments
        if isinstance(other, keras.KerasTensor):
            return getattr(keras.layers, kind)(name=part.name)([one, other])
        scale, offset = (1.0, other) if kind == "Add" else (other, 0.0)
        return keras.layers.Rescaling(scale, offset, name=part.name)(one)
    return part(*arguments, **keywords)
