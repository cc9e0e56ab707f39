"""Allow-list of layers: their classes, settings and activations.

Nothing is looked up under a name from the file, except the allowed built-in layers in `keras.layers`.
"""

from headstand import tensorflow_setup  # noqa: F401, I001 - before the first import of Keras

import inspect
import re
from typing import Any

import keras

from headstand.keras_files.calls import unwrapped
from headstand.keras_files.parts import KerasFileError, LayerConfig, shown

LAYERS = frozenset({
    "Activation", "ActivityRegularization", "Add", "AlphaDropout", "Average", "AveragePooling2D",
    "BatchNormalization", "CenterCrop", "Concatenate", "Conv2D", "Conv2DTranspose", "Cropping2D", "Dense",
    "DepthwiseConv2D", "Dot", "Dropout", "ELU", "Flatten", "GaussianDropout", "GaussianNoise",
    "GlobalAveragePooling2D", "GlobalMaxPooling1D", "GlobalMaxPooling2D",
    "GroupNormalization", "Identity", "InputLayer", "LayerNormalization", "LeakyReLU", "MaxPooling2D", "Maximum",
    "Minimum", "Multiply", "Normalization", "PReLU", "Permute", "ReLU", "Rescaling", "Reshape", "Resizing",
    "SeparableConv2D", "Softmax", "SpatialDropout2D", "Subtract", "UnitNormalization", "UpSampling2D",
    "ZeroPadding2D",
})  # fmt: skip
"""Allowed built-in Keras layers for image classifiers."""

AUGMENTATION = frozenset({
    "FixedDropout", "RandomBrightness", "RandomColorDegeneration", "RandomColorJitter", "RandomContrast",
    "RandomErasing", "RandomFlip", "RandomGaussianBlur", "RandomGrayscale", "RandomHue", "RandomInvert",
    "RandomPerspective", "RandomPosterization", "RandomRotation", "RandomSaturation", "RandomSharpness",
    "RandomShear", "RandomTranslation", "RandomZoom",
})  # fmt: skip
"""Layers that change their input in training only; each becomes an Identity. RandomCrop is excluded: it resizes too."""

_APPLICATIONS = {
    "LayerScale": "keras.src.applications.convnext",
    "CustomScaleLayer": "keras.src.applications.inception_resnet_v2",
}
"""Layers that keras.applications defines for its own networks, with their modules."""

ALLOWED = (
    "allowed are Keras's built-in layers for images (convolution, pooling, Dense, normalization, activation, merging, "
    "resizing, augmentation; all are listed in docs/formats.md)"
)

NEVER = "custom code is never loaded, not even if it is registered with Keras"

_RENAMED = {"Convolution2D": "Conv2D", "AvgPool2D": "AveragePooling2D", "MaxPool2D": "MaxPooling2D"}

_ACTIVATIONS = frozenset({
    "elu", "exponential", "gelu", "hard_sigmoid", "hard_silu", "hard_swish", "leaky_relu", "linear",
    "log_softmax", "mish", "relu", "relu6", "selu", "sigmoid", "silu", "softmax", "softplus", "softsign", "swish",
    "tanh",
})  # fmt: skip

_KEYS = {
    ("LeakyReLU", "alpha"): "negative_slope",  # the name in Keras 2
    ("BatchNormalization", "gamma_init"): "gamma_initializer",
}

_IGNORED = frozenset({
    "name", "trainable", "dtype", "autocast", "batch_shape", "batch_input_shape", "input_shape", "input_dtype",
    "activity_regularizer", "synchronized", "fused", "quantization_config", "lora_rank", "lora_alpha",
})  # fmt: skip
"""Settings that do not affect the output of a trained layer."""

_MOST_SCALES = 2**16
"""Largest number of channels of a LayerScale; ConvNeXtXLarge has 2,048."""


def class_name(entry: dict[str, Any], name: object) -> str:
    """Returns the class name without the package under which Keras registers it.

    Raises:
        KerasFileError: it is a custom class, whatever its name.
    """
    kind = entry.get("class_name")
    if not isinstance(kind, str):
        raise KerasFileError("its configuration is damaged: a layer has no class_name")
    module, registered = entry.get("module"), entry.get("registered_name")
    short = kind.split(">")[-1]
    inside = module is None or (isinstance(module, str) and re.fullmatch(r"keras(\.\w+)*", module))
    names = {short}
    if short in _APPLICATIONS or short in AUGMENTATION:
        names.add(f"Custom>{short}")
    own = kind not in names or registered not in (None, *names)  # it may be unhashable
    if (own or not inside) and short not in ("Lambda", "__lambda__"):
        origin = module if not inside else registered or kind
        raise KerasFileError(
            f"its layer {shown(name)} is a {shown(kind)} ({shown(origin)}), a custom class; {NEVER}; {ALLOWED}"
        )
    return _RENAMED.get(short, short)


