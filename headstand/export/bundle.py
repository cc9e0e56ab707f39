"""Write the one file that is served: a flatbuffer with its labels and metadata appended as a zip."""

import io
import json
import zipfile
from pathlib import Path
from typing import Any

from headstand import files
from headstand.serve.bundle import LABELS, METADATA, VERSION, digest


def pack(flatbuffer: bytes, labels: tuple[str, ...], metadata: dict[str, Any]) -> bytes:
    """Append labels and metadata to a model.

    Args:
        flatbuffer: a `.tflite` without associated files.
        labels: in output order.
        metadata: the keys that `headstand.serve.bundle.Bundle` documents; `format` and `digest` are added here.

    Returns:
        The bundle's bytes; the same arguments give the same bytes.
    """
    names = "\n".join(labels) + "\n"
    record = {"format": VERSION, **metadata}
    record["digest"] = digest(flatbuffer, names, record)
    whole = io.BytesIO(flatbuffer)
    # Mode "a" keeps what is there and counts the zip's offsets from the start of the file, as MediaPipe reads them.
    with zipfile.ZipFile(whole, "a", zipfile.ZIP_STORED) as archive:
        for name, text in ((LABELS, names), (METADATA, json.dumps(record, indent=1, sort_keys=True) + "\n")):
            # A fixed date, so that the same model gives the same bytes.
            archive.writestr(zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0)), text)
    return whole.getvalue()


def write(path: Path, data: bytes) -> Path:
    """Write the bundle in one step: the file is whole or it is not there."""
    return files.write(path, data)
