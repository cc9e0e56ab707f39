"""What a Keras file holds, read by a process of its own that a hostile file may crash or exhaust."""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from headstand.export.stranger.refusal import StrangerError, shown

_PATIENCE = 300
"""Seconds after which reading is given up."""

_NESTING = 100
"""Most lists and objects within one another in a description."""


@dataclass(frozen=True)
class Stored:
    """A model's description and weights.

    `description` is the parsed JSON. `weights` holds `(name, values)` pairs in stored order: by the layer's name in an
    `.h5` (`layout` "legacy"), by the layer's path in a `.keras` archive ("keras").
    """

    layout: Literal["legacy", "keras"]
    description: dict[str, Any]
    weights: Mapping[str, Sequence[tuple[str, np.ndarray]]]

    @property
    def count(self) -> int:
        """All stored numbers."""
        return sum(values.size for pairs in self.weights.values() for _, values in pairs)


def read(path: Path) -> Stored:
    """Read an `.h5` or a `.keras` file; no code and no other file is touched.

    Raises:
        StrangerError: there is no such file, it is damaged or made to do harm, or holds no Keras model.
    """
    if path.is_dir():
        raise StrangerError(
            f"{path} is a folder (a SavedModel?); load it in the Keras that made it, and save it with "
            "model.save('model.keras')"
        )
    if not path.is_file():
        raise StrangerError(f"there is no model {path}")
    with tempfile.TemporaryDirectory(prefix="headstand-") as folder:
        _run(path, Path(folder))
        index = json.loads((Path(folder) / "index.json").read_text(encoding="utf-8"))
        if "refused" in index:
            raise StrangerError(f"{path} {index['refused']}")
        with np.load(Path(folder) / "weights.npz", allow_pickle=False) as file:
            arrays = [file[str(place)] for place in range(len(file.files))]
    weights = {key: [(name, arrays[place]) for name, place in pairs] for key, pairs in index["weights"].items()}
    return Stored(index["layout"], _parsed(path, index["description"]), weights)


def _run(path: Path, folder: Path) -> None:
    root = str(Path(__file__).resolve().parents[3])
    try:
        done = subprocess.run(  # noqa: S603 - our own module; the path is an argument, no shell reads it
            [sys.executable, "-P", "-m", "headstand.export.stranger.reader", str(path.resolve()), str(folder)],
            env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, (root, os.environ.get("PYTHONPATH"))))},
            capture_output=True,
            text=True,
            timeout=_PATIENCE,
        )
    except subprocess.TimeoutExpired:
        raise StrangerError(f"{path} cannot be read within {_PATIENCE} seconds") from None
    if done.returncode or not (folder / "index.json").is_file():
        last = (done.stderr.strip().splitlines() or [f"status {done.returncode}"])[-1]
        raise StrangerError(f"{path} cannot be read; its reader stopped with {shown(last)}")


def _parsed(path: Path, text: str) -> dict[str, Any]:
    try:
        description = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise StrangerError(f"{path} has a description that is no JSON: {shown(str(error))}") from None
    waiting = [(description, 0)]
    while waiting:
        value, depth = waiting.pop()
        if depth > _NESTING:
            raise StrangerError(f"{path} has a description that is nested more than {_NESTING} deep")
        inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
        waiting += [(item, depth + 1) for item in inner]
    if not isinstance(description, dict):
        raise StrangerError(f"{path} has a description that is no model's")
    return description
