"""Bare arithmetic between layers: `TFOpLambda` of Keras 2, the operations of Keras 3.

Both name a public function and its arguments. The few that preprocessing and the networks of keras.applications use are
known here by name; no function is looked up by what a file says.
"""

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
from keras import ops

from headstand.export.stranger.description import Call, Part
from headstand.export.stranger.refusal import StrangerError, shown

_LEGACY = ("TFOpLambda", "SlicingOpLambda")

_MOST_CONSTANTS = 100_000


def _two(function: Callable[[Any, Any], Any]) -> Callable[..., Any]:
    def call(first: Any, second: Any, **_: Any) -> Any:
        return function(first, second)

    return call


def _one(function: Callable[[Any], Any]) -> Callable[..., Any]:
    def call(first: Any, **_: Any) -> Any:
        return function(first)

    return call


def _cast(first: Any, dtype: Any = None, **_: Any) -> Any:
    if dtype not in ("float16", "float32", "float64", "bfloat16"):
        raise StrangerError(f"its description casts to {shown(dtype)}; pixels and what follows are float32")
    return first


def _mean(first: Any, axis: Any = None, keepdims: Any = False, **_: Any) -> Any:
    axes = [axis] if type(axis) is int else axis
    if not isinstance(axes, list) or not axes or not all(type(item) is int for item in axes):
        raise StrangerError(f"its description takes a mean over the axes {shown(axis)}")
    return ops.mean(first, axis=tuple(axes), keepdims=keepdims is True)


def _softmax(first: Any, axis: Any = -1, **_: Any) -> Any:
    if axis not in (None, -1):
        raise StrangerError(f"its description takes a softmax over axis {shown(axis)}, not over the last one")
    return ops.softmax(first, axis=-1)


def _item(first: Any, spec: Any, **_: Any) -> Any:
    """Slices, as `x[..., ::-1]`."""
    keys: list[Any] = []
    for key in spec if isinstance(spec, list) else [spec]:
        if isinstance(key, dict) and all(item is None or type(item) is int for item in key.values()):
            keys.append(slice(key.get("start"), key.get("stop"), key.get("step")))
        elif key is Ellipsis or type(key) is int:
            keys.append(key)
        else:
            raise StrangerError(f"its description takes a slice {shown(key)}")
    if all(key is Ellipsis or key == slice(None) for key in keys[:-1]) and keys[-1:] == [slice(None, None, -1)]:
        return ops.flip(first, axis=-1)  # TFLite has it built in; a strided slice with a negative step it may not
    return first[tuple(keys)]


def _stack(first: Any, axis: Any = 0, **_: Any) -> Any:
    """As keras.applications turns RGB into BGR: `stack([x[..., 2], x[..., 1], x[..., 0]], -1)`."""
    if not isinstance(first, list) or type(axis) is not int:
        raise StrangerError(f"its description stacks along {shown(axis)}")
    return ops.stack(first, axis=axis)


_FUNCTIONS: dict[str, Callable[..., Any]] = {
    **dict.fromkeys(("__operators__.add", "math.add", "add", "Add", "nn.bias_add", "BiasAdd"), _two(ops.add)),
    **dict.fromkeys(("__operators__.sub", "math.subtract", "subtract", "Subtract"), _two(ops.subtract)),
    **dict.fromkeys(("__operators__.mul", "math.multiply", "multiply", "Multiply"), _two(ops.multiply)),
    **dict.fromkeys(
        ("__operators__.truediv", "math.truediv", "math.divide", "truediv", "divide", "TrueDivide", "Divide"),
        _two(ops.divide),
    ),
    **dict.fromkeys(("math.maximum", "maximum", "Maximum"), _two(ops.maximum)),
    **dict.fromkeys(("math.minimum", "minimum", "Minimum"), _two(ops.minimum)),
    **dict.fromkeys(("cast", "Cast"), _cast),
    **dict.fromkeys(("identity", "stop_gradient", "Identity", "StopGradient"), _one(lambda value: value)),
    **dict.fromkeys(("nn.relu", "Relu"), _one(ops.relu)),
    **dict.fromkeys(("nn.relu6", "Relu6"), _one(ops.relu6)),
    **dict.fromkeys(("nn.silu", "nn.swish", "Silu"), _one(ops.silu)),
    **dict.fromkeys(("nn.sigmoid", "math.sigmoid", "sigmoid", "Sigmoid"), _one(ops.sigmoid)),
    **dict.fromkeys(("nn.tanh", "math.tanh", "tanh", "Tanh"), _one(ops.tanh)),
    **dict.fromkeys(("HardSigmoid",), _one(ops.hard_sigmoid)),
    **dict.fromkeys(("HardSilu",), _one(ops.hard_silu)),
    **dict.fromkeys(("nn.softmax", "Softmax"), _softmax),
    **dict.fromkeys(("math.reduce_mean", "Mean"), _mean),
    **dict.fromkeys(("__operators__.getitem", "GetItem"), _item),
    **dict.fromkeys(("stack", "Stack"), _stack),
}

_NAMES = {
    "x1": 0, "x2": 1, "x": 0, "y": 1, "value": 0, "bias": 1, "slice_spec": 1, "key": 1, "input_tensor": 0,
    "features": 0, "logits": 0, "tensor": 0,
}  # fmt: skip
"""Where an argument stands that may be given by name."""


def function(part: Part) -> str | None:
    """The operation's name; None for a layer."""
    if part.kind in _LEGACY:
        name = part.config.get("function")
        return name if isinstance(name, str) else "?"
    if ".ops." in f".{part.module}.":
        return part.kind
    # An .h5 of Keras 3 keeps no module: a layer takes its tensors as one list, an operation each by itself.
    merges = part.kind in ("Add", "Subtract", "Multiply", "Maximum", "Minimum")
    apart = any(len(call.arguments) + len(call.keywords.keys() & {"x2", "y"}) > 1 for call in part.calls)
    return part.kind if part.kind not in dir(keras.layers) or (merges and apart) else None


def known(part: Part) -> bool:
    """Whether a part is an operation of the table."""
    return function(part) in _FUNCTIONS


def run(part: Part, call: Call) -> Any:
    """Apply it; `call` holds values in place of its tensors.

    Raises:
        StrangerError: it is called otherwise than it can be.
    """
    name = function(part)
    settings: dict[str, Any] = {key: part.config[key] for key in ("axis", "keepdims", "dtype") if key in part.config}
    settings.update(call.keywords)
    places: dict[int, Any] = dict(enumerate(call.arguments))
    keywords = {}
    for key, value in settings.items():
        if key in _NAMES and _NAMES[key] not in places:
            places[_NAMES[key]] = value
        else:
            keywords[key] = value
    raw = name in ("__operators__.getitem", "GetItem", "stack", "Stack")
    values = [places[place] if raw else _constant(places[place], part) for place in sorted(places)]
    try:
        return _FUNCTIONS[name or ""](*values, **keywords)
    except TypeError as error:
        raise StrangerError(f"its operation {shown(part.name)} is not called as {name} is") from error


def _constant(value: Any, part: Part) -> Any:
    """Numbers as float32, tensors as they are."""
    if isinstance(value, keras.KerasTensor):
        return value
    try:
        array = np.asarray(value, np.float32)
    except (TypeError, ValueError):
        array = np.array(np.nan)
    if not np.isfinite(array).all() or array.size > _MOST_CONSTANTS:
        raise StrangerError(f"its operation {shown(part.name)} takes {shown(value)}, which is no number")
    return array
