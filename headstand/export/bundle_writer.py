"""Builds the bundle that is served: a flatbuffer with TFLite metadata, and labels and metadata as a zip archive.

The metadata table lets other programs recognize an image classifier and its input. It is written field by field with
flatbuffers, by the public schema of TFLite Model Metadata (file identifier "M001"), since the library for it can no
longer be installed. A field's number is its position in the schema's table.
"""

import io
import json
import zipfile
from typing import Any

import flatbuffers
from ai_edge_litert import schema_py_generated as tflite

from headstand.export.flatbuffer import read, write
from headstand.inputs import InputKind
from headstand.serve.bundle import LABELS, METADATA, VERSION, digest

_NAME = "TFLITE_METADATA"
"""Name of the table among a model's metadata buffers."""

_RGB = 1  # ColorSpaceType.RGB
_IMAGE_PROPERTIES = 2  # ContentProperties.ImageProperties
_NORMALIZATION_OPTIONS = 1  # ProcessUnitOptions.NormalizationOptions
_TENSOR_AXIS_LABELS = 2  # AssociatedFileType.TENSOR_AXIS_LABELS


def pack(flatbuffer: bytes, labels: tuple[str, ...], metadata: dict[str, Any]) -> bytes:
    """Returns a bundle: the flatbuffer with labels and metadata appended.

    Args:
        flatbuffer: a `.tflite` model without associated files.
        labels: class names in output order.
        metadata: the keys that `headstand.serve.bundle.Bundle` documents; `format` and `digest` are added here.

    Returns:
        The bundle's bytes; the same arguments give the same bytes.
    """
    names = "\n".join(labels) + "\n"
    record = {"format": VERSION, **metadata}
    record["digest"] = digest(flatbuffer, names, record)
    whole = io.BytesIO(flatbuffer)
    # Mode "a" keeps the flatbuffer and counts zip offsets from the start of the file, as MediaPipe expects.
    with zipfile.ZipFile(whole, "a", zipfile.ZIP_STORED) as archive:
        for name, text in ((LABELS, names), (METADATA, json.dumps(record, indent=1, sort_keys=True) + "\n")):
            # A fixed date makes the bytes reproducible.
            archive.writestr(zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0)), text)
    return whole.getvalue()


def describe(flatbuffer: bytes, name: str, labels_file: str, kind: InputKind) -> bytes:
    """Returns the model with a metadata table, which replaces an existing one.

    Args:
        flatbuffer: a classifier with one input, for photos pixels in 0..255, and the output probabilities; a second
            output is the similarity of `headstand.export.joining`.
        name: the model's name.
        labels_file: name of the associated file with one label per line.
        kind: the model's input.
    """
    model = read(flatbuffer)
    buffer = tflite.BufferT()
    buffer.data = list(_table(name, labels_file, kind, len(model.subgraphs[0].outputs)))
    entry = tflite.MetadataT()
    entry.name = _NAME.encode()
    entry.buffer = len(model.buffers)
    model.buffers.append(buffer)
    model.metadata = [item for item in model.metadata or [] if item.name != entry.name] + [entry]
    return write(model)


def _table(name: str, labels_file: str, kind: InputKind, outputs: int) -> bytes:
    """Returns ModelMetadata: an RGB image or another kind of input, probabilities with labels, and other outputs."""
    b = flatbuffers.Builder(1024)
    labels = _object(b, 5, {0: b.CreateString(labels_file)}, {2: _TENSOR_AXIS_LABELS})
    stats = _object(b, 2, {0: _floats(b, [1.0]), 1: _floats(b, [0.0])})
    scores = [_object(b, 7, {0: b.CreateString("probability"), 5: stats, 6: _vector(b, [labels])})]
    scores += [_object(b, 7, {0: b.CreateString("similarity")}) for _ in range(outputs - 1)]
    image = _image(b) if kind.kind == "photos" else _object(b, 7, {0: b.CreateString(kind.kind)})
    subgraph = _object(b, 5, {2: _vector(b, [image]), 3: _vector(b, scores)})
    top = {0: b.CreateString(name), 3: _vector(b, [subgraph]), 7: b.CreateString("1.0.0")}
    b.Finish(_object(b, 8, top), b"M001")
    return bytes(b.Output())


def _image(b: flatbuffers.Builder) -> int:
    """Writes the TensorMetadata of an image and returns its offset."""
    # Mean 0 and deviation 1 leave pixels unchanged: the model contains the scaling.
    mean, deviation = _floats(b, [0.0]), _floats(b, [1.0])
    normalization = _object(b, 2, {0: mean, 1: deviation})
    unit = _object(b, 2, {1: normalization}, {0: _NORMALIZATION_OPTIONS})
    image = _object(b, 2, {}, {0: _RGB})
    content = _object(b, 3, {1: image}, {0: _IMAGE_PROPERTIES})
    stats = _object(b, 2, {0: _floats(b, [255.0]), 1: _floats(b, [0.0])})
    return _object(b, 7, {0: b.CreateString("image"), 3: content, 4: _vector(b, [unit]), 5: stats})


def _object(b: flatbuffers.Builder, fields: int, offsets: dict[int, int], small: dict[int, int] | None = None) -> int:
    """Writes a table of `fields` fields and returns its offset.

    Args:
        b: the builder.
        fields: number of fields in the schema.
        offsets: offsets of other objects by field number.
        small: one-byte values by field number.
    """
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
