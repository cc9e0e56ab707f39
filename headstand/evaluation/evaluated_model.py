"""Loads a Keras checkpoint or a TFLite bundle for evaluation, with a common interface for both."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from headstand import files, inputs
from headstand import recipe as recipes
from headstand.errors import HeadstandError
from headstand.features import compiled
from headstand.heads import checkpoint
from headstand.heads.checkpoint import ModelMetadata
from headstand.inputs import InputKind
from headstand.quiet import quiet
from headstand.runs import checkpoint_in, newest_checkpoint, newest_in
from headstand.serve.classifier import Classifier

SUFFIXES = (".h5", ".tflite")


class ModelError(HeadstandError):
    """Path that is not a model, or model that contradicts its metadata or returns invalid probabilities."""


@dataclass(frozen=True)
class EvaluatedModel:
    """Model for evaluation, with its metadata.

    Attributes:
        path: the model's file.
        sha256: digest of the file.
        about: metadata of the checkpoint, or the part of it that a bundle has.
        history: whether the fingerprints of training and evaluation photos in `about` are known. A bundle does not
            contain them; they are read from the checkpoint in the same folder.
        input: kind, size and shape of the inputs.
        predict: function that maps a batch of inputs to probabilities, `float32 [B, classes]`.
        network: the Keras model of a checkpoint, for Grad-CAM; None for a bundle.
    """

    path: Path
    sha256: str
    about: ModelMetadata
    history: bool
    input: InputKind
    predict: Callable[[np.ndarray], np.ndarray]
    network: keras.Model | None = None


def find(name: str, refitted: bool) -> Path:
    """Returns the model file for a command-line argument: the file itself, or that of the newest finished run.

    Args:
        name: a `.h5` or `.tflite` file, a folder of runs, or a recipe's name or file.
        refitted: whether to prefer the model refitted on all splits to the one that the run's metrics belong to.

    Raises:
        ModelError: the argument is a folder without a finished run.
        HeadstandError: there is no such recipe, or no finished run of it.
    """
    path = Path(name)
    if path.suffix.lower() in SUFFIXES:
        return path
    if path.is_dir() and newest_in(path):
        return checkpoint_in(path, refitted)
    if path.is_dir():
        models = sorted(str(file) for file in path.iterdir() if file.suffix.lower() in SUFFIXES)
        raise ModelError(
            f"{path} is a folder: name " + (" or ".join(models) if models else "a .h5 or .tflite file, or a recipe")
        )
    return newest_checkpoint(recipes.load(name).name, refitted=refitted)


def load(path: Path) -> EvaluatedModel:
    """Returns the model of a checkpoint or bundle.

    Raises:
        HeadstandError: the file does not exist, is damaged, or contradicts its labels or input size.
    """
    return _bundle(path) if path.suffix.lower() == ".tflite" else _checkpoint(path)


def _checkpoint(path: Path) -> EvaluatedModel:
    about = checkpoint.metadata(path)
    network = checkpoint.load(path)
    kind = inputs.of(network.input_shape[1:])
    expected = (about.size, kind.shape, (len(about.labels),))
    if (kind.size, network.input_shape[1:], network.output_shape[1:]) != expected:
        raise ModelError(
            f"{path} does not match its metadata: {about.size} pixels and {len(about.labels)} labels, but the network "
            f"has input shape {network.input_shape[1:]} and output shape {network.output_shape[1:]}; train it again"
        )
    call = compiled(network)
    return EvaluatedModel(
        path, files.digest(path), about, True, kind, lambda batch: np.asarray(call(tf.constant(batch))), network
    )


def _bundle(path: Path) -> EvaluatedModel:
    with quiet():  # LiteRT logs which delegate it created
        classifier = Classifier(path)
    bundle = classifier.bundle
    digest = bundle.metadata.get("checkpoint")
    origin = next((file for file in sorted(path.parent.glob("*.h5")) if files.digest(file) == digest), None)
    # The bundle's own metadata take precedence over the checkpoint's, because the services use them.
    about = ModelMetadata(
        name=bundle.name,
        labels=bundle.labels,
        size=bundle.size,
        backbone="",
        data=str(bundle.metadata.get("data", "")),
        temperature=float(bundle.metadata.get("temperature", 1.0)),
        threshold=bundle.threshold,
    )
    if origin:
        known = checkpoint.metadata(origin)
        about = replace(
            about,
            backbone=known.backbone,
            training_fingerprints=known.training_fingerprints,
            evaluation_fingerprints=known.evaluation_fingerprints,
        )
    return EvaluatedModel(
        path, files.digest(path), about, origin is not None, inputs.of(bundle.input.shape), classifier.probabilities
    )
