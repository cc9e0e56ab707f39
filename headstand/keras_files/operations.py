"""Rewrites arithmetic between layers (`TFOpLambda` of Keras 2, operations of Keras 3) for Keras 3.

Both name a public function and its arguments. The table lists the few that preprocessing and the networks of
keras.applications use.
"""

from headstand import tensorflow_setup  # noqa: F401, I001 - before the first import of Keras

from typing import Any

import keras
import numpy as np

from headstand.keras_files.parts import Call, KerasFileError, LayerConfig, Tensor, shown

_LEGACY = ("TFOpLambda", "SlicingOpLambda")

_MOST_CONSTANTS = 100_000

_NAMES: dict[str, tuple[str, ...]] = {
    "numpy.Add": ("__operators__.add", "math.add", "add", "Add", "nn.bias_add", "BiasAdd"),
    "numpy.Subtract": ("__operators__.sub", "math.subtract", "subtract", "Subtract"),
    "numpy.Multiply": ("__operators__.mul", "math.multiply", "multiply", "Multiply"),
    "numpy.TrueDivide": (
        "__operators__.truediv", "math.truediv", "math.divide", "truediv", "divide", "TrueDivide", "Divide",
    ),
    "numpy.Maximum": ("math.maximum", "maximum", "Maximum"),
    "numpy.Minimum": ("math.minimum", "minimum", "Minimum"),
    "numpy.Tanh": ("nn.tanh", "math.tanh", "tanh", "Tanh"),
    "numpy.Mean": ("math.reduce_mean", "Mean"),
    "numpy.GetItem": ("__operators__.getitem", "GetItem"),
    "numpy.Stack": ("stack", "Stack"),
    "nn.Relu": ("nn.relu", "Relu"),
    "nn.Relu6": ("nn.relu6", "Relu6"),
    "nn.Silu": ("nn.silu", "nn.swish", "Silu"),
    "nn.Sigmoid": ("nn.sigmoid", "math.sigmoid", "sigmoid", "Sigmoid"),
    "nn.HardSigmoid": ("HardSigmoid",),
    "nn.HardSilu": ("HardSilu",),
    "nn.Softmax": ("nn.softmax", "Softmax"),
    "Identity": ("identity", "stop_gradient", "Identity", "StopGradient", "cast", "Cast"),
}  # fmt: skip
"""Operations of Keras 3 (module and class under `keras.src.ops`; Identity is a layer), and their other names."""

_OPERATIONS = {name: operation for operation, names in _NAMES.items() for name in names}

_BINARY = ("numpy.Add", "numpy.Subtract", "numpy.Multiply", "numpy.TrueDivide", "numpy.Maximum", "numpy.Minimum")

_POSITIONS = {
    "x1": 0, "x2": 1, "x": 0, "y": 1, "value": 0, "bias": 1, "slice_spec": 1, "key": 1, "input_tensor": 0,
    "features": 0, "logits": 0, "tensor": 0,
}  # fmt: skip
"""Positions of arguments that may be given by name."""


def known(part: LayerConfig) -> bool:
    """Returns whether a part is an operation of the table and not a layer."""
    return _function(part) in _OPERATIONS


def written(part: LayerConfig, name: str) -> dict[str, Any]:
    """Returns an operation in Keras 3's notation, without its calls.

    Raises:
        KerasFileError: the operation has settings that an image classifier does not need.
    """
    operation = _operation(part)
    if operation == "Identity":
        return {"module": "keras.layers", "class_name": "Identity", "config": {"name": name, "dtype": "float32"}}
    settings: dict[str, Any] = {}
    given = _settings(part)
    if operation == "nn.Softmax":
        if given.get("axis") not in (None, -1):
            raise KerasFileError(f"its operation {shown(part.name)} has a softmax over another axis than the last")
        settings["axis"] = -1
    elif operation == "numpy.Stack":
        settings["axis"] = given.get("axis", 0)
        if type(settings["axis"]) is not int:
            raise KerasFileError(f"its operation {shown(part.name)} stacks along {shown(settings['axis'])}")
    elif operation == "numpy.Mean":
        axis = given.get("axis")
        axes = [axis] if type(axis) is int else axis
        if not isinstance(axes, list) or not axes or not all(type(item) is int for item in axes):
            raise KerasFileError(f"its operation {shown(part.name)} takes a mean over the axes {shown(axis)}")
        settings = {"axis": axes, "keepdims": given.get("keepdims") is True}
    elif operation == "numpy.Flip":
        settings["axis"] = -1
    module, _, kind = operation.partition(".")
    return {"module": f"keras.src.ops.{module}", "class_name": kind, "config": {"name": name, **settings}}


