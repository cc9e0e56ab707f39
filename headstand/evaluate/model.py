"""The model that is scored: a checkpoint or a bundle, behind one face."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from headstand import files, inputs
from headstand import recipe as recipes
from headstand.errors import HeadstandError
from headstand.inputs import Input
from headstand.learn import checkpoint
from headstand.learn.checkpoint import About
from headstand.learn.features import compiled
from headstand.learn.run import newest_checkpoint
from headstand.quiet import quiet
from headstand.serve.classifier import Classifier

SUFFIXES = (".h5", ".tflite")


class ModelError(HeadstandError):
    """What is named is no model, or one that does not fit what it says of itself."""


@dataclass(frozen=True)
class Model:
    """A model and what it says of itself.

    `about` is the checkpoint's record, or what a bundle has of it; `history` tells whether its `seen` and `examined`
    are known: a bundle has them in the checkpoint beside it only. `input` is what it takes, and `answer` makes
    probabilities `float32 [B, classes]` of a batch of that; `network` is what tells where a checkpoint looked.
    """

    path: Path
    sha256: str
    about: About
    history: bool
    input: Input
    answer: Callable[[np.ndarray], np.ndarray]
    network: keras.Model | None = None


def find(word: str, refitted: bool) -> Path:
    """The file that a word on the command line means: itself, or the newest finished run's of a recipe.

    Args:
        word: a `.h5` or `.tflite` file, or a recipe's name or file.
        refitted: of a run that was refitted on all splits take the last model, and not the one of its figures.

    Raises:
        ModelError: a folder.
        HeadstandError: there is no such recipe, or no finished run of it.
    """
    path = Path(word)
    if path.suffix.lower() in SUFFIXES:
        return path
    if path.is_dir():
        held = sorted(str(file) for file in path.iterdir() if file.suffix.lower() in SUFFIXES)
        raise ModelError(
            f"{path} is a folder: name " + (" or ".join(held) if held else "a .h5 or .tflite file, or a recipe")
        )
    return newest_checkpoint(recipes.load(word).name, refitted=refitted)


def load(path: Path) -> Model:
    """Open a checkpoint or a bundle.

    Raises:
        HeadstandError: it is not there, damaged, or does not fit its labels and size.
    """
    return _bundle(path) if path.suffix.lower() == ".tflite" else _checkpoint(path)


def _checkpoint(path: Path) -> Model:
    about = checkpoint.about(path)
    network = checkpoint.load(path)
    kind = inputs.of(network.input_shape[1:])
    wanted = (about.size, kind.shape, (len(about.labels),))
    if (kind.size, network.input_shape[1:], network.output_shape[1:]) != wanted:
        raise ModelError(
            f"{path} does not fit its own record: {about.size} pixels and {len(about.labels)} labels, and a network "
            f"from {network.input_shape[1:]} to {network.output_shape[1:]}; train it again"
        )
    call = compiled(network)
    return Model(
        path, files.digest(path), about, True, kind, lambda shown: np.asarray(call(tf.constant(shown))), network
    )


def _bundle(path: Path) -> Model:
    with quiet():  # LiteRT tells which delegate it made
        classifier = Classifier(path)
    bundle = classifier.bundle
    origin = next((file for file in sorted(path.parent.glob("*.h5")) if _made(file, bundle.metadata)), None)
    # What the bundle says of itself goes first: it is what is served.
    about = About(
        name=bundle.name,
        labels=bundle.labels,
        size=bundle.size,
        backbone="",
        data=str(bundle.metadata.get("data", "")),
        temperature=float(bundle.metadata.get("temperature", 1.0)),
        threshold=bundle.threshold,
    )
    if origin:
        known = checkpoint.about(origin)
        about = About(**{**vars(about), "backbone": known.backbone, "seen": known.seen, "examined": known.examined})
    return Model(
        path, files.digest(path), about, origin is not None, inputs.of(bundle.input.shape), classifier.probabilities
    )


def _made(file: Path, metadata: dict[str, object]) -> bool:
    """Whether a checkpoint is the one that a bundle was converted from."""
    return files.digest(file) == metadata.get("checkpoint")
