"""Reader of the model bundle: one `.tflite` file, the flatbuffer followed by a zip with labels and metadata.

This is the TFLite metadata convention (associated files in a zip appended to the flatbuffer), so any zip tool and
MediaPipe Tasks can read it. `headstand/export/bundle_writer.py` writes the file.
"""

import hashlib
import json
import mmap
import zipfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

from headstand import inputs
from headstand.errors import HeadstandError
from headstand.inputs import InputKind

LABELS = "labels.txt"
"""Associated file: one label per line, in the order of the model's outputs."""

METADATA = "headstand.json"
"""Associated file: the model's metadata as JSON (see `Bundle`)."""

VERSION = 2
"""Version of the bundle format. Version 1 had no digest over labels and metadata."""

PASSED, FAILED = "passed", "FAILED"
"""Verdicts of a certificate, the record of how the exported model compared to the trained model."""

ALLOW_FAILED = "HEADSTAND_ALLOW_FAILED"
"""Environment variable: the value 1 allows serving a bundle whose certificate has the verdict FAILED."""

_MEMBER_LIMIT = 1_000_000
"""Size limit of a zip member that is read, in bytes, because a model file may be untrusted."""


class BundleError(HeadstandError):
    """Error for a file that is not a Headstand bundle, or is a damaged one."""


@dataclass(frozen=True)
class Bundle:
    """Contents of a bundle file: model, labels and metadata.

    Attributes:
        path: the file.
        labels: in the order of the model's outputs.
        size: side of the model's input in pixels; for heatmaps their height.
        metadata: the whole `headstand.json`: `format` (2), `name`, `input` (for photos `size`, `dtype`, `range`,
            `resize`, `decoder`; for heatmaps `kind` ("heatmaps"), `size`, `shape`, `dtype`, `decoder`), `temperature`
            (already part of the model), `threshold` (a lower top probability is reported as not confident; null for no
            threshold), `known_threshold` (a lower similarity to the training photos, the second output, is reported as
            an unknown input; null or absent if the model has no second output), `digest` (hex, see `digest`),
            `checkpoint` (hex SHA-256 of the trained model's file), `data` (hex SHA-256 of the manifest), `certificate`
            (comparison with the trained model: `verdict`, `format`, `agreement`...), `versions`.
        flatbuffer: the model, exactly the bytes that were checked, because the file may change afterwards. It is a
            view of the file only if the bundle was read with `mapped`.
    """

    path: Path
    labels: tuple[str, ...]
    size: int
    metadata: dict[str, Any]
    flatbuffer: bytes | memoryview = field(repr=False)

    @property
    def name(self) -> str:
        return str(self.metadata["name"])

    @property
    def input(self) -> InputKind:
        """The kind of input that the model takes: heatmaps if the metadata specifies them, else photos."""
        return inputs.named(self.metadata["input"].get("kind", inputs.PhotoInput.kind), self.size)

    @property
    def threshold(self) -> float:
        """The lowest top probability of a confident prediction; 0 if the metadata has no threshold."""
        return float(self.metadata.get("threshold") or 0.0)

    @property
    def known_threshold(self) -> float | None:
        """The lowest similarity to the training photos of a known input; None if the model does not compute one."""
        value = self.metadata.get("known_threshold")
        return None if value is None else float(value)

    @property
    def failed(self) -> bool:
        """Whether the exported model failed its comparison with the trained model."""
        return bool((self.metadata.get("certificate") or {}).get("verdict") == FAILED)


def digest(flatbuffer: bytes | memoryview, labels: str, metadata: dict[str, Any]) -> str:
    """Returns the hex SHA-256 over a bundle's model, labels and metadata, which detects a change of any of them.

    Args:
        flatbuffer: the model.
        labels: the text of `labels.txt`.
        metadata: the contents of `headstand.json`; its key `digest` is ignored.
    """
    record = json.dumps({key: metadata[key] for key in metadata if key != "digest"}, sort_keys=True)
    parts = (hashlib.sha256(part).digest() for part in (flatbuffer, labels.encode(), record.encode()))
    return hashlib.sha256(b"".join(parts)).hexdigest()


def read(path: str | Path, *, mapped: bool = False) -> Bundle:
    """Reads a bundle file and checks its format and digest, without loading the model into an interpreter.

    Args:
        path: the file.
        mapped: map the model into memory instead of copying it. Only for a file that nobody writes to, as in a
            container: a mapped file may change after it was checked.

    Raises:
        BundleError: the file is missing, is not a `.tflite`, has no valid labels or metadata, or does not match its
            digest.
    """
    path = Path(path)
    try:
        with path.open("rb") as file:
            return _read(path, file, mapped)
    except OSError as error:
        raise BundleError(f"cannot read the model {path}: {error.strerror or error}") from error


def _read(path: Path, file: BinaryIO, mapped: bool) -> Bundle:
    # Bytes 4 to 7 of a flatbuffer identify its schema.
    if file.read(8)[4:] != b"TFL3":
        raise BundleError(f"{path} is not a .tflite file; `python convert_to_tflite.py` converts an .h5 file to one")
    remedy = "convert the checkpoint again with `python convert_to_tflite.py`"
    try:
        with zipfile.ZipFile(file) as archive:
            end = min(info.header_offset for info in archive.infolist())
            flatbuffer: bytes | memoryview
            if mapped:
                flatbuffer = memoryview(mmap.mmap(file.fileno(), end, access=mmap.ACCESS_READ))
            else:
                file.seek(0)
                flatbuffer = file.read(end)
            text = _member(archive, LABELS).decode("utf-8")
            labels = tuple(text.removesuffix("\n").split("\n"))
            metadata = json.loads(_member(archive, METADATA))
            version = metadata["format"]
            size = int(metadata["input"]["size"])
            expected = str(metadata["digest"]) if version == VERSION else None
            bundle = Bundle(path, labels, size, metadata, flatbuffer)
            known = bundle.known_threshold
            valid = bool(bundle.name and bundle.input) and 0 <= bundle.threshold <= 1 and bundle.failed in (True, False)
            valid = valid and (known is None or -1 <= known <= 1)
    except Exception as error:  # a malicious zip or JSON can raise many types, from zlib.error to RecursionError
        raise BundleError(f"{path} has no labels and metadata, or damaged ones: {remedy}") from error
    if version != VERSION:
        raise BundleError(f"{path} has bundle format {version!r}; this version reads {VERSION}: {remedy}")
    if not valid:
        raise BundleError(f"{path} has no name, or a threshold that is out of range: {remedy}")
    if digest(flatbuffer, text, metadata) != expected:
        raise BundleError(f"{path} is damaged: its bytes do not match the digest inside: {remedy}")
    if len(labels) < 2 or len(set(labels)) != len(labels) or not all(labels):
        raise BundleError(f"{path} must have at least two different labels, not {list(labels)}: {remedy}")
    return bundle


def _member(archive: zipfile.ZipFile, name: str) -> bytes:
    if archive.getinfo(name).file_size > _MEMBER_LIMIT:
        raise ValueError(f"{name} is too large")
    return archive.read(name)
