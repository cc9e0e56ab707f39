"""What is exported: a trained Keras model that takes pixels, and what is known of it."""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

import keras

from headstand.learn import checkpoint
from headstand.learn.checkpoint import CheckpointError
from headstand.learn.run import REPORT


@dataclass(frozen=True)
class Trained:
    """A model to export.

    `model` takes pixels 0..255 `[N, size, size, 3]` and gives probabilities in the order of `labels`. `digest` is the
    hex SHA-256 of the file it came from, `data` that of the manifest it was trained on, None where nobody knows;
    `temperature` and `threshold` are as in `headstand.learn.checkpoint.About`.
    """

    model: keras.Model
    name: str
    labels: tuple[str, ...]
    size: int
    digest: str
    data: str | None = None
    temperature: float = 1.0
    threshold: float | None = None


def read(path: Path) -> Trained:
    """A Headstand checkpoint.

    Raises:
        CheckpointError: the file is none, is damaged, or does not hold what it says.
    """
    about = checkpoint.about(path)
    model = checkpoint.load(path)
    said = ((None, about.size, about.size, 3), (None, len(about.labels)))
    if (model.input_shape, model.output_shape) != said:
        raise CheckpointError(
            f"{path} says that it takes {about.size} pixels a side and gives {len(about.labels)} probabilities; its "
            f"model takes {model.input_shape} and gives {model.output_shape}: it is damaged, so train again"
        )
    return Trained(
        model,
        about.name,
        about.labels,
        about.size,
        hashlib.sha256(path.read_bytes()).hexdigest(),
        about.data,
        about.temperature,
        about.threshold,
    )


def twin(path: Path) -> Trained | None:
    """The model of the same run that a refitted checkpoint's figures were taken with, where it is still there."""
    report = path.parent / REPORT
    if not report.is_file():
        return None
    record = json.loads(report.read_text(encoding="utf-8"))
    other = path.parent / record["checkpoint"]
    return read(other) if record["refitted"] == path.name and other.is_file() else None
