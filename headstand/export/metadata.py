"""The TFLite metadata table inside a model: tells other programs that it classifies images, and how to feed it.

Written field by field with flatbuffers, by the public schema of TFLite Model Metadata (file identifier "M001"), since
the library that used to write it cannot be installed any more. A field's number is its place in the schema's table.
"""

import flatbuffers
from ai_edge_litert import schema_py_generated as tflite

from headstand.export.flatbuffer import read, write
from headstand.inputs import Input

_NAME = "TFLITE_METADATA"
"""Under this name readers look for the table among a model's metadata buffers."""

_RGB = 1  # ColorSpaceType.RGB
_IMAGE_PROPERTIES = 2  # ContentProperties.ImageProperties
_NORMALIZATION_OPTIONS = 1  # ProcessUnitOptions.NormalizationOptions
_TENSOR_AXIS_LABELS = 2  # AssociatedFileType.TENSOR_AXIS_LABELS


def describe(flatbuffer: bytes, name: str, labels_file: str, taken: Input) -> bytes:
    """Put a metadata table into a model.

    Args:
        flatbuffer: a classifier with one input, pixels in 0..255 or heatmaps, and one output of probabilities.
        name: the model's.
        labels_file: name of the associated file that holds a label a line.
        taken: what it takes.

    Returns:
        The model with the table; a table that it had is replaced.
    """
    model = read(flatbuffer)
    buffer = tflite.BufferT()
    buffer.data = list(_table(name, labels_file, taken))
    entry = tflite.MetadataT()
    entry.name = _NAME.encode()
    entry.buffer = len(model.buffers)
    model.buffers.append(buffer)
    model.metadata = [item for item in model.metadata or [] if item.name != entry.name] + [entry]
    return write(model)


def _table(name: str, labels_file: str, taken: Input) -> bytes:
    """ModelMetadata: one RGB image or one person's heatmaps in, scores with labels out."""
    b = flatbuffers.Builder(1024)
    labels = _object(b, 5, {0: b.CreateString(labels_file)}, {2: _TENSOR_AXIS_LABELS})
    stats = _object(b, 2, {0: _floats(b, [1.0]), 1: _floats(b, [0.0])})
    scores = _object(b, 7, {0: b.CreateString("probability"), 5: stats, 6: _vector(b, [labels])})
    shown = _image(b) if taken.kind == "photos" else _object(b, 7, {0: b.CreateString(taken.kind)})
    subgraph = _object(b, 5, {2: _vector(b, [shown]), 3: _vector(b, [scores])})
    top = {0: b.CreateString(name), 3: _vector(b, [subgraph]), 7: b.CreateString("1.0.0")}
    b.Finish(_object(b, 8, top), b"M001")
    return bytes(b.Output())


def _image(b: flatbuffers.Builder) -> int:
    """TensorMetadata of an image."""
    # Pixels are taken as they are: mean 0, deviation 1. The scaling is inside the model.
    mean, deviation = _floats(b, [0.0]), _floats(b, [1.0])
    normalization = _object(b, 2, {0: mean, 1: deviation})
    unit = _object(b, 2, {1: normalization}, {0: _NORMALIZATION_OPTIONS})
    image = _object(b, 2, {}, {0: _RGB})
    content = _object(b, 3, {1: image}, {0: _IMAGE_PROPERTIES})
    stats = _object(b, 2, {0: _floats(b, [255.0]), 1: _floats(b, [0.0])})
    return _object(b, 7, {0: b.CreateString("image"), 3: content, 4: _vector(b, [unit]), 5: stats})


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
