"""Bias correction: what rounding shifts on average is taken out of a quantised model's biases.

Rounded weights shift the mean of a channel, the shifts add up over the layers, and no range of values undoes that. So,
layer by layer from the input on, the channel's mean over some photos is compared with that of the exact model, and the
difference is put into the bias, which is an integer of 32 bits and has room for it. Neither size nor speed change.

Source: Nagel, van Baalen, Blankevoort, Welling: Data-Free Quantization Through Weight Equalization and Bias Correction
(ICCV 2019), the empirical correction of its appendix. There the means are taken before the activation, which a
quantised layer does not show; here after it, and divided by the share of values that the activation lets through.
"""

import copy
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from ai_edge_litert import schema_py_generated as tflite
from ai_edge_litert.interpreter import Interpreter

from headstand.export import flatbuffer
from headstand.quiet import quiet

_WITH_BIAS = (
    tflite.BuiltinOperator.CONV_2D,
    tflite.BuiltinOperator.DEPTHWISE_CONV_2D,
    tflite.BuiltinOperator.FULLY_CONNECTED,
)

_LEAST_FREE = 0.1
"""A channel that is seldom free tells little of its shift; it is corrected by ten times what is seen, not by more."""


@dataclass(frozen=True)
class _Observed:
    """Of each channel of a layer's output, over photos and places in the picture: `float64 [channels]`.

    `free` is the share of values that are at neither end of their range: a bias moves these alone.
    """

    mean: np.ndarray
    free: np.ndarray


def corrected(quantized: bytes, exact: bytes, photos: np.ndarray) -> bytes:
    """Correct the biases of a model in integers.

    Args:
        quantized: made from `exact`, whose tensors have kept their names; takes pixels as uint8.
        exact: the same model in float32.
        photos: `uint8 [N, size, size, 3]`, RGB.

    Returns:
        The quantised model with other biases. Layers without a bias of integers, or that `exact` does not have under
        the same name, stay as they are.
    """
    model, original = flatbuffer.read(quantized), flatbuffer.read(exact)
    layers = _layers(model)
    wanted = _observe(original, [place for name, place in _layers(original).items() if name in layers], photos)
    for name, place in layers.items():
        bias = _bias(model, place)
        if name in wanted and bias is not None:
            # The layers before this one are corrected already, so only what this one adds is left to be seen.
            found = _observe(model, [place], photos)[name]
            shift = (wanted[name].mean - found.mean) / np.maximum(found.free, _LEAST_FREE)
            _add(model, bias, np.round(shift / bias.quantization.scale))
    return flatbuffer.write(model)


def _layers(model: tflite.ModelT) -> dict[str, int]:
    """The layers that may have a bias, in the order of computing: their output's name, their place."""
    graph = model.subgraphs[0]
    return {
        graph.tensors[operator.outputs[0]].name.decode(): place
        for place, operator in enumerate(graph.operators)
        if flatbuffer.operation(model, operator) in _WITH_BIAS
    }


def _bias(model: tflite.ModelT, place: int) -> tflite.TensorT | None:
    """A layer's bias, where it is one of integers that no other layer shares."""
    graph = model.subgraphs[0]
    index = graph.operators[place].inputs[2] if len(graph.operators[place].inputs) > 2 else -1
    if index < 0 or graph.tensors[index].type != tflite.TensorType.INT32:
        return None
    users = sum(index in operator.inputs for operator in graph.operators)
    return graph.tensors[index] if users == 1 else None


def _add(model: tflite.ModelT, bias: tflite.TensorT, steps: np.ndarray) -> None:
    values = np.frombuffer(bytes(bytearray(model.buffers[bias.buffer].data)), np.int32) + steps
    limits = np.iinfo(np.int32)
    # The converter stores equal constants once, such as the zeros of layers without a bias of their own.
    if sum(tensor.buffer == bias.buffer for tensor in model.subgraphs[0].tensors) > 1:
        bias.buffer = len(model.buffers)
        model.buffers.append(tflite.BufferT())
    data = np.clip(values, limits.min, limits.max).astype(np.int32).tobytes()
    model.buffers[bias.buffer].data = np.frombuffer(data, np.uint8)


def _observe(model: tflite.ModelT, places: Sequence[int], photos: np.ndarray) -> dict[str, _Observed]:
    """Run a model as far as needed, and look at what some operators give; by their outputs' names."""
    cut, graph = copy.copy(model), copy.copy(model.subgraphs[0])
    graph.operators = graph.operators[: max(places, default=0) + 1]
    graph.outputs = np.array([graph.operators[place].outputs[0] for place in places], np.int32)
    cut.subgraphs, cut.signatureDefs = [graph], None
    with quiet():  # LiteRT tells which delegate it made
        interpreter = Interpreter(model_content=flatbuffer.write(cut))
        interpreter.allocate_tensors()
    (taken,), given = interpreter.get_input_details(), interpreter.get_output_details()
    means, free = ([np.zeros(one["shape"][-1]) for one in given] for _ in range(2))
    for photo in photos:
        interpreter.set_tensor(taken["index"], photo[np.newaxis].astype(taken["dtype"]))
        interpreter.invoke()
        for number, one in enumerate(given):
            values = interpreter.get_tensor(one["index"]).reshape(-1, len(means[number]))
            means[number] += values.mean(axis=0, dtype=np.float64) / len(photos)
            if values.dtype == np.int8:
                free[number] += ((values > -128) & (values < 127)).mean(axis=0) / len(photos)
    result = {}
    for number, one in enumerate(given):
        scale, zero = one["quantization"]
        mean = (means[number] - zero) * scale if scale else means[number]
        result[graph.tensors[graph.outputs[number]].name.decode()] = _Observed(mean, free[number])
    return result
