"""Networks from plain layers alone, so that an `.h5` of them loads wherever Keras is.

MobileNetV3, ConvNeXt and InceptionResNetV2 hold layers of their own or bare arithmetic between their layers, which
Keras 3 writes into an `.h5` and then cannot read back.
"""

from typing import Any

import keras

_OWN = ("LayerScale", "CustomScaleLayer")
"""Layers that keras.applications keeps for itself."""


def plain(network: keras.Model) -> keras.Model:
    """The same network with the same number of weights in the same order; itself where it is plain already.

    A LayerScale's `[C]` becomes a depthwise 1x1 convolution's `[1, 1, C, 1]`.
    """
    if all(isinstance(part, keras.layers.Layer) and type(part).__name__ not in _OWN for part in network.operations):
        return network
    return keras.models.clone_model(network, clone_function=lambda part: part, call_function=_call)


def _call(part: Any, *arguments: Any, **keywords: Any) -> Any:
    """Call a part of the network, or what stands for it."""
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
