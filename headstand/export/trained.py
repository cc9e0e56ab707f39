"""The trained Keras model to export, with its metadata."""

from dataclasses import dataclass
from pathlib import Path

import keras

from headstand import files, inputs
from headstand.evaluation import unknown_inputs
from headstand.evaluation.unknown_inputs import Detector
from headstand.heads import checkpoint
from headstand.heads.checkpoint import CheckpointError, ModelMetadata
from headstand.inputs import InputKind


@dataclass(frozen=True)
class TrainedModel:
    """A model to export.

    Attributes:
        model: decoded inputs `[N, *input.shape]`, for photos pixels in 0..255, to probabilities.
        about: metadata of the model; `data` is empty if the training data is unknown.
        digest: hex SHA-256 of the file it came from.
        detector: score of unknown inputs, which becomes the second output; None if the model has none.
    """

    model: keras.Model
    about: ModelMetadata
    digest: str
    detector: Detector | None = None

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
    trained = TrainedModel(checkpoint.load(path), about, files.digest(path), unknown_inputs.load(path))
    taken, given = trained.model.input_shape, trained.model.output_shape
    stated = (about.size, (None, *trained.input.shape), (None, len(about.labels)))
    if (trained.input.size, taken, given) != stated:
        raise CheckpointError(
            f"the metadata of {path} states an input of {about.size} pixels a side and {len(about.labels)} classes, "
            f"but its model has the input {taken} and the output {given}: the file is damaged, so train again"
        )
    return trained