def arguments(part: LayerConfig, call: Call) -> list[Any]:
    """Returns the positional arguments of an operation's call: tensors as `Tensor`, constants in Keras 3's notation.

    Raises:
        KerasFileError: the arguments do not fit the operation.
    """
    positions: dict[int, Any] = dict(enumerate(call.arguments))
    for key, value in call.keywords.items():
        if key in _POSITIONS:
            positions.setdefault(_POSITIONS[key], value)
    values = [positions[position] for position in sorted(positions)]
    operation = _operation(part)
    wrong = KerasFileError(f"its operation {shown(part.name)} has other arguments than {operation.split('.')[-1]}")
    if operation in _BINARY:
        if len(values) != 2 or not any(isinstance(value, Tensor) for value in values):
            raise wrong
        return [_constant(value, part) for value in values]
    if operation == "numpy.GetItem" and len(values) == 2 and isinstance(values[0], Tensor):
        return [values[0], _slices(values[1])]
    if operation == "numpy.Stack" and len(values) >= 1 and isinstance(values[0], list):
        if all(isinstance(value, Tensor) for value in values[0]):
            return [values[0]]
        raise wrong
    if not values or not isinstance(values[0], Tensor) or operation in ("numpy.GetItem", "numpy.Stack"):
        raise wrong
    return [values[0]]


def _function(part: LayerConfig) -> str | None:
    """Returns the operation's name; None for a layer."""
    if part.kind in _LEGACY:
        name = part.config.get("function")
        return name if isinstance(name, str) else "?"
    if ".ops." in f".{part.module}.":
        return part.kind
    # An .h5 of Keras 3 has no module: a layer takes its tensors as one list, an operation as separate arguments.
    merges = part.kind in ("Add", "Subtract", "Multiply", "Maximum", "Minimum")
    with_two_inputs = any(len(call.arguments) + len(call.keywords.keys() & {"x2", "y"}) > 1 for call in part.calls)
    return part.kind if not hasattr(keras.layers, part.kind) or (merges and with_two_inputs) else None


def _operation(part: LayerConfig) -> str:
    operation = _OPERATIONS[_function(part) or ""]
    if operation == "Identity" and (_function(part) or "").lower() == "cast":
        dtype = _settings(part).get("dtype")
        if dtype not in ("float16", "float32", "float64", "bfloat16"):
            raise KerasFileError(f"its operation {shown(part.name)} casts to {shown(dtype)}; only floats are allowed")
    if operation == "numpy.GetItem" and all(_flips(call) for call in part.calls):
        return "numpy.Flip"  # built into TFLite; a strided slice with a negative step may not be
    return operation


def _settings(part: LayerConfig) -> dict[str, Any]:
    """Returns axis, keepdims and dtype from the configuration or the call."""
    keys = ("axis", "keepdims", "dtype")
    given = {key: part.config[key] for key in keys if key in part.config}
    for call in part.calls:
        given |= {key: call.keywords[key] for key in keys if key in call.keywords}
        if _function(part) in ("cast", "Cast") and len(call.arguments) > 1:
            given["dtype"] = call.arguments[1]
    return given


def _keys(spec: Any) -> list[Any]:
    return spec if isinstance(spec, list) else [spec]


def _flips(call: Call) -> bool:
    """Returns whether a slice is `x[..., ::-1]`."""
    spec = [*call.arguments[1:], call.keywords.get("slice_spec"), call.keywords.get("key")]
    keys = _keys(next((one for one in spec if one is not None), None))
    whole = {"start": None, "stop": None, "step": None}
    return all(key is ... or key == whole for key in keys[:-1]) and keys[-1:] == [{**whole, "step": -1}]


def _slices(spec: Any) -> list[Any]:
    """Returns the keys of a slice of `[N, height, width, channels]` in Keras 3's notation.

    An ellipsis becomes full slices, because Keras reads an ellipsis from `.keras` files only.
    """
    whole = {"class_name": "__slice__", "config": {"start": None, "stop": None, "step": None}}
    written: list[Any] = []
    keys = _keys(spec)
    for key in keys:
        if key is ...:
            written += [whole] * (5 - len(keys))
        elif type(key) is int:
            written.append(key)
        elif (
            isinstance(key, dict)
            and set(key) == {"start", "stop", "step"}
            and all(item is None or type(item) is int for item in key.values())
        ):
            written.append({"class_name": "__slice__", "config": key})
        else:
            raise KerasFileError(f"its configuration has the slice {shown(key)}")
    return written


def _constant(value: Any, part: LayerConfig) -> Any:
    """Returns a constant as a float32 array in Keras 3's notation; tensors are returned unchanged.

    Raises:
        KerasFileError: the constant is not numeric, not finite or too large.
    """
    if isinstance(value, Tensor):
        return value
    try:
        array = np.asarray(value, np.float32)
    except (TypeError, ValueError, OverflowError):
        array = np.array(np.nan)
    if not np.isfinite(array).all() or array.size > _MOST_CONSTANTS:
        raise KerasFileError(f"its operation {shown(part.name)} takes {shown(value)}, which is not a finite number")
    return {"class_name": "__numpy__", "config": {"value": array.tolist(), "dtype": "float32"}}
