"""Checks a model configuration against an allow-list of built-in layers and rewrites it for Keras 3.

The configuration that Keras receives is built anew from the allow-list: classes, plain settings and calls. Nothing in
the file is looked up, imported or deserialized. Keras 2 writes a call as `[[layer, node, tensor, {keywords}], ...]`,
Keras 3 as `{"args": [...], "kwargs": {...}}` with tensors as `{"class_name": "__keras_tensor__", ...}`.
"""

import graphlib
import inspect
import json
import re
from collections.abc import Iterator
from typing import Any

import keras

from headstand.keras_files import operations
from headstand.keras_files.parts import Call, KerasFileError, LayerConfig, Tensor, shown

NETWORKS = ("Functional", "Model", "Sequential")
"""Classes that contain layers; Keras up to 2.3 called a Functional model Model."""

LAYERS = frozenset({
    "Activation", "ActivityRegularization", "Add", "AlphaDropout", "Average", "AveragePooling2D",
    "BatchNormalization", "CenterCrop", "Concatenate", "Conv2D", "Conv2DTranspose", "Cropping2D", "Dense",
    "DepthwiseConv2D", "Dot", "Dropout", "ELU", "Flatten", "GaussianDropout", "GaussianNoise",
    "GlobalAveragePooling2D", "GlobalMaxPooling1D", "GlobalMaxPooling2D", "GroupNormalization", "Identity",
    "InputLayer", "LayerNormalization", "LeakyReLU", "MaxPooling2D", "Maximum", "Minimum", "Multiply",
    "Normalization", "PReLU", "Permute", "ReLU", "Rescaling", "Reshape", "Resizing", "SeparableConv2D", "Softmax",
    "SpatialDropout2D", "Subtract", "UnitNormalization", "UpSampling2D", "ZeroPadding2D",
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

_MOST_CALLS = 20_000
"""Largest number of layer calls in a model; NASNetLarge has 1,040."""

_NESTING = 100
"""Largest nesting depth of lists and objects in a configuration."""

_MOST_SCALES = 2**16
"""Largest number of channels of a LayerScale; ConvNeXtXLarge has 2,048."""


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
            f"it is a {shown(name)}: a class whose code is not in the file, and which no file may bring along; only "
            "Sequential and Functional models can be loaded"
        )
    kind = _kind(description, "model")
    build = description.get("build_config")
    shape = _shape(build.get("input_shape")) if isinstance(build, dict) else None
    made = _network(kind, description.get("config"), [_MOST_CALLS], shape or (size and [None, size, size, 3]) or None)
    if kind == "Sequential" and made["config"]["layers"][0]["class_name"] != "InputLayer":
        raise KerasFileError("it does not say what size its input has; give --size PIXELS")
    return made


def top_level_names(config: dict[str, Any]) -> dict[str, str]:
    """Returns the file's names of a checked model's outermost layers, by the names that they have now."""
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
        raise KerasFileError("its configuration is not that of a model")
    return description


def _kind(entry: dict[str, Any], name: object) -> str:
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
    own = kind not in names or registered not in {None, *names}
    if (own or not inside) and short not in ("Lambda", "__lambda__"):
        origin = module if not inside else registered or kind
        raise KerasFileError(
            f"its layer {shown(name)} is a {shown(kind)} ({shown(origin)}), and not Keras's own; a custom layer's code "
            f"is not in the file, and is not taken from elsewhere, registered or not; {ALLOWED}"
        )
    return _RENAMED.get(short, short)


def _network(kind: str, config: Any, budget: list[int], shape: list[Any] | None = None) -> dict[str, Any]:
    # Keras before 2.2.3 kept a Sequential's layers as a bare list.
    """Returns the checked configuration of a network; `budget[0]` is the number of layer calls left."""
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
        made = {"module": "keras", "class_name": "Sequential", "config": {**settings, "layers": layers}}
        return {**made, "registered_name": None}
    inputs = list(_references(config.get("input_layers")))
    outputs = list(_references(config.get("output_layers")))
    if len(inputs) != 1 or len(outputs) != 1:
        raise KerasFileError(
            f"it has {len(inputs)} inputs and {len(outputs)} outputs; a classifier of images has one of each"
        )
    by_name = {part.name: part for part in parts}
    source = by_name.get(inputs[0].layer)
    if source is None or source.kind != "InputLayer":
        raise KerasFileError("its configuration is damaged: its input is not an InputLayer")
    layers = [
        _entry(part, names, [] if part is source else [_written(call, part, by_name, names) for call in part.calls])
        for part in _ordered(parts, by_name, source)
    ]
    last = _node(by_name, outputs[0])
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
            raise KerasFileError(f"its layer {shown(part.name)} is used nowhere, or is a second input")
        if part.network is not None and len(part.calls) > 1:
            raise KerasFileError(f"it calls the network {shown(part.name)} {len(part.calls)} times")
        for number, call in enumerate([] if part is source else part.calls):
            tensors = _tensors([call.arguments, list(call.keywords.values())])
            waits[part.name, number] = {_node(by_name, tensor)[:2] for tensor in tensors}
    try:
        order = list(graphlib.TopologicalSorter(waits).static_order())
    except graphlib.CycleError:
        raise KerasFileError("its configuration is damaged: its layers run in a circle") from None
    first = {name: place for place, (name, _) in reversed(list(enumerate(order)))}
    return sorted(parts, key=lambda part: first.get(part.name, -1))


def _part(entry: Any, sequential: bool, budget: list[int]) -> LayerConfig:
    if not isinstance(entry, dict):
        raise KerasFileError("its configuration is damaged: a layer is not a JSON object")
    config = entry.get("config")
    name = entry.get("name", config.get("name") if isinstance(config, dict) else None)
    kind = _kind(entry, name)
    network = _network(kind, config, budget) if kind in NETWORKS else None
    config = config if isinstance(config, dict) else {}
    if not isinstance(name, str):
        raise KerasFileError(f"its configuration is damaged: a {shown(kind)} has no name")
    nodes = [] if sequential else entry.get("inbound_nodes", [])
    if not isinstance(nodes, list):
        raise KerasFileError(f"its configuration is damaged: {shown(name)} is not called on a list")
    calls = [_call(node, name) for node in nodes]
    budget[0] -= max(1, len(calls))
    if budget[0] < 0:
        raise KerasFileError(f"it has more than {_MOST_CALLS:,} layers")
    module = entry.get("module")
    return LayerConfig(kind, name, module if isinstance(module, str) else "", config, calls, network)


def _names(names: list[str]) -> dict[str, str]:
    """Returns names that Keras 3 and TensorFlow accept, by the file's names: Keras 2 allowed `conv1/bn`."""
    if len(names) != len(set(names)):
        raise KerasFileError("its configuration is damaged: two layers of a network have one name")
    made: dict[str, str] = {}
    for name in names:
        wanted = plain = _plain_name(name)
        number = 1
        while wanted in made.values():
            wanted, number = f"{plain}_{number}", number + 1
        made[name] = wanted
    return made


def _plain_name(name: Any) -> str:
    plain = re.sub(r"[^A-Za-z0-9_.-]", "_", name)[:80] if isinstance(name, str) else ""
    return plain if plain[:1].isalnum() else f"layer{plain}"


def _entry(part: LayerConfig, names: dict[str, str], nodes: list[dict[str, Any]]) -> dict[str, Any]:
    """Returns a layer in Keras 3's notation; `was` is its name in the file, which Keras ignores."""
    name = names[part.name]
    if part.network is not None:
        part.network["config"]["name"] = name
        made = part.network
    elif operations.known(part):
        made = operations.written(part, name)
    elif part.kind == "InputLayer":
        shape = _first_shape(part)
        if shape is None:
            raise KerasFileError(f"its configuration is damaged: its input {shown(part.name)} has no shape")
        made = _input(name, shape)
    else:
        module, kind, settings = _settings(part)
        settings = {"name": name, "trainable": part.config.get("trainable") is not False, **settings}
        made = {"module": module, "class_name": kind, "config": {**settings, "dtype": "float32"}}
    return {"registered_name": None, **made, "name": name, "inbound_nodes": nodes, "was": part.name}


def _input(name: str, shape: list[Any]) -> dict[str, Any]:
    config = {"name": name, "batch_shape": [None, *shape[1:]], "dtype": "float32"}
    made = {"module": "keras.layers", "class_name": "InputLayer", "config": config, "registered_name": None}
    return {**made, "name": name, "inbound_nodes": []}


def _settings(part: LayerConfig) -> tuple[str, str, dict[str, Any]]:
    """Returns a layer's module, class and arguments without regularizers, constraints and initializers.

    Raises:
        KerasFileError: the layer is not allowed, or Keras does not have one of its settings.
    """
    _check(part)
    kind = part.kind
    if kind in AUGMENTATION:
        return "keras.layers", "Identity", {}
    if kind in _APPLICATIONS:
        made: Any = {"LayerScale": {"init_values", "projection_dim"}, "CustomScaleLayer": {"scale"}}[kind]
        settings: dict[str, Any] = {key: part.config.get(key) for key in made}
        whole = settings.get("projection_dim", 1)
        if not all(type(value) in (int, float) for value in settings.values()) or not 0 < whole <= _MOST_SCALES:
            raise KerasFileError(f"its layer {shown(part.name)} is no {kind} of keras.applications")
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
            f"its layer {name} is a Lambda: Python code inside the file, which is never run; put a plain layer in its "
            f"place (Rescaling for a division of the pixels), or leave it out and choose --preprocess; {ALLOWED}"
        )
    if kind in ("TFSMLayer", "TorchModuleWrapper", "JaxLayer", "FlaxLayer"):
        raise KerasFileError(f"its layer {name} is a {kind}: code from outside of Keras, which is never run; {ALLOWED}")
    if kind not in LAYERS | AUGMENTATION | _APPLICATIONS.keys():
        built_in = isinstance(getattr(keras.layers, kind, None), type)
        raise KerasFileError(
            f"its layer {name} is a {shown(kind)}, "
            + ("which classifiers of images do not need" if built_in else "a class that Keras does not have")
            + "; a custom layer's code is not in the file, and is not taken from elsewhere, registered or not; "
            + ALLOWED
        )
    if "Quantized" in str(part.config.get("dtype")) or part.config.get("quantization_config") is not None:
        raise KerasFileError(f"its layer {name} was quantised in Keras; convert the model as it was before that")
    if part.config.get("data_format") == "channels_first" and kind.endswith("2D"):
        raise KerasFileError(
            f"its layer {name} wants the channels first; TFLite has them last: build the model with "
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
    name = {None: "linear", "Softmax": "softmax", "ReLU": "relu"}.get(value, value) if _hashable(value) else value
    plain = not isinstance(settings, dict) or not set(settings) - {"name", "dtype", "trainable", "axis"}
    if not isinstance(name, str) or name not in _ACTIVATIONS or not plain:
        raise KerasFileError(
            f"its layer {shown(part.name)} has the activation {shown(value)}, which is not among Keras's own "
            f"({', '.join(sorted(_ACTIVATIONS))}); custom functions are not in the file, and are not taken from "
            "elsewhere, registered or not"
        )
    return name


def _hashable(value: Any) -> bool:
    return value is None or isinstance(value, str)


def _plain(value: Any, part: LayerConfig, key: str, depth: int = 3) -> Any:
    """Returns a setting made of numbers, booleans, short strings, None and lists of them.

    Raises:
        KerasFileError: anything else.
    """
    value = _unwrapped(value)
    if isinstance(value, list) and depth and len(value) <= 10_000:
        return [_plain(item, part, key, depth - 1) for item in value]
    if value is None or isinstance(value, bool | int | float) or (isinstance(value, str) and len(value) < 40):
        return value
    raise KerasFileError(f"its layer {shown(part.name)} has {shown(key)} = {shown(value)}, which is no plain setting")


def _call(node: Any, name: str) -> Call:
    """Parses one call of a layer in the notation of Keras 2 or 3."""
    if isinstance(node, dict):
        arguments, keywords = node.get("args", []), node.get("kwargs", {})
        if isinstance(arguments, list) and isinstance(keywords, dict):
            # Keras 3 stores the default of `training`, and `model(x, training=False)` overrides it.
            keywords = {key: value for key, value in keywords.items() if key != "training"}
            return Call(_unwrapped(arguments), _unwrapped(keywords))
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


def _written(call: Call, part: LayerConfig, by_name: dict[str, LayerConfig], names: dict[str, str]) -> dict[str, Any]:
    """Returns a call in Keras 3's notation.

    Raises:
        KerasFileError: the call does not suit a layer of an image classifier.
    """
    if call.keywords.get("training") not in (None, False):
        raise KerasFileError(f"its layer {shown(part.name)} is set to run as in training at all times")
    if call.keywords.get("mask") is not None:
        raise KerasFileError(f"its layer {shown(part.name)} takes a mask, which images do not have")

    def write(value: Any) -> Any:
        if isinstance(value, Tensor):
            layer, node, output = _node(by_name, value)
            # Keras uses only the history; it takes the shape from the layer itself.
            config = {"shape": [None], "dtype": "float32", "keras_history": [names[layer], node, output]}
            return {"class_name": "__keras_tensor__", "config": config}
        return [write(item) for item in value] if isinstance(value, list) else value

    if part.network is None and operations.known(part):
        return {"args": write(operations.arguments(part, call)), "kwargs": {}}
    taken = call.arguments[0] if len(call.arguments) == 1 else None
    strange = call.keywords.keys() - {"training", "mask"}
    if strange or not (isinstance(taken, Tensor) or (_all_tensors(taken) and taken)):
        raise KerasFileError(f"its layer {shown(part.name)} takes one argument: a tensor or a list of them")
    return {"args": [write(taken)], "kwargs": {}}


def _all_tensors(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(item, Tensor) for item in value)


def _node(by_name: dict[str, LayerConfig], tensor: Tensor) -> Tensor:
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
        raise KerasFileError(f"its configuration is damaged: {shown(part.name)} gives no {tensor.output + 1} tensors")
    return Tensor(part.name, node, 0)


def _source(entry: list[Any], name: str) -> Any:
    if entry[0] == "_CONSTANT_VALUE":
        return _unwrapped(entry[2])
    reference = _reference(entry[:3])
    if reference is None:
        raise KerasFileError(f"its configuration is damaged: {shown(name)} is called on something that is no layer")
    return reference


def _reference(value: Any) -> Tensor | None:
    """Parses `[layer, node, tensor]`; None for anything else."""
    if isinstance(value, list) and len(value) == 3 and isinstance(value[0], str):
        layer, node, index = value
        if type(node) is int and type(index) is int and 0 <= node < _MOST_CALLS and 0 <= index < 100:
            return Tensor(layer, node, index)
    return None


def _references(value: Any) -> Iterator[Tensor]:
    """Yields the tensors among a network's inputs or outputs: one, or a list or an object of them."""
    reference = _reference(value)
    if reference:
        yield reference
    elif isinstance(value, list | dict):
        for item in value.values() if isinstance(value, dict) else value:
            yield from _references(item)


def _legacy(value: Any) -> Any:
    """Parses a keyword of a Keras 2 call, where tensors are `[layer, node, tensor]`, singly or in lists."""
    reference = _reference(value)
    if reference:
        return reference
    if isinstance(value, list):
        return [_legacy(item) for item in value]
    return _unwrapped(value)


def _unwrapped(value: Any) -> Any:
    """Unwraps a value of a call or a setting: tensors become `Tensor`, wrapped constants their content."""
    if isinstance(value, list):
        return [_unwrapped(item) for item in value]
    if not isinstance(value, dict):
        return value
    kind, config = value.get("class_name"), value.get("config", value)
    if kind == "__keras_tensor__" and isinstance(config, dict):
        reference = _reference(config.get("keras_history"))
        if reference is None:
            raise KerasFileError("its configuration is damaged: a tensor does not say where it comes from")
        return reference
    if kind in ("__tensor__", "__numpy__") and isinstance(config, dict):
        return _unwrapped(config.get("value"))
    if kind == "__tuple__":
        return _unwrapped(value.get("items"))
    if kind == "__ellipsis__":
        return ...
    if kind == "__slice__" and isinstance(config, dict):
        return _unwrapped({key: config.get(key) for key in ("start", "stop", "step")})
    return {key: _unwrapped(item) for key, item in value.items()}


def _tensors(value: Any) -> Iterator[Tensor]:
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, list | dict):
        for item in value.values() if isinstance(value, dict) else value:
            yield from _tensors(item)


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
