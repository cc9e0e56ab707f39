"""The TFLite metadata table inside a model: tells other programs that it classifies images, and how to feed it.

Written field by field with flatbuffers, by the public schema of TFLite Model Metadata (file identifier "M001"), since
the library that used to write it cannot be installed any more. A field's number is its place in the schema's table.
"""

import flatbuffers
from ai_edge_litert import schema_py_generated as tflite

_NAME = "TFLITE_METADATA"
"""Under this name readers look for the table among a model's metadata buffers."""

_RGB = 1  # ColorSpaceType.RGB
_IMAGE_PROPERTIES = 2  # ContentProperties.ImageProperties
_NORMALIZATION_OPTIONS = 1  # ProcessUnitOptions.NormalizationOptions
_TENSOR_AXIS_LABELS = 2  # AssociatedFileType.TENSOR_AXIS_LABELS


def describe(flatbuffer: bytes, name: str, labels_file: str) -> bytes:
    """Put a metadata table into a model.

    Args:
        flatbuffer: an image classifier with one input of pixels in 0..255 and one output of probabilities.
        name: the model's.
        labels_file: name of the associated file that holds a label a line.

    Returns:
        The model with the table, and no larger than it need be; a table that it had is replaced.
    """
    model = tflite.ModelT.InitFromPackedBuf(flatbuffer)
    buffer = tflite.BufferT()
    buffer.data = list(_table(name, labels_file))
    entry = tflite.MetadataT()
    entry.name = _NAME.encode()
    entry.buffer = len(model.buffers)
    model.buffers.append(buffer)
    model.metadata = [item for item in model.metadata or [] if item.name != entry.name] + [entry]
    for item in model.buffers:
        item.__class__ = _Buffer
    builder = _Builder(len(flatbuffer) + 4096)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


class _Builder(flatbuffers.Builder):
    """Writes equal vectors of eight-byte numbers once: readers follow an offset and do not mind who else does.

    They are the zero points of quantised weights and biases, a 0 for each channel: a tenth of such a file. Vectors of
    four-byte values may be offsets, which count from where they stand, and are left alone.
    """

    def __init__(self, size: int) -> None:
        super().__init__(size)
        self._known: dict[bytes, int] = {}
        self._begun = (0, 0)

    def StartVector(self, elemSize: int, numElems: int, alignment: int) -> int:  # noqa: N802, N803 - the base's names
        self._begun = (elemSize, int(self.Offset()))
        return int(super().StartVector(elemSize, numElems, alignment))

    def EndVector(self) -> int:  # noqa: N802 - the base class names it so
        size, before = self._begun
        made = int(super().EndVector())
        if size != 8:
            return made
        vector = self.Bytes[len(self.Bytes) - made :]
        written = bytes(vector[: 4 + 8 * int.from_bytes(vector[:4], "little")])
        if written in self._known:
            self.head = len(self.Bytes) - before
        return self._known.setdefault(written, made)


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


def _table(name: str, labels_file: str) -> bytes:
    """ModelMetadata: one RGB image in, scores with labels out."""
    b = flatbuffers.Builder(1024)

    # Pixels are taken as they are: mean 0, deviation 1. The scaling is inside the model.
    mean, deviation = _floats(b, [0.0]), _floats(b, [1.0])
    normalization = _object(b, 2, {0: mean, 1: deviation})
    unit = _object(b, 2, {1: normalization}, {0: _NORMALIZATION_OPTIONS})
    image = _object(b, 2, {}, {0: _RGB})
    content = _object(b, 3, {1: image}, {0: _IMAGE_PROPERTIES})
    stats = _object(b, 2, {0: _floats(b, [255.0]), 1: _floats(b, [0.0])})
    pixels = _object(b, 7, {0: b.CreateString("image"), 3: content, 4: _vector(b, [unit]), 5: stats})

    labels = _object(b, 5, {0: b.CreateString(labels_file)}, {2: _TENSOR_AXIS_LABELS})
    stats = _object(b, 2, {0: _floats(b, [1.0]), 1: _floats(b, [0.0])})
    scores = _object(b, 7, {0: b.CreateString("probability"), 5: stats, 6: _vector(b, [labels])})

    subgraph = _object(b, 5, {2: _vector(b, [pixels]), 3: _vector(b, [scores])})
    top = {0: b.CreateString(name), 3: _vector(b, [subgraph]), 7: b.CreateString("1.0.0")}
    b.Finish(_object(b, 8, top), b"M001")
    return bytes(b.Output())


def _object(b: flatbuffers.Builder, fields: int, offsets: dict[int, int], small: dict[int, int] | None = None) -> int:
    """A table of `fields` fields: offsets to other objects, and one-byte values."""
    b.StartObject(fields)
    for field, offset in offsets.items():
        b.PrependUOffsetTRelativeSlot(field, offset, 0)
    for field, value in (small or {}).items():
        b.PrependUint8Slot(field, value, 0)
    return int(b.EndObject())


def _floats(b: flatbuffers.Builder, values: list[float]) -> int:
    b.StartVector(4, len(values), 4)
    for value in reversed(values):
        b.PrependFloat32(value)
    return int(b.EndVector())


def _vector(b: flatbuffers.Builder, offsets: list[int]) -> int:
    b.StartVector(4, len(offsets), 4)
    for offset in reversed(offsets):
        b.PrependUOffsetTRelative(offset)
    return int(b.EndVector())
