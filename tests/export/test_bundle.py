import io
import json
import zipfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headstand.export.bundle import pack, write
from headstand.serve import bundle as serve
from tests import tiny

FLATBUFFER = tiny.flatbuffer()
METADATA = {"name": "tiny", "input": {"size": tiny.SIZE}, "threshold": None}


def test_what_is_packed_is_read_back(tmp_path: Path) -> None:
    path = write(tmp_path / "a.tflite", pack(FLATBUFFER, ("b", "a c", "ü"), METADATA))
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


def test_the_zip_counts_from_the_files_start() -> None:
    data = pack(FLATBUFFER, ("a", "b"), METADATA)
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        first = archive.infolist()[0]
        assert first.header_offset == len(FLATBUFFER)
        assert [info.compress_type for info in archive.infolist()] == [zipfile.ZIP_STORED] * 2
        json.loads(archive.read("headstand.json"))
    assert data[len(FLATBUFFER) : len(FLATBUFFER) + 4] == b"PK\3\4"


def test_written_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path / "a.tflite", b"old")
    assert [file.name for file in tmp_path.iterdir()] == ["a.tflite"]

    def full(self: Path, data: bytes) -> int:
        with self.open("wb") as file:
            file.write(data[:3])
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(OSError, match="No space left"):
        write(path, b"newer")
    assert path.read_bytes() == b"old"
    assert [file.name for file in tmp_path.iterdir()] == ["a.tflite"]
