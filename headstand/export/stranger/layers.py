"""The layers that an image classifier may have: known by name, built by Headstand from plain values.

Nothing in a file is ever looked up, imported or deserialized: what is not in these tables is refused.
"""

import inspect
import math
from typing import Any

import keras

from headstand.export.stranger.description import Part, unwrapped
from headstand.export.stranger.refusal import StrangerError, shown

_LAYERS = frozenset({
    "Activation", "ActivityRegularization", "Add", "Average", "AveragePooling2D", "BatchNormalization",
    "CenterCrop", "Concatenate", "Conv2D", "Conv2DTranspose", "Cropping2D", "Dense", "DepthwiseConv2D", "ELU",
    "Flatten", "GlobalAveragePooling2D", "GlobalMaxPooling2D", "GroupNormalization", "LayerNormalization",
    "LeakyReLU", "MaxPooling2D", "Maximum", "Minimum", "Multiply", "Normalization", "PReLU", "Permute", "ReLU",
    "Rescaling", "Reshape", "Resizing", "SeparableConv2D", "Softmax", "Subtract", "UnitNormalization",
    "UpSampling2D", "ZeroPadding2D",
})  # fmt: skip

NOTHING = frozenset({
    "ActivityRegularization", "AlphaDropout", "Dropout", "FixedDropout", "GaussianDropout", "GaussianNoise",
    "InputLayer", "RandomBrightness", "RandomColorDegeneration", "RandomColorJitter", "RandomContrast",
    "RandomErasing", "RandomFlip", "RandomGaussianBlur", "RandomGrayscale", "RandomHue", "RandomInvert",
    "RandomPerspective", "RandomPosterization", "RandomRotation", "RandomSaturation", "RandomSharpness",
    "RandomShear", "RandomTranslation", "RandomZoom", "SpatialDropout2D",
})  # fmt: skip
"""What does nothing but in training, and is left out. Not RandomCrop, which resizes afterwards."""

_RENAMED = {"Convolution2D": "Conv2D", "AvgPool2D": "AveragePooling2D", "MaxPool2D": "MaxPooling2D"}

_ACTIVATIONS = frozenset({
    "elu", "exponential", "gelu", "hard_sigmoid", "hard_silu", "hard_swish", "leaky_relu", "linear",
    "log_softmax", "mish", "relu", "relu6", "selu", "sigmoid", "silu", "softmax", "softplus", "softsign", "swish",
    "tanh",
})  # fmt: skip

_KEYS = {
    ("LeakyReLU", "alpha"): "negative_slope",  # as Keras 2 called it
    ("BatchNormalization", "gamma_init"): "gamma_initializer",
}

_IGNORED = frozenset({
    "name", "trainable", "dtype", "autocast", "batch_shape", "batch_input_shape", "input_shape", "input_dtype",
    "activity_regularizer", "synchronized", "momentum", "fused", "quantization_config", "lora_rank", "lora_alpha",
})  # fmt: skip
"""Settings that say nothing of what a trained layer answers."""

_MOST_WORK = 2e11
"""Multiplications for one photo; EfficientNetB7 at 600 pixels needs 3.7e10."""

_MOST_VALUES = 2**27
"""Numbers that one layer may give for one photo: 512 MiB."""


class Allowance:
    """What a model may still cost while it is built, given what its file holds."""

    def __init__(self, numbers: int) -> None:
        self.numbers = numbers
        self.work = _MOST_WORK

    def spend(self, part: Part, output: Any) -> None:
        """Count one call.

        Raises:
            StrangerError: its result is too large, or it takes more work than any network of photos.
        """
        shape = [size or 1 for size in output.shape[1:]]
        weights = sum(math.prod(weight.shape) for weight in getattr(part.layer, "weights", ()))
        window = getattr(part.layer, "pool_size", None)
        window = math.prod(window) if isinstance(window, tuple) else 1
        self.work -= math.prod(shape[:-1]) * weights + math.prod(shape) * window
        if math.prod(shape) > _MOST_VALUES or self.work < 0:
            raise StrangerError(f"its layer {shown(part.name)} needs more memory or work than networks of photos do")


class _Waiting(keras.initializers.Initializer):
    """Zeros, until the stored weights come: no more of them than the file holds."""

    def __init__(self, allowance: Allowance) -> None:
        self._allowance = allowance

    def __call__(self, shape: Any, dtype: Any = None) -> Any:
        self._allowance.numbers -= math.prod(shape)
        if self._allowance.numbers < 0:
            raise StrangerError("it describes layers with more weights than its file holds")
        return keras.ops.zeros(shape, dtype=dtype or "float32")

    def clone(self) -> "_Waiting":
        """Itself: all layers draw on one allowance."""
        return self


