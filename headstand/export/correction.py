"""Bias correction for quantized models: subtracts the mean shift that weight rounding causes.

Rounded weights shift the mean of a channel, and the shifts add up over the layers; no choice of quantization ranges
removes them. Layer by layer from the input on, the channel means over some photos are compared with those of the
float32 model. The difference is added to the bias, a 32-bit integer with room for it. Size and speed do not change.

Source: Nagel, van Baalen, Blankevoort, Welling: Data-Free Quantization Through Weight Equalization and Bias Correction
(ICCV 2019), the empirical correction of its appendix. The paper takes the means before the activation, which a
quantized layer does not expose. Here they are taken after it and divided by the share of values that the activation
does not clip.
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
"""Lower bound on the share of unclipped values that a shift is divided by: a correction is at most ten times the shift
measured, since rarely active channels give a poor estimate."""


@dataclass(frozen=True)
class _Observed:
    """Channel statistics of a layer's output over photos and pixel positions, each `float64 [channels]`.

    `free` is the share of values strictly between -128 and 127: only these respond to a bias. 0 for float outputs.
    """

    mean: np.ndarray
    free: np.ndarray


def corrected(quantized: bytes, exact: bytes, photos: np.ndarray) -> bytes:
    """Returns the quantized model with corrected biases.

    Args:
        quantized: converted from `exact` with the same tensor names; takes uint8 pixels.
        exact: the same model in float32.
        photos: `uint8 [N, size, size, 3]`, RGB.

    Returns:
        The corrected flatbuffer. Layers without an integer bias, and layers that `exact` does not have under the same
        name, are unchanged.
    """
    model, original = flatbuffer.read(quantized), flatbuffer.read(exact)
    layers = _layers(model)
    wanted = _observe(original, [index for name, index in _layers(original).items() if name in layers], photos)
    for name, index in layers.items():
        bias = _bias(model, index)
        if name in wanted and bias is not None:
            # Earlier layers are corrected already, so the remaining shift is this layer's own.
            found = _observe(model, [index], photos)[name]
            shift = (wanted[name].mean - found.mean) / np.maximum(found.free, _LEAST_FREE)
            _add(model, bias, np.round(shift / bias.quantization.scale))
    return flatbuffer.write(model)


def _layers(model: tflite.ModelT) -> dict[str, int]:
    """Returns the layers that may have a bias, in execution order: operator index by output tensor name."""
    graph = model.subgraphs[0]
    return {
        graph.tensors[operator.outputs[0]].name.decode(): index
        for index, operator in enumerate(graph.operators)
        if flatbuffer.operation(model, operator) in _WITH_BIAS
    }


def _bias(model: tflite.ModelT, layer: int) -> tflite.TensorT | None:
    """Returns a layer's bias tensor if it is int32 and no other layer shares it, else None."""
    graph = model.subgraphs[0]
    index = graph.operators[layer].inputs[2] if len(graph.operators[layer].inputs) > 2 else -1
    if index < 0 or graph.tensors[index].type != tflite.TensorType.INT32:
        return None
    users = sum(index in operator.inputs for operator in graph.operators)
    return graph.tensors[index] if users == 1 else None


def _add(model: tflite.ModelT, bias: tflite.TensorT, steps: np.ndarray) -> None:
    """Adds integer steps to a bias, clipped to int32."""
    values = np.frombuffer(bytes(bytearray(model.buffers[bias.buffer].data)), np.int32) + steps
    limits = np.iinfo(np.int32)
    # The converter shares one buffer among equal constants, such as the zero biases of layers without one.
    if sum(tensor.buffer == bias.buffer for tensor in model.subgraphs[0].tensors) > 1:
        bias.buffer = len(model.buffers)
        model.buffers.append(tflite.BufferT())
    data = np.clip(values, limits.min, limits.max).astype(np.int32).tobytes()
    model.buffers[bias.buffer].data = np.frombuffer(data, np.uint8)


def _observe(model: tflite.ModelT, indices: Sequence[int], photos: np.ndarray) -> dict[str, _Observed]:
    """Returns output statistics of some operators by output tensor name, running the model only as far as needed."""
    cut, graph = copy.copy(model), copy.copy(model.subgraphs[0])
    graph.operators = graph.operators[: max(indices, default=0) + 1]
    graph.outputs = np.array([graph.operators[index].outputs[0] for index in indices], np.int32)
    cut.subgraphs, cut.signatureDefs = [graph], None
    with quiet():  # LiteRT logs the delegate it creates
        interpreter = Interpreter(model_content=flatbuffer.write(cut))
        interpreter.allocate_tensors()
    (pixels,), given = interpreter.get_input_details(), interpreter.get_output_details()
    means, free = ([np.zeros(one["shape"][-1]) for one in given] for _ in range(2))
    for photo in photos:
        interpreter.set_tensor(pixels["index"], photo[np.newaxis].astype(pixels["dtype"]))
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
