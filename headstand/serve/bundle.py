"""A served model is one `.tflite` file: flatbuffer first, then a zip with its labels and metadata.

That is the TFLite metadata convention (associated files in a zip appended to the flatbuffer), so any zip tool and
MediaPipe Tasks can read it. `headstand/export/bundle.py` writes what this file reads.
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
from headstand.inputs import Input

LABELS = "labels.txt"
"""Associated file: one label a line, in the order of the model's outputs."""

METADATA = "headstand.json"
"""Associated file: what else is known of the model (see `Bundle`)."""

VERSION = 2
"""Of the bundle's form: 1 had no digest over labels and metadata."""

PASSED, FAILED = "passed", "FAILED"
"""Verdicts of a certificate."""

ALLOW_FAILED = "HEADSTAND_ALLOW_FAILED"
"""Set to 1 in the environment, it lets a bundle be served whose certificate says FAILED."""

_MEMBER_LIMIT = 1_000_000
"""Largest member of the zip that is read, in bytes: a model file may come from a stranger."""


class BundleError(HeadstandError):
    """A file that is not a Headstand bundle, or a damaged one."""


@dataclass(frozen=True)
class Bundle:
    """An opened bundle.

    `labels` are in output order; `size` is the input's side in pixels; `metadata` is `headstand.json` whole:
    `format` (2), `name`, `input` (of photos `size`, `dtype`, `range`, `resize`, `decoder`; of heatmaps `kind`,
    "heatmaps", `size`, `shape`, `dtype`, `decoder`), `temperature` (already folded in),
    `threshold` (below it an answer is "not sure"; null for never), `digest` (hex, see `digest`), `checkpoint` (hex
    SHA-256 of the trained model's file), `data` (hex SHA-256 of the manifest), `certificate` (how it compared to the
    trained model: `verdict`, `format`, `agreement`...), `versions`.
    `flatbuffer` is the model itself, the very bytes that were checked: the file may change afterwards. Only where
    it was `mapped` it is a view of the file.
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
    def input(self) -> Input:
        """What the model takes: photos, unless its metadata says heatmaps."""
        return inputs.named(self.metadata["input"].get("kind", inputs.Photos.kind), self.size)

    @property
    def threshold(self) -> float:
        """The least top probability of a confident answer; 0 where none was set."""
        return float(self.metadata.get("threshold") or 0.0)

    @property
    def failed(self) -> bool:
        """Whether it was written although it did not answer like the trained model."""
        return bool((self.metadata.get("certificate") or {}).get("verdict") == FAILED)


def digest(flatbuffer: bytes | memoryview, labels: str, metadata: dict[str, Any]) -> str:
    """Hex SHA-256 over all that a bundle holds: nothing in it can be swapped unnoticed.

    Args:
        flatbuffer: the model.
        labels: the text of `labels.txt`.
        metadata: all of `headstand.json` but `digest`.
    """
    record = json.dumps({key: metadata[key] for key in metadata if key != "digest"}, sort_keys=True)
    parts = (hashlib.sha256(part).digest() for part in (flatbuffer, labels.encode(), record.encode()))
    return hashlib.sha256(b"".join(parts)).hexdigest()


def read(path: str | Path, *, mapped: bool = False) -> Bundle:
    """Open a bundle and check it, without loading the model.

    Args:
        path: the file.
        mapped: leave the model in the file, and its memory to the system, instead of copying it. For a file that nobody
            writes to, as in a container: what is mapped may change after it was checked.

    Raises:
        BundleError: no such file, not a `.tflite`, without labels, or its bytes are not those that were signed off.
    """
    path = Path(path)
    try:
        with path.open("rb") as file:
            return _read(path, file, mapped)
    except OSError as error:
        raise BundleError(f"cannot read the model {path}: {error.strerror or error}") from error


def _read(path: Path, file: BinaryIO, mapped: bool) -> Bundle:
    # A flatbuffer names its schema in bytes 4 to 7.
    if file.read(8)[4:] != b"TFL3":
        raise BundleError(f"{path} is not a .tflite file; `python convert_to_tflite.py` makes one from an .h5")
    remedy = "convert the checkpoint again with `python convert_to_tflite.py`"
    try:
        with zipfile.ZipFile(file) as archive:
            end = min(info.header_offset for info in archive.infolist())
            flatbuffer = _mapped(file, end) if mapped else _copied(file, end)
            text = _member(archive, LABELS).decode("utf-8")
            labels = tuple(text.removesuffix("\n").split("\n"))
            metadata = json.loads(_member(archive, METADATA))
            version = metadata["format"]
            size = int(metadata["input"]["size"])
            signed = str(metadata["digest"]) if version == VERSION else None
            bundle = Bundle(path, labels, size, metadata, flatbuffer)
            whole = bool(bundle.name and bundle.input) and 0 <= bundle.threshold <= 1 and bundle.failed in (True, False)
    except Exception as error:  # a hostile zip or JSON raises nearly anything, zlib.error to RecursionError
        raise BundleError(f"{path} carries no labels or damaged ones: {remedy}") from error
    if version != VERSION:
        raise BundleError(f"{path} has bundle format {version!r}; this version reads {VERSION}: {remedy}")
    if not whole:
        raise BundleError(f"{path} has no name, or a threshold that is not between 0 and 1: {remedy}")
    if digest(flatbuffer, text, metadata) != signed:
        raise BundleError(f"{path} is damaged: its bytes do not match the digest inside: {remedy}")
    if len(labels) < 2 or len(set(labels)) != len(labels) or not all(labels):
        raise BundleError(f"{path} must name at least two different labels, not {list(labels)}: {remedy}")
    return bundle


def _copied(file: BinaryIO, size: int) -> bytes:
    file.seek(0)
    return file.read(size)


def _mapped(file: BinaryIO, size: int) -> memoryview:
    return memoryview(mmap.mmap(file.fileno(), size, access=mmap.ACCESS_READ))


def _member(archive: zipfile.ZipFile, name: str) -> bytes:
    if archive.getinfo(name).file_size > _MEMBER_LIMIT:
        raise ValueError(f"{name} is too large")
    return archive.read(name)
