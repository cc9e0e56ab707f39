"""A model's description as Keras saves it, read into a graph of named parts; nothing is built yet.

Keras 2 writes a call as `[[layer, node, tensor, {keywords}], ...]`, Keras 3 as `{"args": [...], "kwargs": {...}}` with
tensors as `{"class_name": "__keras_tensor__", ...}`; both become `Call`.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from headstand.export.stranger.refusal import StrangerError, shown

NETWORKS = ("Functional", "Model", "Sequential")
"""The classes that hold layers; Keras up to 2.3 called a Functional one Model."""

_MOST_CALLS = 20_000
"""Calls of layers in one model; NASNetLarge has 1,040."""


@dataclass(frozen=True)
class Tensor:
    """What a layer gave at its `node`-th call; `place` where it gave several."""

    layer: str
    node: int
    place: int


@dataclass
class Call:
    """One use of a layer; tensors stand as `Tensor` within the lists of `arguments` and the values of `keywords`."""

    arguments: list[Any]
    keywords: dict[str, Any]

    def tensors(self) -> Iterator[Tensor]:
        """All that it needs, in order."""
        return _tensors([self.arguments, list(self.keywords.values())])


@dataclass
class Part:
    """A layer, an operation or a network within a network.

    `kind` is the class without its package, `module` where the file says that it comes from. `network` is set for a
    network alone. `layer` is the Keras layer once there is one.
    """

    kind: str
    name: str
    module: str
    config: dict[str, Any]
    calls: list[Call]
    network: "Network | None" = None
    layer: Any = None

    @property
    def trainable(self) -> bool:
        """Whether Keras counts its weights among the trainable ones: these come first where a network is stored."""
        return self.config.get("trainable") is not False


@dataclass
class Network:
    """Parts in the file's order. In a Sequential each takes what the one before gave; `output` is None then."""

    kind: str
    parts: list[Part] = field(default_factory=list)
    inputs: list[Tensor] = field(default_factory=list)
    output: Tensor | None = None
    shape: list[Any] | None = None
    """The input's as saved, batch first; None where the file does not tell."""


def parse(description: dict[str, Any]) -> Network:
    """Read a model's whole description.

    Raises:
        StrangerError: it is no Functional or Sequential model, or is not put together as Keras does it.
    """
    kind = _kind(description)
    if kind not in NETWORKS:
        raise StrangerError(
            f"it is a {shown(kind)}: a class whose code is not in the file, and which no file may bring along; only "
            "Sequential and Functional models can be imported"
        )
    budget = [_MOST_CALLS]
    network = _network(kind, description.get("config"), budget)
    build = description.get("build_config")
    if network.shape is None and isinstance(build, dict):
        network.shape = _shape(build.get("input_shape"))
    return network


def _kind(entry: dict[str, Any]) -> str:
    kind = entry.get("class_name")
    if not isinstance(kind, str):
        raise StrangerError("its description is damaged: a layer has no class_name")
    return kind.split(">")[-1]


def _network(kind: str, config: Any, budget: list[int]) -> Network:
    # Keras before 2.2.3 kept a Sequential's layers as a bare list.
    config = {"layers": config} if isinstance(config, list) else config
    entries = config.get("layers") if isinstance(config, dict) else None
    if not isinstance(entries, list) or not entries:
        raise StrangerError("its description is damaged: a network has no layers")
    network = Network(kind)
    for entry in entries:
        network.parts.append(_part(entry, kind == "Sequential", budget))
    names = [part.name for part in network.parts]
    if len(names) != len(set(names)):
        raise StrangerError("its description is damaged: two layers of a network have one name")
    if kind == "Sequential":
        network.shape = _first_shape(network.parts[0]) or _shape(config.get("build_input_shape"))
        return network
    network.inputs = list(_references(config.get("input_layers")))
    outputs = list(_references(config.get("output_layers")))
    if len(network.inputs) != 1 or len(outputs) != 1:
        raise StrangerError(
            f"it has {len(network.inputs)} inputs and {len(outputs)} outputs; a classifier of images has one of each"
        )
    network.output = outputs[0]
    source = next((part for part in network.parts if part.name == network.inputs[0].layer), None)
    if source is None or source.kind != "InputLayer":
        raise StrangerError("its description is damaged: its input is no InputLayer")
    network.shape = _first_shape(source)
    return network


