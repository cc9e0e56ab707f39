"""Checks a model configuration against an allow-list of built-in layers and rewrites it for Keras 3.

The configuration that Keras receives is built anew from the allow-list: classes, plain settings and calls. Nothing in
the file is looked up, imported or deserialized. Keras 2 writes a call as `[[layer, node, tensor, {keywords}], ...]`,
Keras 3 as `{"args": [...], "kwargs": {...}}` with tensors as `{"class_name": "__keras_tensor__", ...}`.
"""

import graphlib
import json
import re
from typing import Any

from headstand.keras_files import operations
from headstand.keras_files.calls import MOST_CALLS, numbered, parsed_call, references, tensors_in, written_call
from headstand.keras_files.layers import class_name, layer_settings
from headstand.keras_files.parts import KerasFileError, LayerConfig, shown

NETWORKS = ("Functional", "Model", "Sequential")
"""Classes that contain layers; Keras up to 2.3 called a Functional model Model."""

_NESTING = 100
"""Largest nesting depth of lists and objects in a configuration."""


def checked(text: str, size: int | None = None) -> dict[str, Any]:
    """Returns the configuration to give to Keras: allowed layers and plain settings in Keras 3's notation.

    Args:
        text: the file's JSON.
        size: input side in pixels, for a Sequential model that does not state its input shape.

    Raises:
        KerasFileError: the text is not JSON, not a Functional or Sequential model, or has parts that are not allowed.
    """
    description = _parsed(text)
    name = description.get("class_name")
    if isinstance(name, str) and name.split(">")[-1] not in NETWORKS:
        raise KerasFileError(
            f"it is a {shown(name)}, a custom class, whose code is never loaded; only Sequential and Functional models "
            "can be loaded"
        )
    kind = class_name(description, "model")
    build = description.get("build_config")
    shape = _shape(build.get("input_shape")) if isinstance(build, dict) else None
    built = _network(kind, description.get("config"), [MOST_CALLS], shape or (size and [None, size, size, 3]) or None)
    if kind == "Sequential" and built["config"]["layers"][0]["class_name"] != "InputLayer":
        raise KerasFileError("it does not state the size of its input: set it with --size PIXELS")
    return built


def top_level_names(config: dict[str, Any]) -> dict[str, str]:
    """Returns the file's names of a checked model's outermost layers, by their new names."""
    return {entry["config"]["name"]: entry["was"] for entry in config["config"]["layers"]}


def _parsed(text: str) -> dict[str, Any]:
    """Parses the JSON and limits its nesting depth."""
    try:
        description = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise KerasFileError(f"its configuration is not JSON: {shown(str(error))}") from None
    waiting = [(description, 0)]
    while waiting:
        value, depth = waiting.pop()
        if depth > _NESTING:
            raise KerasFileError(f"its configuration is nested more than {_NESTING} deep")
        inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
        waiting += [(item, depth + 1) for item in inner]
    if not isinstance(description, dict):
        raise KerasFileError("its configuration does not describe a model")
    return description


def _network(kind: str, config: Any, budget: list[int], shape: list[Any] | None = None) -> dict[str, Any]:
    """Returns the checked configuration of a network; `budget[0]` is the number of layer calls left."""
    # Keras before 2.2.3 kept a Sequential's layers as a bare list.
    config = {"layers": config} if isinstance(config, list) else config
    entries = config.get("layers") if isinstance(config, dict) else None
    if not isinstance(entries, list) or not entries:
        raise KerasFileError("its configuration is damaged: a network has no layers")
    parts = [_part(entry, kind == "Sequential", budget) for entry in entries]
    names = _names([part.name for part in parts])
    settings = {"name": _plain_name(config.get("name")), "trainable": config.get("trainable") is not False}
    if kind == "Sequential":
        shape = _first_shape(parts[0]) or _shape(config.get("build_input_shape")) or shape
        layers = [_entry(part, names, []) for part in parts]
        if shape and parts[0].kind != "InputLayer":
            layers.insert(0, {**_input("sequential_input", shape), "was": ""})
        built = {"module": "keras", "class_name": "Sequential", "config": {**settings, "layers": layers}}
        return {**built, "registered_name": None}
    inputs = list(references(config.get("input_layers")))
    outputs = list(references(config.get("output_layers")))
    if len(inputs) != 1 or len(outputs) != 1:
        raise KerasFileError(
            f"it has {len(inputs)} inputs and {len(outputs)} outputs; an image classifier has one of each"
        )
    by_name = {part.name: part for part in parts}
    source = by_name.get(inputs[0].layer)
    if source is None or source.kind != "InputLayer":
        raise KerasFileError("its configuration is damaged: its input is not an InputLayer")
    layers = [
        _entry(part, names, [] if part is source else [written_call(call, part, by_name, names) for call in part.calls])
        for part in _ordered(parts, by_name, source)
    ]
    last = numbered(by_name, outputs[0])
    # Keras counts node indices of a nested Functional model from 1 here, those of other layers from 0.
    functional = by_name[last.layer].network is not None and by_name[last.layer].kind != "Sequential"
    return {
        "module": "keras.src.models.functional",
        "class_name": "Functional",
        "config": {
            **settings,
            "layers": layers,
            "input_layers": [names[source.name], 0, 0],
            "output_layers": [names[last.layer], last.node + functional, 0],
        },
        "registered_name": None,
    }


