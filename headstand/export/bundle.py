"""Writes the bundle that is served: a flatbuffer with labels and metadata appended as a zip archive."""

import io
import json
import zipfile
from pathlib import Path
from typing import Any

from headstand import files
from headstand.serve.bundle import LABELS, METADATA, VERSION, digest


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


def write(path: Path, data: bytes) -> Path:
    """Writes the bundle atomically and returns its path."""
    return files.write(path, data)
