import io
import json
import zipfile
from pathlib import Path

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.interpreter import Interpreter
from hypothesis import given
from hypothesis import strategies as st

from headstand import files
from headstand.export.bundle_writer import describe, pack
from headstand.inputs import PhotoInput
from headstand.poses.heatmap_input import HeatmapInput
from headstand.serve import bundle as serve
from tests import tiny

FLATBUFFER = tiny.flatbuffer()
METADATA = {"name": "tiny", "input": {"size": tiny.SIZE}, "threshold": None}


def test_a_packed_bundle_is_read_back(tmp_path: Path) -> None:
    path = files.write(tmp_path / "a.tflite", pack(FLATBUFFER, ("b", "a c", "ü"), METADATA))
    read = serve.read(path)
    assert read.labels == ("b", "a c", "ü")
    assert (read.name, read.size, read.threshold) == ("tiny", tiny.SIZE, 0.0)
    assert read.flatbuffer == FLATBUFFER
    assert read.metadata == {**METADATA, "format": 2, "digest": read.metadata["digest"]}
    assert read.metadata["digest"] == serve.digest(FLATBUFFER, "b\na c\nü\n", read.metadata)


labels = st.lists(st.text(st.characters(exclude_characters="\n\r", codec="utf-8"), min_size=1), min_size=2, unique=True)


@given(labels)
def test_any_labels_survive(names: list[str]) -> None:
    with zipfile.ZipFile(io.BytesIO(pack(FLATBUFFER, tuple(names), METADATA))) as archive:
        assert archive.read("labels.txt").decode() == "\n".join(names) + "\n"
        assert archive.testzip() is None


def test_the_same_model_gives_the_same_bytes() -> None:
    one, other = (pack(FLATBUFFER, ("a", "b"), dict(items)) for items in (METADATA.items(), [*METADATA.items()][::-1]))
    assert one == other
    assert one.startswith(FLATBUFFER)
    assert one != pack(FLATBUFFER, ("b", "a"), METADATA)


def test_zip_offsets_are_relative_to_the_start_of_the_file() -> None:
    data = pack(FLATBUFFER, ("a", "b"), METADATA)
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        first = archive.infolist()[0]
        assert first.header_offset == len(FLATBUFFER)
        assert [info.compress_type for info in archive.infolist()] == [zipfile.ZIP_STORED] * 2
        json.loads(archive.read("headstand.json"))
    assert data[len(FLATBUFFER) : len(FLATBUFFER) + 4] == b"PK\3\4"


def buffers(flatbuffer: bytes) -> list[tuple[int, bytes]]:
    """Where each buffer's data starts, and the data; empty ones left out."""
    model, found = schema.Model.GetRootAs(flatbuffer, 0), []
    for index in range(model.BuffersLength()):
        buffer = model.Buffers(index)
        if buffer.DataLength():
            table: flatbuffers.table.Table = buffer._tab
            found.append((table.Vector(table.Offset(4)), buffer.DataAsNumpy().tobytes()))
    return found


def table(flatbuffer: bytes) -> bytes:
    model = schema.ModelT.InitFromPackedBuf(flatbuffer)
    (entry,) = [item for item in model.metadata if item.name == b"TFLITE_METADATA"]
    return bytes(bytearray(model.buffers[entry.buffer].data))


def test_weights_are_aligned_to_16_bytes(bundle: Path) -> None:
    for flatbuffer in (
        serve.read(bundle).flatbuffer,
        describe(tiny.flatbuffer(), "tiny", "labels.txt", PhotoInput(tiny.SIZE)),
    ):
        found = buffers(flatbuffer)
        assert len(found) > 2
        assert [start % 16 for start, _ in found] == [0] * len(found)


def test_the_model_itself_is_unchanged() -> None:
    before = tiny.flatbuffer()
    after = describe(before, "tiny", "labels.txt", PhotoInput(tiny.SIZE))
    assert [data for _, data in buffers(after)][:-1] == [data for _, data in buffers(before)]
    answers = []
    for flatbuffer in (before, after):
        interpreter = Interpreter(model_content=flatbuffer)
        interpreter.allocate_tensors()
        pixels = np.random.default_rng(0).uniform(0, 255, (1, tiny.SIZE, tiny.SIZE, 3)).astype(np.float32)
        interpreter.set_tensor(interpreter.get_input_details()[0]["index"], pixels)
        interpreter.invoke()
        answers.append(interpreter.get_tensor(interpreter.get_output_details()[0]["index"]))
    assert np.array_equal(*answers)


def test_the_metadata_table_names_model_and_labels_and_is_not_duplicated() -> None:
    once = describe(tiny.flatbuffer(), "tiny", "labels.txt", PhotoInput(tiny.SIZE))
    assert table(once)[4:8] == b"M001"
    assert b"labels.txt" in table(once)
    assert b"tiny" in table(once)
    again = describe(once, "other", "names.txt", PhotoInput(tiny.SIZE))
    assert b"names.txt" in table(again)
    assert b"labels.txt" not in table(again)
    assert describe(tiny.flatbuffer(), "tiny", "labels.txt", PhotoInput(tiny.SIZE)) == once


def test_the_input_of_a_heatmap_model_is_not_described_as_an_image() -> None:
    photos = table(describe(tiny.flatbuffer(), "tiny", "labels.txt", PhotoInput(tiny.SIZE)))
    heatmaps = table(describe(tiny.flatbuffer(), "tiny", "labels.txt", HeatmapInput()))
    assert b"image" in photos and b"image" not in heatmaps
    assert b"heatmaps" in heatmaps and b"labels.txt" in heatmaps
