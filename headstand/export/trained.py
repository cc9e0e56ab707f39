"""The trained Keras model to export, read from a checkpoint or built from a foreign file."""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

import keras

from headstand import inputs
from headstand.heads import checkpoint
from headstand.heads.checkpoint import CheckpointError
from headstand.inputs import InputKind
from headstand.runs import REPORT


@dataclass(frozen=True)
class TrainedModel:
    """A model to export.

    Attributes:
        model: pixels 0..255 `[N, size, size, 3]`, or heatmaps `[N, 17, 64, 48]`, to probabilities.
        name: the model's name.
        labels: class names in output order.
        size: height of the input.
        digest: hex SHA-256 of the file it came from.
        data: hex SHA-256 of the manifest it was trained on; None if unknown.
        temperature: see `headstand.heads.checkpoint.ModelMetadata`.
        threshold: see `headstand.heads.checkpoint.ModelMetadata`.
    """

    model: keras.Model
    name: str
    labels: tuple[str, ...]
    size: int
    digest: str
    data: str | None = None
    temperature: float = 1.0
    threshold: float | None = None

    @property
    def input(self) -> InputKind:
        """Description of the model's input."""
        return inputs.of(self.model.input_shape[1:])


def read(path: Path) -> TrainedModel:
    """Reads a Headstand checkpoint.

    Raises:
        CheckpointError: the file is not a checkpoint, is damaged, or its model does not match its metadata.
    """
    about = checkpoint.metadata(path)
    model = checkpoint.load(path)
    taken = inputs.of(model.input_shape[1:])
    said = (about.size, (None, *taken.shape), (None, len(about.labels)))
    if (taken.size, model.input_shape, model.output_shape) != said:
        raise CheckpointError(
            f"{path} says that it takes {about.size} pixels a side and gives {len(about.labels)} probabilities; its "
            f"model takes {model.input_shape} and gives {model.output_shape}: it is damaged, so train again"
        )
    return TrainedModel(
        model,
        about.name,
        about.labels,
        about.size,
        hashlib.sha256(path.read_bytes()).hexdigest(),
        about.data,
        about.temperature,
        about.threshold,
    )


def twin(path: Path) -> TrainedModel | None:
    """Returns the model from before a refit, on which a refitted checkpoint's figures were measured; None if absent."""
    report = path.parent / REPORT
    if not report.is_file():
        return None
    record = json.loads(report.read_text(encoding="utf-8"))
    other = path.parent / record["checkpoint"]
    return read(other) if record["refitted"] == path.name and other.is_file() else None
