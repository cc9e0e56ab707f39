"""A `.tflite` as objects that can be changed, and back to bytes."""

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as tflite


def read(flatbuffer: bytes) -> tflite.ModelT:
    """The model as the schema's objects."""
    return tflite.ModelT.InitFromPackedBuf(flatbuffer)


def write(model: tflite.ModelT) -> bytes:
    """The model as a flatbuffer; the same model gives the same bytes. Equal tables of zero points are stored once."""
    for buffer in model.buffers:
        buffer.__class__ = _Buffer
    vectors: dict[bytes, int] = {}
    for graph in model.subgraphs:
        for tensor in graph.tensors:
            if tensor.quantization is not None:
                tensor.quantization.__class__ = _Parameters
                tensor.quantization.vectors = vectors
    # The model's own size, so that the builder seldom grows; it doubles each time.
    builder = flatbuffers.Builder(4096 + sum(len(one.data) for one in model.buffers if one.data is not None))
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def operation(model: tflite.ModelT, operator: tflite.OperatorT) -> int:
    """Which of `tflite.BuiltinOperator` an operator is."""
    code = model.operatorCodes[operator.opcodeIndex]
    # Old models name it in a field of one byte.
    return int(max(code.builtinCode, code.deprecatedBuiltinCode))


class _Buffer(tflite.BufferT):
    """Packs its data on 16 bytes, as TFLite's schema asks (`force_align: 16`) and the generated Python does not."""

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
    """Packs equal vectors once.

    Symmetric quantisation has a zero of 8 bytes for each channel of each weight and bias, a tenth of MobileNetV2's
    file; LiteRT wants as many of them as scales, but not that every tensor has its own.
    """

    vectors: dict[bytes, int]
    """Places of the vectors that were written already, by what they hold."""

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
