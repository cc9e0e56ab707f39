"""Converts an untrusted Keras classifier, one that Headstand did not train, to a model that can be exported."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

import keras
import numpy as np

from headstand.errors import HeadstandError
from headstand.export import labels as label_files
from headstand.features.backbones import scaled
from headstand.keras_files import loading
from headstand.keras_files.parts import KerasFileError
from headstand.recipe.sections import Preprocessing

PREPROCESSING: tuple[Preprocessing, ...] = get_args(Preprocessing)

_LARGEST = 1024
"""Largest input side in pixels; EfficientNetB7 takes 600."""

_TOLERANCE = 1e-3
"""Largest deviation of the sum of the probabilities from 1."""

_LOGITS = ("BiasAdd", "MatMul", "Conv2D", "LogSoftmax")
"""TensorFlow operations whose results are logits if they come last in a model."""

_PASSING = ("Identity", "Reshape", "Squeeze", "StopGradient")
"""TensorFlow operations that do not change values."""


class ForeignModelError(HeadstandError):
    """Raised for a foreign model, labels or options that do not form a classifier."""


@dataclass(frozen=True)
class ForeignModel:
    """A classifier built from a foreign model.

    Attributes:
        model: `float32 [N, size, size, 3]` in 0..255, RGB, to probabilities.
        network: the input of the file's model to `float32 [N, classes]` probabilities in the order of `labels`.
        labels: class names in output order.
        size: input side in pixels.
        notes: messages about layers that were added.
    """

    model: keras.Model
    network: keras.Model
    labels: tuple[str, ...]
    size: int
    notes: tuple[str, ...]


def load(path: Path, labels: Sequence[str], preprocess: Preprocessing, size: int | None = None) -> ForeignModel:
    """Builds an image classifier from an `.h5` (Keras 2 or 3) or a `.keras` file.

    Args:
        path: a Sequential or Functional model of built-in Keras layers.
        labels: one per output, in order; two for a single sigmoid, the second for outputs near 1.
        preprocess: one of `PREPROCESSING`.
        size: input side in pixels, if the model does not fix it.

    Raises:
        HeadstandError: the file, the labels or the options do not form a classifier; the message gives the reason.
    """
    labels = label_files.checked(labels)
    if preprocess not in PREPROCESSING:
        raise ForeignModelError(f"unknown preprocessing {preprocess!r}; there are {', '.join(PREPROCESSING)}")
    if size is not None and not 8 <= size <= _LARGEST:
        raise ForeignModelError(f"--size {size} is not from 8 to {_LARGEST} pixels")
    loaded = loading.load(path, size)
    try:
        return _classifier(loaded, labels, preprocess, size)
    except (ForeignModelError, KerasFileError) as error:
        raise ForeignModelError(f"{path} cannot be imported: {error}") from error.__cause__


def with_preprocessing(network: keras.Model, size: int, preprocess: Preprocessing) -> keras.Model:
    """Returns a model that takes RGB pixels in 0..255, scales them and applies the network.

    Args:
        network: takes the same input as the model in the file.
        size: input side in pixels.
        preprocess: scaling of the pixels.
    """
    pixels = keras.Input((size, size, 3), name="pixels")
    return keras.Model(pixels, network(scaled(pixels, preprocess), training=False), name="foreign")


def _classifier(
    loaded: keras.Model, labels: tuple[str, ...], preprocess: Preprocessing, size: int | None
) -> ForeignModel:
    size = _side(loaded.input_shape, size)
    given = keras.Input((size, size, 3), name="input")
    # training=False turns off augmentation and dropout whatever the file contains.
    outputs = _flat(loaded(given, training=False))
    probabilities, note = _probabilities(keras.Model(given, outputs), outputs, _ending(loaded, size), labels)
    network = keras.Model(given, probabilities, name="classifier")
    model = with_preprocessing(network, size, preprocess)
    if not _normalised(model):
        raise ForeignModelError("its outputs are not probabilities: some are negative, or they do not sum to 1")
    return ForeignModel(model, network, labels, size, (note,) if note else ())


def _side(shape: tuple[int | None, ...], size: int | None) -> int:
    """Returns the side of the square input in pixels.

    Raises:
        ForeignModelError: the input is not a square RGB image of a supported size.
    """
    if len(shape) != 4:
        raise ForeignModelError(f"its input is {list(shape)}, not [photos, height, width, 3]")
    _, height, width, channels = shape
    if channels not in (3, None):
        if shape[1] == 3:
            raise ForeignModelError(f"its input is {list(shape)}, channels first; TFLite needs channels last")
        raise ForeignModelError(f"its input has {channels} channels; photos have 3, red, green and blue")
    if height is None and width is None:
        if size is None:
            raise ForeignModelError(
                "it takes photos of any size, and a converted model needs a fixed size: set it with --size PIXELS"
            )
        return size
    if height is None or height != width:
        raise ForeignModelError(f"its input is {height} x {width} pixels; Headstand needs a square input")
    if size not in (None, height):
        raise ForeignModelError(f"its input is {height} pixels, so --size {size} does not fit")
    if not 8 <= height <= _LARGEST:
        raise ForeignModelError(f"its input is {height} pixels; Headstand supports 8 to {_LARGEST}")
    return height


def _flat(given: Any) -> Any:
    """Returns the output as `[N, classes]`, also for a network that ends in a convolution over one position."""
    if not isinstance(given, keras.KerasTensor) or None in given.shape[1:] or len(given.shape) < 2:
        raise ForeignModelError("its output has no fixed shape")
    if len(given.shape) == 2:
        return given
    if any(side != 1 for side in given.shape[1:-1]):
        raise ForeignModelError(
            f"its output is {list(given.shape)}, not [photos, classes]: it does not classify whole photos"
        )
    return keras.layers.Flatten()(given)


def _ending(model: keras.Model, size: int) -> str:
    """Returns the model's last activation: "logits", or the operation's name in lower case."""
    (output,) = loading.graph(model, size).outputs
    while output.op.type in _PASSING:
        output = output.op.inputs[0]
    if output.op.type in _LOGITS or (output.op.type == "AddV2" and output.op.inputs[0].op.type in _LOGITS):
        return "logits"
    return str(output.op.type).lower()


def _probabilities(model: keras.Model, given: Any, ending: str, labels: tuple[str, ...]) -> tuple[Any, str]:
    """Returns probabilities computed from the model's output, and a message about layers that were added."""
    outputs = given.shape[-1]
    if outputs == 1:
        return _pair(given, ending, labels)
    if outputs != len(labels):
        raise ForeignModelError(f"it has {outputs} outputs, and there are {len(labels)} labels")
    if ending == "softmax":
        return given, ""
    if ending == "logits":
        return keras.layers.Softmax(name="probabilities")(given), "the model ends in logits: a softmax was added"
    if ending == "sigmoid":
        raise ForeignModelError(
            f"it ends in {outputs} sigmoids (a multi-label model); use one softmax for one label per photo"
        )
    if _normalised(model):
        return given, ""
    raise ForeignModelError(
        f"it ends in {ending}, whose outputs are neither logits nor probabilities: end it in a Dense layer or a softmax"
    )