def layer_settings(part: LayerConfig) -> tuple[str, str, dict[str, Any]]:
    """Returns a layer's module, class and arguments without regularizers, constraints and initializers.

    Raises:
        KerasFileError: the layer is not allowed, or Keras does not have one of its settings.
    """
    _check(part)
    kind = part.kind
    if kind in AUGMENTATION:
        return "keras.layers", "Identity", {}
    if kind in _APPLICATIONS:
        keys: Any = {"LayerScale": {"init_values", "projection_dim"}, "CustomScaleLayer": {"scale"}}[kind]
        settings: dict[str, Any] = {key: part.config.get(key) for key in keys}
        whole = settings.get("projection_dim", 1)
        if not all(type(value) in (int, float) for value in settings.values()) or not 0 < whole <= _MOST_SCALES:
            raise KerasFileError(f"its layer {shown(part.name)} is not a valid {kind} of keras.applications")
        return _APPLICATIONS[kind], kind, settings
    known = inspect.signature(getattr(keras.layers, kind).__init__).parameters
    arguments: dict[str, Any] = {}
    for key, value in part.config.items():
        key = _KEYS.get((kind, key), key)
        if key.endswith(("_initializer", "_regularizer", "_constraint")) or key in _IGNORED:
            continue
        if key == "activation":
            arguments[key] = activation(value, part)
        elif key in known:
            arguments[key] = _plain(value, part, key)
        elif not (value is None or value is False or (key == "groups" and value == 1)):  # Keras 2 may write these
            raise KerasFileError(
                f"its layer {shown(part.name)} ({kind}) has {shown(key)} = {shown(value)}, which Keras 3 does not know"
            )
    # `loading` limits the number of zeros.
    arguments |= {key: "zeros" for key in known if key.endswith("_initializer")}
    axis = arguments.get("axis")
    if isinstance(axis, list) and len(axis) == 1:  # Keras 2 writes the axis of a normalization as a list
        arguments["axis"] = axis[0]
    return "keras.layers", kind, arguments


def _check(part: LayerConfig) -> None:
    """Checks that a layer is allowed in an image classifier.

    Raises:
        KerasFileError: a Lambda, a custom class, or a layer that is not allowed.
    """
    kind, name = part.kind, shown(part.name)
    if kind in ("Lambda", "__lambda__"):
        raise KerasFileError(
            f"its layer {name} is a Lambda: Python code inside the file, which is never run; replace it with a "
            f"built-in layer (Rescaling for a division of the pixels), or remove it and choose --preprocess; {ALLOWED}"
        )
    if kind in ("TFSMLayer", "TorchModuleWrapper", "JaxLayer", "FlaxLayer"):
        raise KerasFileError(f"its layer {name} is a {kind}: code from outside Keras, which is never run; {ALLOWED}")
    if kind not in LAYERS | AUGMENTATION | _APPLICATIONS.keys():
        built_in = isinstance(getattr(keras.layers, kind, None), type)
        raise KerasFileError(
            f"its layer {name} is a {shown(kind)}, "
            + ("which image classifiers do not need" if built_in else "a class that Keras does not have")
            + f"; {NEVER}; "
            + ALLOWED
        )
    if "Quantized" in str(part.config.get("dtype")) or part.config.get("quantization_config") is not None:
        raise KerasFileError(f"its layer {name} was quantized in Keras; convert the model from before the quantization")
    if part.config.get("data_format") == "channels_first" and kind.endswith("2D"):
        raise KerasFileError(
            f"its layer {name} has channels first; TFLite needs channels last: build the model with "
            "data_format='channels_last' and set its weights"
        )


def activation(value: Any, part: LayerConfig) -> str:
    """Returns the name of an activation, which Keras 3 may wrap; `relu6` of old files is accepted too.

    Raises:
        KerasFileError: a function that is not built into Keras.
    """
    settings: Any = {}
    if isinstance(value, dict):
        settings = value.get("config")
        value = settings if isinstance(settings, str) else value.get("class_name")
    if value is None or isinstance(value, str):
        value = {None: "linear", "Softmax": "softmax", "ReLU": "relu"}.get(value, value)
    plain = not isinstance(settings, dict) or not set(settings) - {"name", "dtype", "trainable", "axis"}
    if not isinstance(value, str) or value not in _ACTIVATIONS or not plain:
        raise KerasFileError(
            f"its layer {shown(part.name)} has the activation {shown(value)}, which is not one of Keras's "
            f"({', '.join(sorted(_ACTIVATIONS))}); {NEVER}"
        )
    return value


def _plain(value: Any, part: LayerConfig, key: str, depth: int = 3) -> Any:
    """Returns a setting made of numbers, booleans, short strings, None and lists of them.

    Raises:
        KerasFileError: anything else.
    """
    value = unwrapped(value)
    if isinstance(value, list) and depth and len(value) <= 10_000:
        return [_plain(item, part, key, depth - 1) for item in value]
    if value is None or isinstance(value, bool | int | float) or (isinstance(value, str) and len(value) < 40):
        return value
    raise KerasFileError(f"its layer {shown(part.name)} has {shown(key)} = {shown(value)}, not a plain setting")
