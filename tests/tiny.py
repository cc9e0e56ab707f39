"""Tiny model bundles built without TensorFlow, which classify images as blue, green or red by their mean colour."""

import io
from pathlib import Path
from typing import Any

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema
from PIL import Image

from headstand import files
from headstand.export.bundle_writer import pack
from headstand.poses import heatmap_file

LABELS = ("blue", "green", "red")
SIZE = 32
GAIN = 0.02
"""Logits per unit of the mean colour: a purely red image has the logits 0, 0 and 5.1."""


def expected(rgb: tuple[float, float, float]) -> dict[str, float]:
    """Returns the probabilities of an image of a single colour."""
    logits = np.array(rgb[::-1], np.float64) * GAIN
    values = np.exp(logits) / np.exp(logits).sum()
    return dict(zip(LABELS, values.tolist(), strict=True))


def flatbuffer(
    *,
    size: int = SIZE,
    quantized: bool = False,
    labels: int = 3,
    shape: tuple[int, ...] | None = None,
    similarity: bool = False,
) -> bytes:
    """Returns a TFLite model: mean over the image, a dense layer and softmax; `quantized` makes input and output uint8.

    With the `shape` of heatmaps, the logit of each label is 100 times the mean of one joint's map. With `similarity`
    there is a second output, the brightness in 0..1.
    """
    input_shape = [1, *(shape or (size, size, 3))]
    model = schema.ModelT()
    model.version = 3
    model.description = "tiny"
    model.buffers, model.operatorCodes, tensors = [_buffer(b"")], [], []

    def tensor(name: str, shape: list[int], data: np.ndarray | None = None, kind: int = 0, scale: float = 0) -> int:
        entry = schema.TensorT()
        entry.name, entry.shape, entry.type, entry.buffer = name, shape, kind, 0
        if data is not None:
            entry.buffer = len(model.buffers)
            model.buffers.append(_buffer(data.tobytes()))
        if scale:
            entry.quantization = schema.QuantizationParametersT()
            entry.quantization.scale, entry.quantization.zeroPoint = [scale], [0]
        tensors.append(entry)
        return len(tensors) - 1

    def operator(code: int, inputs: list[int], output: int, kind: int = 0, options: Any = None) -> Any:
        entry = schema.OperatorCodeT()
        entry.builtinCode, entry.deprecatedBuiltinCode, entry.version = code, min(code, 127), 1
        model.operatorCodes.append(entry)
        step = schema.OperatorT()
        step.opcodeIndex, step.inputs, step.outputs = len(model.operatorCodes) - 1, inputs, [output]
        step.builtinOptionsType, step.builtinOptions = kind, options
        return step

    float32, int32, uint8 = schema.TensorType.FLOAT32, schema.TensorType.INT32, schema.TensorType.UINT8
    ops, kinds = schema.BuiltinOperator, schema.BuiltinOptions
    weights = np.resize(np.fliplr(np.eye(3, dtype=np.float32)) * GAIN, (labels, 3))
    image = tensor("pixels", input_shape, kind=float32)
    # For heatmaps, averaging over rows and columns leaves one value per joint.
    over = [1, 2] if shape is None else [2, 3]
    axes = tensor("axes", [2], np.array(over, np.int32), int32)
    channels = 3 if shape is None else shape[0]
    mean = tensor("mean", [1, channels])
    if shape is not None:
        weights = np.eye(labels, channels, dtype=np.float32) * 100
    kernel, bias = tensor("kernel", [labels, channels], weights), tensor("bias", [labels], np.zeros(labels, np.float32))
    logits, result = tensor("logits", [1, labels]), tensor("probabilities", [1, labels])
    softmax = schema.SoftmaxOptionsT()
    softmax.beta = 1.0
    steps = [
        operator(ops.MEAN, [image, axes], mean, kinds.ReducerOptions, schema.ReducerOptionsT()),
        operator(ops.FULLY_CONNECTED, [mean, kernel, bias], logits, kinds.FullyConnectedOptions,
                 schema.FullyConnectedOptionsT()),
        operator(ops.SOFTMAX, [logits], result, kinds.SoftmaxOptions, softmax),
    ]  # fmt: skip
    if quantized:
        # Scale 2, so that a test fails if the input scale is ignored: the image would be twice as bright.
        raw = tensor("raw", input_shape, kind=uint8, scale=2.0)
        quantized_output = tensor("coded", [1, labels], kind=uint8, scale=1 / 256)
        steps.insert(0, operator(ops.DEQUANTIZE, [raw], image, kinds.DequantizeOptions, schema.DequantizeOptionsT()))
        steps.append(
            operator(ops.QUANTIZE, [result], quantized_output, kinds.QuantizeOptions, schema.QuantizeOptionsT())
        )
        image, result = raw, quantized_output
    outputs = [result]
    if similarity:
        third = tensor("third", [1, 3], np.full((1, 3), 1 / 765, np.float32))
        none = tensor("none", [1], np.zeros(1, np.float32))
        outputs.append(tensor("similarity", [1, 1]))
        steps.append(operator(ops.FULLY_CONNECTED, [mean, third, none], outputs[1], kinds.FullyConnectedOptions,
                              schema.FullyConnectedOptionsT()))  # fmt: skip
    graph = schema.SubGraphT()
    graph.tensors, graph.operators, graph.inputs, graph.outputs = tensors, steps, [image], outputs
    model.subgraphs = [graph]
    builder = flatbuffers.Builder(4096)
    builder.Finish(model.Pack(builder), file_identifier=b"TFL3")
    return bytes(builder.Output())


def bundle(path: Path, *, model: bytes | None = None, labels: tuple[str, ...] = LABELS, **metadata: Any) -> Path:
    """Writes a bundle of the tiny model, or of another model, and returns its path."""
    record = {"name": "tiny", "input": {"size": SIZE, "dtype": "float32"}, "temperature": 1.0, "threshold": 0.5}
    return files.write(path, pack(flatbuffer() if model is None else model, labels, {**record, **metadata}))


def known_bundle(path: Path, threshold: float = 0.3, **metadata: Any) -> Path:
    """Writes a bundle of the tiny model for which dark images are unknown inputs, and returns its path."""
    return bundle(path, model=flatbuffer(similarity=True), known_threshold=threshold, **metadata)


def heatmaps_bundle(path: Path, **metadata: Any) -> Path:
    """Writes a bundle that predicts which map has the highest mean, of the joints nose, left eye and right eye."""
    model = flatbuffer(shape=heatmap_file.SHAPE)
    input_metadata = {"kind": "heatmaps", "size": 64, "shape": list(heatmap_file.SHAPE), "dtype": "float32"}
    return bundle(path, model=model, labels=heatmap_file.JOINTS[:3], input=input_metadata, **metadata)


def photo(rgb: tuple[int, int, int] = (200, 100, 0), kind: str = "PNG") -> bytes:
    """Returns an encoded image of a single colour."""
    stream = io.BytesIO()
    Image.new("RGB", (40, 30), rgb).save(stream, kind)
    return stream.getvalue()


def _buffer(data: bytes) -> Any:
    buffer = schema.BufferT()
    buffer.data = np.frombuffer(data, np.uint8) if data else None
    return buffer