def _pair(given: Any, ending: str, labels: tuple[str, ...]) -> tuple[Any, str]:
    if len(labels) != 2:
        raise ForeignModelError(f"it has one output, which means two classes, and there are {len(labels)} labels")
    if ending not in ("sigmoid", "logits"):
        raise ForeignModelError(f"its one output ends in {ending}; two classes from one output need a sigmoid")
    note = f"the model has one output: the probability of {labels[1]!r}; that of {labels[0]!r} is 1 minus it"
    if ending == "logits":
        given = keras.layers.Activation("sigmoid", name="probability")(given)
        note = f"the model ends in a logit: a sigmoid was added; {note.removeprefix('the model has one output: ')}"
    # [1 - p, p] in plain layers: -1 * p + 1 and p.
    rest = keras.layers.Rescaling(-1.0, offset=1.0, name="rest")(given)
    return keras.layers.Concatenate(name="probabilities")([rest, given]), note


def _normalised(model: keras.Model) -> bool:
    """Returns whether the outputs for random pixels are probabilities."""
    values = _outputs(model)
    return bool((values >= -_TOLERANCE).all() and (np.abs(values.sum(axis=1) - 1) < _TOLERANCE).all())


def _outputs(model: keras.Model) -> np.ndarray:
    shape = (4, *model.input_shape[1:])
    pixels = np.random.default_rng(0).integers(0, 256, shape).astype(np.float32)
    pixels[0] = 128  # include a uniform image
    try:
        return np.asarray(model(pixels, training=False), np.float64)
    except Exception as error:
        reason = next((line for line in str(error).splitlines() if line.strip()), type(error).__name__)
        raise ForeignModelError(f"it cannot be run: {reason[:200]!a}") from error
