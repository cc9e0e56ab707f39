"""Parses a `.tflite` flatbuffer into mutable objects and serializes them."""

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as tflite


def read(flatbuffer: bytes) -> tflite.ModelT:
    """Parses a flatbuffer into the schema's object API."""
    return tflite.ModelT.InitFromPackedBuf(flatbuffer)


def write(model: tflite.ModelT) -> bytes:
    """Serializes a model reproducibly, storing equal quantization vectors once."""
    for buffer in model.buffers:
        buffer.__class__ = _Buffer
    vectors: dict[bytes, int] = {}
    for graph in model.subgraphs:
        for tensor in graph.tensors:
            if tensor.quantization is not None:
                tensor.quantization.__class__ = _Parameters
                tensor.quantization.vectors = vectors
    # Starting at the model's size avoids most reallocations; the builder doubles each time.
    builder = flatbuffers.Builder(4096 + sum(len(one.data) for one in model.buffers if one.data is not None))
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def operation(model: tflite.ModelT, operator: tflite.OperatorT) -> int:
    """Returns an operator's code, a value of `tflite.BuiltinOperator`."""
    code = model.operatorCodes[operator.opcodeIndex]
    # Old models store it in a one-byte field.
    return int(max(code.builtinCode, code.deprecatedBuiltinCode))


class _Buffer(tflite.BufferT):
    """Buffer whose data is aligned to 16 bytes.

    TFLite's schema requires it (`force_align: 16`); the generated Python code does not do it.
    """

    def Pack(self, builder: flatbuffers.Builder) -> int:  # noqa: N802 - the base class names it so
        data = None if self.data is None else bytes(bytearray(self.data))
        if data is not None:
            builder.StartVector(1, len(data), 16)
            builder.head -= len(data)
            builder.Bytes[builder.head : builder.head + len(data)] = data
            vector = builder.EndVector()
        tflite.BufferStart(builder)
        if data is not None:
            tflite.BufferAddData(builder, vector)
        tflite.BufferAddOffset(builder, self.offset)
        tflite.BufferAddSize(builder, self.size)
        return int(tflite.BufferEnd(builder))


class _Parameters(tflite.QuantizationParametersT):
    """Quantization parameters that store equal vectors once per file.

    Symmetric quantization has an 8-byte zero point for each channel of each weight and bias, a tenth of MobileNetV2's
    file. LiteRT requires as many zero points as scales, but tensors may share a vector.
    """

    vectors: dict[bytes, int]
    """Offsets of the vectors written so far, by content."""

    def Pack(self, builder: flatbuffers.Builder) -> int:  # noqa: N802 - the base class names it so
        min_, max_, scale = (self._once(builder, values, np.float32) for values in (self.min, self.max, self.scale))
        zero = self._once(builder, self.zeroPoint, np.int64)
        details = self.details.Pack(builder) if self.details is not None else None
        tflite.QuantizationParametersStart(builder)
        for add, vector in (
            (tflite.QuantizationParametersAddMin, min_),
            (tflite.QuantizationParametersAddMax, max_),
            (tflite.QuantizationParametersAddScale, scale),
            (tflite.QuantizationParametersAddZeroPoint, zero),
            (tflite.QuantizationParametersAddDetails, details),
        ):
            if vector is not None:
                add(builder, vector)
        tflite.QuantizationParametersAddDetailsType(builder, self.detailsType)
        tflite.QuantizationParametersAddQuantizedDimension(builder, self.quantizedDimension)
        return int(tflite.QuantizationParametersEnd(builder))

    def _once(self, builder: flatbuffers.Builder, values: np.ndarray | None, dtype: type) -> int | None:
        if values is None:
            return None
        values = np.asarray(values, dtype)
        key = values.dtype.str.encode() + values.tobytes()
        if key not in self.vectors:
            self.vectors[key] = builder.CreateNumpyVector(values)
        return self.vectors[key]