def _part(entry: Any, sequential: bool, budget: list[int]) -> Part:
    if not isinstance(entry, dict):
        raise StrangerError("its description is damaged: a layer is no JSON object")
    kind, config = _kind(entry), entry.get("config")
    network = _network(kind, config, budget) if kind in NETWORKS else None
    config = config if isinstance(config, dict) else {}
    name = entry.get("name", config.get("name"))
    if not isinstance(name, str):
        raise StrangerError(f"its description is damaged: a {shown(kind)} has no name")
    module = entry.get("module")
    part = Part(kind, name, module if isinstance(module, str) else "", config, [], network)
    nodes = [] if sequential else entry.get("inbound_nodes", [])
    if not isinstance(nodes, list):
        raise StrangerError(f"its description is damaged: {shown(name)} is not called on a list")
    part.calls = [_call(node, name) for node in nodes]
    budget[0] -= max(1, len(part.calls))
    if budget[0] < 0:
        raise StrangerError(f"it has more than {_MOST_CALLS:,} layers")
    return part


def _call(node: Any, name: str) -> Call:
    if isinstance(node, dict):
        arguments, keywords = node.get("args", []), node.get("kwargs", {})
        if isinstance(arguments, list) and isinstance(keywords, dict):
            return Call(unwrapped(arguments), unwrapped(keywords))
    if isinstance(node, list) and node:
        # An operation's node is the bare [layer, node, tensor, keywords]; a layer's is a list of such.
        entries = node if isinstance(node[0], list) else [node]
        if all(isinstance(entry, list) and len(entry) in (3, 4) for entry in entries):
            sources = [_source(entry, name) for entry in entries]
            keywords = entries[0][3] if len(entries[0]) == 4 else {}
            if isinstance(keywords, dict):
                return Call(
                    [sources] if len(sources) > 1 else sources, {key: _legacy(item) for key, item in keywords.items()}
                )
    raise StrangerError(f"its description is damaged: {shown(name)} is not called as Keras calls layers")


def _source(entry: list[Any], name: str) -> Any:
    if entry[0] == "_CONSTANT_VALUE":
        return unwrapped(entry[2])
    reference = _reference(entry[:3])
    if reference is None:
        raise StrangerError(f"its description is damaged: {shown(name)} is called on something that is no layer")
    return reference


def _reference(value: Any) -> Tensor | None:
    """`[layer, node, tensor]` as a tensor."""
    if isinstance(value, list) and len(value) == 3 and isinstance(value[0], str):
        layer, node, place = value
        if type(node) is int and type(place) is int and 0 <= node < _MOST_CALLS and 0 <= place < 100:
            return Tensor(layer, node, place)
    return None


def _references(value: Any) -> Iterator[Tensor]:
    """The tensors among a network's inputs or outputs: one, or a list or an object of them."""
    reference = _reference(value)
    if reference:
        yield reference
    elif isinstance(value, list | dict):
        for item in value.values() if isinstance(value, dict) else value:
            yield from _references(item)


def _legacy(value: Any) -> Any:
    """A keyword of a Keras 2 call, where tensors are `[layer, node, tensor]`, singly or in lists."""
    reference = _reference(value)
    if reference:
        return reference
    if isinstance(value, list):
        return [_legacy(item) for item in value]
    return unwrapped(value)


def unwrapped(value: Any) -> Any:
    """A value of a call or a setting: tensors become `Tensor`, wrapped constants what is in them."""
    if isinstance(value, list):
        return [unwrapped(item) for item in value]
    if not isinstance(value, dict):
        return value
    kind, config = value.get("class_name"), value.get("config", value)
    if kind == "__keras_tensor__" and isinstance(config, dict):
        reference = _reference(config.get("keras_history"))
        if reference is None:
            raise StrangerError("its description is damaged: a tensor does not say where it comes from")
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


def _tensors(value: Any) -> Iterator[Tensor]:
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, list | dict):
        for item in value.values() if isinstance(value, dict) else value:
            yield from _tensors(item)


def _first_shape(part: Part) -> list[Any] | None:
    if part.network is not None:
        return part.network.shape
    return _shape(part.config.get("batch_shape") or part.config.get("batch_input_shape"))


def _shape(value: Any) -> list[Any] | None:
    value = value.get("items") if isinstance(value, dict) else value
    if isinstance(value, list) and all(item is None or type(item) is int for item in value):
        return value
    return None
