import io
import json
import zipfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headstand.serve import bundle
from headstand.serve.bundle import BundleError
from tests import tiny


def zipped(members: dict[str, Any], flatbuffer: bytes | None = None) -> bytes:
    """A bundle with any members: what `pack` would not write."""
    stream = io.BytesIO(tiny.flatbuffer() if flatbuffer is None else flatbuffer)
    with zipfile.ZipFile(stream, "a") as archive:
        for name, content in members.items():
            archive.writestr(name, content if isinstance(content, str | bytes) else json.dumps(content))
    return stream.getvalue()


def refused(path: Path, data: bytes) -> str:
    path.write_bytes(data)
    with pytest.raises(BundleError) as excinfo:
        bundle.read(path)
    assert str(path) in str(excinfo.value)
    return str(excinfo.value)


def record(text: str = "a\nb\nc\n", **changes: Any) -> dict[str, Any]:
    """Metadata that go with the labels' text, signed; `changes` come after that."""
    metadata = {"format": 2, "name": "tiny", "input": {"size": 32}, "threshold": 0.5}
    return {**metadata, "digest": bundle.digest(tiny.flatbuffer(), text, metadata), **changes}


def test_a_bundle_has_its_labels_and_metadata(model: Path) -> None:
    found = bundle.read(model)
    assert found.labels == ("blue", "green", "red")
    assert (found.size, found.name, found.threshold) == (32, "tiny", 0.5)
    assert found.flatbuffer == tiny.flatbuffer()


def test_a_mapped_model_is_not_copied_and_still_checked(model: Path, tmp_path: Path) -> None:
    found = bundle.read(model, mapped=True)
    assert isinstance(found.flatbuffer, memoryview) and found.flatbuffer == tiny.flatbuffer()
    damaged = bytearray(model.read_bytes())
    damaged[100] ^= 1
    (tmp_path / "damaged.tflite").write_bytes(damaged)
    with pytest.raises(BundleError, match="do not match the digest"):
        bundle.read(tmp_path / "damaged.tflite", mapped=True)


def test_no_threshold_means_always_confident(tmp_path: Path) -> None:
    assert bundle.read(tiny.bundle(tmp_path / "a.tflite", threshold=None)).threshold == 0


def test_labels_may_contain_any_character_except_a_line_break(tmp_path: Path) -> None:
    labels = ("arbre\u2028bas", "tree pose", "\u6811\u5f0f")
    assert bundle.read(tiny.bundle(tmp_path / "a.tflite", labels=labels)).labels == labels


def test_a_missing_file_and_a_folder_are_errors(tmp_path: Path) -> None:
    for path in (tmp_path / "none.tflite", tmp_path):
        with pytest.raises(BundleError, match="cannot read the model"):
            bundle.read(path)


@pytest.mark.parametrize("data", [b"", b"TFL3", b"\x89HDF\r\n\x1a\n" + b"\0" * 100, b"PK\x03\x04" + b"\0" * 50])
def test_a_file_that_is_not_tflite_is_an_error(tmp_path: Path, data: bytes) -> None:
    assert "is not a .tflite file" in refused(tmp_path / "model.h5", data)


def test_a_plain_tflite_has_no_labels(tmp_path: Path) -> None:
    assert "has no labels and metadata" in refused(tmp_path / "a.tflite", tiny.flatbuffer())


def test_changed_weights_are_detected(model: Path, tmp_path: Path) -> None:
    data = bytearray(model.read_bytes())
    data[600] ^= 1
    assert "do not match the digest" in refused(tmp_path / "a.tflite", bytes(data))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"format": 1}, "bundle format 1"),
        ({"name": ""}, "no name"),
        ({"threshold": 7}, "threshold"),
        ({"threshold": "high"}, "damaged"),
        ({"input": {"size": float("inf")}}, "damaged"),
        ({"input": None}, "damaged"),
        ({"digest": "0" * 64}, "digest"),
        ({"threshold": 0.4}, "digest"),
        ({"more": 1}, "digest"),
        ({"certificate": "passed"}, "damaged"),
    ],
)
def test_invalid_metadata_is_refused(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    members = {"labels.txt": "a\nb\nc\n", "headstand.json": record(**changes)}
    assert message in refused(tmp_path / "a.tflite", zipped(members))


def test_swapped_labels_are_detected(tmp_path: Path) -> None:
    members = {"labels.txt": "b\na\nc\n", "headstand.json": record()}
    assert "do not match the digest" in refused(tmp_path / "a.tflite", zipped(members))


@pytest.mark.parametrize("verdict", ["passed", "FAILED"])
def test_the_verdict_of_the_certificate_is_read(tmp_path: Path, verdict: str) -> None:
    found = bundle.read(tiny.bundle(tmp_path / "a.tflite", certificate={"verdict": verdict}))
    assert found.failed == (verdict == "FAILED")


@pytest.mark.parametrize("labels", ["a\n", "a\na\nb\n", "a\n\nb\n", ""])
def test_there_must_be_at_least_two_different_labels(tmp_path: Path, labels: str) -> None:
    members = {"labels.txt": labels, "headstand.json": record(labels)}
    assert "two different labels" in refused(tmp_path / "a.tflite", zipped(members))


@pytest.mark.parametrize(
    "members",
    [
        {},
        {"labels.txt": "a\nb\n"},
        {"labels.txt": b"\xff\xfe\n", "headstand.json": record()},
        {"labels.txt": "a\nb\n", "headstand.json": "[" * 100_000},
        {"labels.txt": "a\nb\n", "headstand.json": "[]"},
        {"labels.txt": "a\n" * 600_000, "headstand.json": record()},
    ],
)
def test_hostile_zips_are_refused(tmp_path: Path, members: dict[str, Any]) -> None:
    assert "has no labels and metadata, or damaged ones" in refused(tmp_path / "a.tflite", zipped(members))


@given(data=st.data())
def test_a_damaged_zip_always_raises_a_bundle_error(model: Path, tmp_path_factory, data) -> None:
    content = bytearray(model.read_bytes())
    start = len(tiny.flatbuffer())
    for _ in range(data.draw(st.integers(1, 8))):
        content[data.draw(st.integers(start, len(content) - 1))] = data.draw(st.integers(0, 255))
    path = tmp_path_factory.getbasetemp() / "damaged.tflite"
    path.write_bytes(bytes(content))
    try:
        assert len(bundle.read(path).labels) >= 2
    except BundleError as error:
        assert str(path) in str(error)
