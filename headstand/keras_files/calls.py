"""Calls of layers in the notations of Keras 2 and 3: parses them, and writes them in that of Keras 3."""

from collections.abc import Iterator
from typing import Any

from headstand.keras_files import operations
from headstand.keras_files.parts import Call, KerasFileError, LayerConfig, Tensor, shown

MOST_CALLS = 20_000
"""Largest number of layer calls in a model; NASNetLarge has 1,040."""


def parsed_call(node: Any, name: str) -> Call:
    """Parses one call of a layer in the notation of Keras 2 or 3."""
    if isinstance(node, dict):
        arguments, keywords = node.get("args", []), node.get("kwargs", {})
        if isinstance(arguments, list) and isinstance(keywords, dict):
            # Keras 3 stores the default of `training`, and `model(x, training=False)` overrides it.
            keywords = {key: value for key, value in keywords.items() if key != "training"}
            return Call(unwrapped(arguments), unwrapped(keywords))
    if isinstance(node, list) and node:
        # An operation's node is a bare [layer, node, tensor, keywords]; a layer's is a list of these.
        entries = node if isinstance(node[0], list) else [node]
        if all(isinstance(entry, list) and len(entry) in (3, 4) for entry in entries):
            sources = [_source(entry, name) for entry in entries]
            keywords = entries[0][3] if len(entries[0]) == 4 else {}
            if isinstance(keywords, dict):
                return Call(
                    [sources] if len(sources) > 1 else sources, {key: _legacy(item) for key, item in keywords.items()}
                )
    raise KerasFileError(f"its configuration is damaged: {shown(name)} is not called as Keras calls layers")


def written_call(
    call: Call, part: LayerConfig, by_name: dict[str, LayerConfig], names: dict[str, str]
) -> dict[str, Any]:
    """Returns a call in Keras 3's notation.

    Raises:
        KerasFileError: the call does not suit a layer of an image classifier.
    """
    if call.keywords.get("training") not in (None, False):
        raise KerasFileError(f"its layer {shown(part.name)} always runs in training mode")
    if call.keywords.get("mask") is not None:
        raise KerasFileError(f"its layer {shown(part.name)} takes a mask, which images do not have")

    def write(value: Any) -> Any:
        if isinstance(value, Tensor):
            layer, node, output = numbered(by_name, value)
            # Keras uses only the history; it takes the shape from the layer itself.
            config = {"shape": [None], "dtype": "float32", "keras_history": [names[layer], node, output]}
            return {"class_name": "__keras_tensor__", "config": config}
        return [write(item) for item in value] if isinstance(value, list) else value

    if part.network is None and operations.known(part):
        return {"args": write(operations.arguments(part, call)), "kwargs": {}}
    argument = call.arguments[0] if len(call.arguments) == 1 else None
    inputs = argument if isinstance(argument, list) else [argument]
    if call.keywords.keys() - {"training", "mask"} or not inputs or not all(isinstance(x, Tensor) for x in inputs):
        raise KerasFileError(f"its layer {shown(part.name)} takes one argument: a tensor or a list of them")
    return {"args": [write(argument)], "kwargs": {}}


def numbered(by_name: dict[str, LayerConfig], tensor: Tensor) -> Tensor:
    """Returns a tensor with its node index counted from 0.

    Keras 2 counts the calls of a nested network from 1; each network is called only once.
    """
    part = by_name.get(tensor.layer)
    if part is None:
        raise KerasFileError(f"its configuration is damaged: there is no layer {shown(tensor.layer)}")
    node = 0 if part.network is not None or part.kind == "InputLayer" else tensor.node
    if not 0 <= node < max(1, len(part.calls)):
        raise KerasFileError(f"its configuration is damaged: {shown(part.name)} is not called {node + 1} times")
    if tensor.output:
        raise KerasFileError(f"its configuration is damaged: {shown(part.name)} has no output {tensor.output}")
    return Tensor(part.name, node, 0)


def _source(entry: list[Any], name: str) -> Any:
    if entry[0] == "_CONSTANT_VALUE":
        return unwrapped(entry[2])
    reference = _reference(entry[:3])
    if reference is None:
        raise KerasFileError(f"its configuration is damaged: {shown(name)} is called on something other than a layer")
    return reference


def _reference(value: Any) -> Tensor | None:
    """Parses `[layer, node, tensor]`; None for anything else."""
    if isinstance(value, list) and len(value) == 3 and isinstance(value[0], str):
        layer, node, index = value
        if type(node) is int and type(index) is int and 0 <= node < MOST_CALLS and 0 <= index < 100:
            return Tensor(layer, node, index)
    return None


def references(value: Any) -> Iterator[Tensor]:
    """Yields the tensors among a network's inputs or outputs: one, or a list or an object of them."""
    reference = _reference(value)
    if reference:
        yield reference
    elif isinstance(value, list | dict):
        for item in value.values() if isinstance(value, dict) else value:
            yield from references(item)


def _legacy(value: Any) -> Any:
    """Parses a keyword of a Keras 2 call, where tensors are `[layer, node, tensor]`, singly or in lists."""
    reference = _reference(value)
    if reference:
        return reference
    if isinstance(value, list):
        return [_legacy(item) for item in value]
    return unwrapped(value)


def unwrapped(value: Any) -> Any:
    """Unwraps a value of a call or a setting: tensors become `Tensor`, wrapped constants their content."""
    if isinstance(value, list):
        return [unwrapped(item) for item in value]
    if not isinstance(value, dict):
        return value
    kind, config = value.get("class_name"), value.get("config", value)
    if kind == "__keras_tensor__" and isinstance(config, dict):
        reference = _reference(config.get("keras_history"))
        if reference is None:
            raise KerasFileError("its configuration is damaged: a tensor has no valid history")
        return reference
    if kind in ("__tensor__", "__numpy__") and isinstance(config, dict):
        return unwrapped(config.get("value"))
    if kind == "__tuple__":
        return unwrapped(value.get("items"))
    if kind == "__ellipsis__":
        return ...
    if kind == "__slice__" and isinstance(config, dict):
        return unwrapped({key: config.get(key) for key in ("start", "stop", "step")})
    return {key: unwrapped(item) for key, item in value.items()}


def tensors_in(value: Any) -> Iterator[Tensor]:
    """Yields the tensors in nested lists and objects."""
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, list | dict):
        for item in value.values() if isinstance(value, dict) else value:
            yield from tensors_in(item)