def check(part: Part) -> None:
    """Refuse what is no layer of an image classifier, and say why.

    Raises:
        StrangerError: a Lambda, a class of somebody's own, or a layer that has no place here.
    """
    kind, name = part.kind, shown(part.name)
    if kind in ("Lambda", "__lambda__"):
        raise StrangerError(
            f"its layer {name} is a Lambda: Python code inside the file, which is never run; put a plain layer in its "
            "place (Rescaling for a division of the pixels), or leave it out and choose --preprocess"
        )
    if kind in ("TFSMLayer", "TorchModuleWrapper", "JaxLayer", "FlaxLayer"):
        raise StrangerError(f"its layer {name} is a {kind}: code from outside of Keras, which is never run")
    if kind not in _LAYERS | NOTHING | _RENAMED.keys():
        known = isinstance(getattr(keras.layers, kind, None), type)
        raise StrangerError(
            f"its layer {name} is a {shown(kind)}, "
            + ("which classifiers of images are not imported with" if known else "a class that Keras does not have")
            + "; a custom layer's code is not in the file, and is not taken from elsewhere, registered or not"
        )
    if "Quantized" in str(part.config.get("dtype")) or part.config.get("quantization_config") is not None:
        raise StrangerError(f"its layer {name} was quantised in Keras; convert the model as it was before that")
    if part.config.get("data_format") == "channels_first":
        raise StrangerError(
            f"its layer {name} wants the channels first; TFLite has them last: build the model with "
            "data_format='channels_last' and set its weights"
        )


def build(part: Part, name: str, allowance: Allowance) -> keras.layers.Layer:
    """Make the layer that a description means, with zeros for weights.

    Args:
        part: a layer that `check` lets pass and that is not among `NOTHING`.
        name: for the new layer.
        allowance: what the weights are taken from.

    Raises:
        StrangerError: a setting that Keras does not know, or that the layer refuses.
    """
    kind = _RENAMED.get(part.kind, part.kind)
    made = getattr(keras.layers, kind)
    known = inspect.signature(made.__init__).parameters
    arguments: dict[str, Any] = {}
    for key, value in part.config.items():
        key = _KEYS.get((kind, key), key)
        if key.endswith(("_initializer", "_regularizer", "_constraint")) or key in _IGNORED:
            continue
        if key == "activation":
            arguments[key] = activation(value, part)
        elif key in known:
            arguments[key] = _plain(value, part, key)
        elif not (value is None or value is False or (key == "groups" and value == 1)):  # so Keras 2 may say
            raise StrangerError(
                f"its layer {shown(part.name)} ({kind}) has {shown(key)} = {shown(value)}, which Keras 3 does not know"
            )
    for key in known:
        if key.endswith("_initializer"):
            arguments[key] = _Waiting(allowance)
    axis = arguments.get("axis")
    if isinstance(axis, list) and len(axis) == 1:  # as Keras 2 says it of its normalizations
        arguments["axis"] = axis[0]
    return made(**arguments, name=name, dtype="float32")


def activation(value: Any, part: Part) -> str:
    """An activation's name; Keras 3 may wrap it, old files call `relu6` without Keras knowing it.

    Raises:
        StrangerError: a function that is not among Keras's own.
    """
    settings: Any = {}
    if isinstance(value, dict):
        settings = value.get("config")
        value = settings if isinstance(settings, str) else value.get("class_name")
    name = {None: "linear", "Softmax": "softmax", "ReLU": "relu"}.get(value, value) if _hashable(value) else value
    plain = not isinstance(settings, dict) or not set(settings) - {"name", "dtype", "trainable", "axis"}
    if not isinstance(name, str) or name not in _ACTIVATIONS or not plain:
        raise StrangerError(
            f"its layer {shown(part.name)} has the activation {shown(value)}, which is not among Keras's own; custom "
            "functions are not in the file, and are not taken from elsewhere, registered or not"
        )
    return name


def _hashable(value: Any) -> bool:
    return value is None or isinstance(value, str)


def _plain(value: Any, part: Part, key: str, depth: int = 3) -> Any:
    """Numbers, truth values, short words, None, and lists of them."""
    value = unwrapped(value)
    if isinstance(value, list) and depth and len(value) <= 10_000:
        return [_plain(item, part, key, depth - 1) for item in value]
    if value is None or isinstance(value, bool | int | float) or (isinstance(value, str) and len(value) < 40):
        return value
    raise StrangerError(f"its layer {shown(part.name)} has {shown(key)} = {shown(value)}, which is no plain setting")