def _ordered(parts: list[LayerConfig], by_name: dict[str, LayerConfig], source: LayerConfig) -> list[LayerConfig]:
    """Returns the layers in topological order as far as possible: each after the layers that it is called on.

    Raises:
        KerasFileError: a layer is unused or a second input, a network is called twice, or the graph has a cycle.
    """
    waits: dict[tuple[str, int], set[tuple[str, int]]] = {}
    for part in parts:
        if part is not source and not part.calls:
            raise KerasFileError(f"its layer {shown(part.name)} is unused, or is a second input")
        if part.network is not None and len(part.calls) > 1:
            raise KerasFileError(f"it calls the network {shown(part.name)} {len(part.calls)} times")
        for number, call in enumerate([] if part is source else part.calls):
            tensors = tensors_in([call.arguments, list(call.keywords.values())])
            waits[part.name, number] = {numbered(by_name, tensor)[:2] for tensor in tensors}
    try:
        order = list(graphlib.TopologicalSorter(waits).static_order())
    except graphlib.CycleError:
        raise KerasFileError("its configuration is damaged: its layers form a cycle") from None
    first = {name: index for index, (name, _) in reversed(list(enumerate(order)))}
    return sorted(parts, key=lambda part: first.get(part.name, -1))


def _part(entry: Any, sequential: bool, budget: list[int]) -> LayerConfig:
    if not isinstance(entry, dict):
        raise KerasFileError("its configuration is damaged: a layer is not a JSON object")
    config = entry.get("config")
    name = entry.get("name", config.get("name") if isinstance(config, dict) else None)
    kind = class_name(entry, name)
    network = _network(kind, config, budget) if kind in NETWORKS else None
    config = config if isinstance(config, dict) else {}
    if not isinstance(name, str):
        raise KerasFileError(f"its configuration is damaged: a {shown(kind)} has no name")
    nodes = [] if sequential else entry.get("inbound_nodes", [])
    if not isinstance(nodes, list):
        raise KerasFileError(f"its configuration is damaged: {shown(name)} is not called on a list")
    calls = [parsed_call(node, name) for node in nodes]
    budget[0] -= max(1, len(calls))
    if budget[0] < 0:
        raise KerasFileError(f"it has more than {MOST_CALLS:,} layers")
    module = entry.get("module")
    return LayerConfig(kind, name, module if isinstance(module, str) else "", config, calls, network)


def _names(names: list[str]) -> dict[str, str]:
    """Returns names that Keras 3 and TensorFlow accept, by the file's names: Keras 2 allowed `conv1/bn`."""
    if len(names) != len(set(names)):
        raise KerasFileError("its configuration is damaged: two layers of a network have the same name")
    built: dict[str, str] = {}
    for name in names:
        unique = plain = _plain_name(name)
        number = 1
        while unique in built.values():
            unique, number = f"{plain}_{number}", number + 1
        built[name] = unique
    return built


def _plain_name(name: Any) -> str:
    plain = re.sub(r"[^A-Za-z0-9_.-]", "_", name)[:80] if isinstance(name, str) else ""
    return plain if plain[:1].isalnum() else f"layer{plain}"


def _entry(part: LayerConfig, names: dict[str, str], nodes: list[dict[str, Any]]) -> dict[str, Any]:
    """Returns a layer in Keras 3's notation; `was` is its name in the file, which Keras ignores."""
    name = names[part.name]
    if part.network is not None:
        part.network["config"]["name"] = name
        built = part.network
    elif operations.known(part):
        built = operations.written(part, name)
    elif part.kind == "InputLayer":
        shape = _first_shape(part)
        if shape is None:
            raise KerasFileError(f"its configuration is damaged: its input {shown(part.name)} has no shape")
        built = _input(name, shape)
    else:
        module, kind, settings = layer_settings(part)
        settings = {"name": name, "trainable": part.config.get("trainable") is not False, **settings}
        built = {"module": module, "class_name": kind, "config": {**settings, "dtype": "float32"}}
    return {"registered_name": None, **built, "name": name, "inbound_nodes": nodes, "was": part.name}


def _input(name: str, shape: list[Any]) -> dict[str, Any]:
    config = {"name": name, "batch_shape": [None, *shape[1:]], "dtype": "float32"}
    built = {"module": "keras.layers", "class_name": "InputLayer", "config": config, "registered_name": None}
    return {**built, "name": name, "inbound_nodes": []}


def _first_shape(part: LayerConfig) -> list[Any] | None:
    if part.network is not None:
        first = part.network["config"]["layers"][0]
        return _shape(first["config"].get("batch_shape")) if first["class_name"] == "InputLayer" else None
    return _shape(part.config.get("batch_shape") or part.config.get("batch_input_shape"))


def _shape(value: Any) -> list[Any] | None:
    value = value.get("items") if isinstance(value, dict) else value
    if isinstance(value, list) and all(item is None or (type(item) is int and item > 0) for item in value):
        return value or None
    return None
