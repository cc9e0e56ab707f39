"""Build the model that a description means, layer by layer, from Keras's own layers and Headstand's tables."""

import graphlib
import re
from typing import Any

import keras

from headstand.export.stranger import layers, operations
from headstand.export.stranger.description import Call, Network, Part, Tensor
from headstand.export.stranger.refusal import StrangerError, shown


class Builder:
    """Applies networks to a tensor; networks within networks are laid out flat. One for a model.

    `numbers` is how many numbers the file holds: no more weights are made.
    """

    def __init__(self, numbers: int) -> None:
        self._allowance = layers.Allowance(numbers)
        self._names: set[str] = set()

    def apply(self, network: Network, pixels: Any) -> Any:
        """Call a network; its layers are made at the first call, and shared by further ones.

        Args:
            network: what it is made of; each part's `layer` is set.
            pixels: symbolic tensor, as all that it is made into.

        Raises:
            StrangerError: a part that is refused, or parts that do not fit together.
        """
        if network.output is not None:
            return self._functional(network, pixels)
        for part in network.parts:
            pixels = self._call(part, Call([pixels], {}))
        return pixels

    def _functional(self, network: Network, pixels: Any) -> Any:
        parts = {part.name: part for part in network.parts}
        source = network.inputs[0].layer
        waits: dict[tuple[str, int], set[tuple[str, int]]] = {}
        for part in network.parts:
            if part.name != source and not part.calls:
                raise StrangerError(f"its layer {shown(part.name)} is used nowhere, or is a second input")
            for number, call in enumerate(part.calls):
                waits[part.name, number] = {_node(network, parts, tensor) for tensor in call.tensors()}
        done: dict[tuple[str, int], Any] = {(source, 0): pixels}
        try:
            order = list(graphlib.TopologicalSorter(waits).static_order())
        except graphlib.CycleError:
            raise StrangerError("its description is damaged: its layers run in a circle") from None
        for name, number in order:
            if name != source:
                given = _filled(parts[name].calls[number], network, parts, done)
                done[name, number] = self._call(parts[name], given)
        assert network.output is not None
        return _taken(done[_node(network, parts, network.output)], network.output)

    def _call(self, part: Part, call: Call) -> Any:
        if call.keywords.get("training") not in (None, False):
            raise StrangerError(f"its layer {shown(part.name)} is set to run as in training at all times")
        if call.keywords.get("mask") is not None:
            raise StrangerError(f"its layer {shown(part.name)} takes a mask, which images have none of")
        try:
            result = self._result(part, call)
        except StrangerError:
            raise
        except Exception as error:  # Keras and TensorFlow raise nearly every kind where values do not fit
            reason = next((line for line in str(error).splitlines() if line.strip()), type(error).__name__)
            raise StrangerError(f"its layer {shown(part.name)} cannot be built: {_cleaned(reason)}") from error
        for tensor in result if isinstance(result, list | tuple) else [result]:
            if not isinstance(tensor, keras.KerasTensor):
                raise StrangerError(f"its layer {shown(part.name)} gives no tensor")
            self._allowance.spend(part, tensor)
        return result

    def _result(self, part: Part, call: Call) -> Any:
        if part.network is not None:
            return self.apply(part.network, _single(part, call))
        if operations.known(part):
            return operations.run(part, call)
        if part.kind == "LayerScale":
            return self._scaled(part, _single(part, call))
        if part.kind == "CustomScaleLayer":
            return self._residual(part, call)
        layers.check(part)
        if part.kind in layers.NOTHING:
            return _single(part, call)
        if part.layer is None:
            part.layer = layers.build(part, self._name(part), self._allowance)
        if len(call.arguments) != 1:
            raise StrangerError(f"its layer {shown(part.name)} takes one argument, not {len(call.arguments)}")
        keywords = {"training": False} if part.kind == "BatchNormalization" else {}
        return part.layer(call.arguments[0], **keywords)

    def _scaled(self, part: Part, tensor: Any) -> Any:
        """ConvNeXt's factor for each channel, a class inside keras.applications, as a depthwise 1x1 convolution."""
        if part.layer is None:
            plain = Part("DepthwiseConv2D", part.name, "", {"kernel_size": 1, "use_bias": False}, [])
            part.layer = layers.build(plain, self._name(part), self._allowance)
        return part.layer(tensor)

    def _residual(self, part: Part, call: Call) -> Any:
        """InceptionResNetV2's `x[0] + scale * x[1]`, likewise."""
        pair, scale = call.arguments[0] if len(call.arguments) == 1 else None, part.config.get("scale")
        if not isinstance(pair, list) or len(pair) != 2 or not isinstance(scale, int | float):
            raise StrangerError(f"its layer {shown(part.name)} is no CustomScaleLayer of keras.applications")
        return keras.ops.add(pair[0], keras.ops.multiply(pair[1], float(scale)))

    def _name(self, part: Part) -> str:
        """One that Keras and TensorFlow take, and that nothing else has: Keras numbers its operations by itself."""
        wanted = "stranger_" + re.sub(r"[^A-Za-z0-9_.]", "_", part.name)[:80]
        name, number = wanted, 1
        while name in self._names:
            name, number = f"{wanted}_{number}", number + 1
        self._names.add(name)
        return name


def _node(network: Network, parts: dict[str, Part], tensor: Tensor) -> tuple[str, int]:
    """Which call gave a tensor. Keras counts those of a network within from 1 where that has an input of its own."""
    part = parts.get(tensor.layer)
    if part is None:
        raise StrangerError(f"its description is damaged: there is no layer {shown(tensor.layer)}")
    if tensor.layer == network.inputs[0].layer:
        return tensor.layer, 0
    number = min(tensor.node, len(part.calls) - 1) if part.network is not None else tensor.node
    if part.network is not None and len(part.calls) > 1:
        raise StrangerError(f"it calls the network {shown(part.name)} {len(part.calls)} times")
    if not 0 <= number < len(part.calls):
        raise StrangerError(f"its description is damaged: {shown(part.name)} is not called {tensor.node + 1} times")
    return tensor.layer, number


def _filled(call: Call, network: Network, parts: dict[str, Part], done: dict[tuple[str, int], Any]) -> Call:
    """The call with tensors in the places of their names."""

    def fill(value: Any) -> Any:
        if isinstance(value, Tensor):
            return _taken(done[_node(network, parts, value)], value)
        return [fill(item) for item in value] if isinstance(value, list) else value

    return Call(fill(call.arguments), {key: fill(value) for key, value in call.keywords.items()})


def _taken(result: Any, tensor: Tensor) -> Any:
    if isinstance(result, list | tuple) and tensor.place < len(result):
        return result[tensor.place]
    if tensor.place or isinstance(result, list | tuple):
        raise StrangerError(f"its description is damaged: {shown(tensor.layer)} gives no {tensor.place + 1} tensors")
    return result


def _single(part: Part, call: Call) -> Any:
    value = call.arguments[0] if len(call.arguments) == 1 else None
    value = value[0] if isinstance(value, list) and len(value) == 1 else value
    if not isinstance(value, keras.KerasTensor):
        raise StrangerError(f"its layer {shown(part.name)} takes one tensor")
    return value


def _cleaned(text: str) -> str:
    return "".join(letter if letter.isprintable() else " " for letter in text)[:300]
