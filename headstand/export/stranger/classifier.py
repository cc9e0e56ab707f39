"""Anybody's Keras classifier as one that Headstand can convert; no code of the file's is run."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import keras
import numpy as np

from headstand.export.stranger import labels as names
from headstand.export.stranger import layers, operations, stored, weights
from headstand.export.stranger.description import Network, Part, parse
from headstand.export.stranger.graph import Builder
from headstand.export.stranger.refusal import StrangerError
from headstand.learn.backbones import Preprocessing, scaled

Preprocess = Literal["xception", "caffe", "torch", "none"]
"""How a model was fed: pixels scaled to -1..1; BGR less ImageNet's means; 0..1 standardised by ImageNet's statistics;
as they are, since the model scales them itself."""

_MODES: dict[str, Preprocessing] = {"xception": "tf", "caffe": "caffe", "torch": "torch", "none": "none"}

_LARGEST = 1024
"""Pixels of a side; EfficientNetB7 takes 600."""

_TOLERANCE = 1e-3
"""By how much probabilities may miss a sum of one."""

_PASSING = layers.NOTHING | {"Flatten", "Reshape"}
"""What may stand behind the last activation without changing its numbers."""


@dataclass(frozen=True)
class Stranger:
    """A classifier made of somebody's model.

    `model` takes `float32 [N, size, size, 3]` in 0..255, RGB, and gives `float32 [N, classes]` probabilities in the
    order of `labels`. `notes` are sentences on what was added to the model.
    """

    model: keras.Model
    labels: tuple[str, ...]
    size: int
    notes: tuple[str, ...]


def load(path: Path, labels: Sequence[str], preprocess: str, size: int | None = None) -> Stranger:
    """Build a classifier of images from an `.h5` (of Keras 2 or 3) or a `.keras` file.

    Args:
        path: a Sequential or Functional model of Keras's own layers.
        labels: one for each output, in order; two for a single sigmoid, the second for outputs near 1.
        preprocess: one of `Preprocess`.
        size: the input's side in pixels, where the model leaves it open.

    Raises:
        StrangerError: the file, the labels or the options cannot make a classifier; the sentence says why.
    """
    labels = names.checked(labels)
    if preprocess not in get_args(Preprocess):
        raise StrangerError(f"unknown preprocessing {preprocess!r}; there are {', '.join(get_args(Preprocess))}")
    found = stored.read(path)
    try:
        return _classifier(found, labels, preprocess, size)
    except StrangerError as error:
        raise StrangerError(f"{path} cannot be imported: {error}") from error.__cause__


def _classifier(found: stored.Stored, labels: tuple[str, ...], preprocess: str, size: int | None) -> Stranger:
    network = parse(found.description)
    size = _side(network.shape, size)
    pixels = keras.Input((size, size, 3), name="pixels")
    given = Builder(found.count).apply(network, scaled(pixels, _MODES[preprocess]))
    weights.assign(network, found)
    given = _flat(given)
    probabilities, note = _probabilities(keras.Model(pixels, given), given, _ending(network), labels)
    model = keras.Model(pixels, probabilities, name="stranger")
    if not _normalised(model):
        raise StrangerError("its outputs are no probabilities: on noise they are negative or do not sum to one")
    return Stranger(model, labels, size, (note,) if note else ())


def _side(shape: list[Any] | None, size: int | None) -> int:
    """The side of the square input."""
    if size is not None and not 8 <= size <= _LARGEST:
        raise StrangerError(f"--size {size} is not from 8 to {_LARGEST} pixels")
    if shape is None:
        if size is None:
            raise StrangerError("it does not say what size its input has; give --size PIXELS")
        return size
    if len(shape) != 4:
        raise StrangerError(f"its input is {shape}, not [photos, height, width, 3]")
    _, height, width, channels = shape
    if channels not in (3, None):
        if shape[1] == 3:
            raise StrangerError(f"its input is {shape}, channels first; TFLite has them last")
        raise StrangerError(f"its input has {channels} channels; photos have 3, red, green and blue")
    if height is None and width is None:
        if size is None:
            raise StrangerError(
                "it takes photos of any size, and a converted model has a fixed one; give --size PIXELS"
            )
        return size
    if height != width:
        raise StrangerError(f"its input is {height} x {width} pixels; Headstand serves square ones")
    if size not in (None, height):
        raise StrangerError(f"its input is {height} pixels, so --size {size} cannot be had")
    if not 8 <= height <= _LARGEST:
        raise StrangerError(f"its input is {height} pixels; Headstand serves 8 to {_LARGEST}")
    return int(height)


def _flat(given: Any) -> Any:
    """`[N, classes]`, also of a network that ends in a convolution over one place."""
    if not isinstance(given, keras.KerasTensor) or None in given.shape[1:] or len(given.shape) < 2:
        raise StrangerError("its output has no fixed shape")
    if len(given.shape) == 2:
        return given
    if any(side != 1 for side in given.shape[1:-1]):
        raise StrangerError(
            f"its output is {list(given.shape)}, not [photos, classes]: it gives no class for a whole photo"
        )
    return keras.layers.Flatten()(given)


def _ending(network: Network) -> str:
    """The last activation's name; "?" where the end is none."""
    part = _last(network)
    while part is not None:
        if part.network is not None:
            return _ending(part.network)
        name = _activation(part)
        if name:
            return name
        part = _before(network, part)
    return "?"


def _activation(part: Part) -> str:
    """What a part makes of its numbers; "" where it passes them on."""
    if operations.known(part):
        name = (operations.function(part) or "").lower().split(".")[-1]
        return name if name in ("softmax", "sigmoid") else "?"
    if part.kind == "Softmax":
        return "softmax"
    if part.kind in ("Dense", "Conv2D", "SeparableConv2D"):
        return layers.activation(part.config.get("activation"), part)
    if part.kind == "Activation":
        name = layers.activation(part.config.get("activation"), part)
        return "" if name == "linear" else name
    return "" if part.kind in _PASSING else "?"


def _last(network: Network) -> Part | None:
    if network.output is None:
        return network.parts[-1]
    return next((part for part in network.parts if part.name == network.output.layer), None)


def _before(network: Network, part: Part) -> Part | None:
    if network.output is None:
        place = network.parts.index(part)
        return network.parts[place - 1] if place else None
    tensors = [tensor for call in part.calls for tensor in call.tensors()]
    return next((other for other in network.parts if len(tensors) == 1 and other.name == tensors[0].layer), None)


def _probabilities(model: keras.Model, given: Any, ending: str, labels: tuple[str, ...]) -> tuple[Any, str]:
    """Probabilities from what the model gives, and what was done for them."""
    outputs = given.shape[-1]
    if outputs == 1:
        return _pair(given, ending, labels)
    if outputs != len(labels):
        raise StrangerError(f"it has {outputs} outputs, and there are {len(labels)} labels")
    if ending == "softmax":
        return given, ""
    if ending in ("linear", "log_softmax"):
        return keras.layers.Softmax(name="probabilities")(given), "the model ends in logits: a softmax was added"
    if ending == "sigmoid":
        raise StrangerError(
            f"it ends in {outputs} sigmoids, each a question of its own (several labels a photo); a classifier gives "
            "one label, with a softmax"
        )
    if _normalised(model):
        return given, ""
    raise StrangerError(
        f"it ends in {'a layer' if ending == '?' else ending} whose numbers are neither logits nor probabilities; "
        "end it in a Dense layer or in a softmax"
    )


def _pair(given: Any, ending: str, labels: tuple[str, ...]) -> tuple[Any, str]:
    if len(labels) != 2:
        raise StrangerError(f"it has one output, so two classes, and there are {len(labels)} labels")
    if ending not in ("sigmoid", "linear"):
        raise StrangerError(f"it has one output that ends in {ending}; two classes from one output take a sigmoid")
    note = f"the model has one output: it counts for {labels[1]!r}, and what is left of one for {labels[0]!r}"
    if ending == "linear":
        given = keras.layers.Activation("sigmoid", name="probability")(given)
        note = f"the model ends in a logit: a sigmoid was added; {note.removeprefix('the model has one output: ')}"
    # [1 - p, p] in plain layers: -1 * p + 1 and p.
    rest = keras.layers.Rescaling(-1.0, offset=1.0, name="rest")(given)
    return keras.layers.Concatenate(name="probabilities")([rest, given]), note


def _normalised(model: keras.Model) -> bool:
    """Whether the outputs are probabilities already, whatever they come from: asked of noise."""
    values = _answers(model)
    return bool((values >= -_TOLERANCE).all() and (np.abs(values.sum(axis=1) - 1) < _TOLERANCE).all())


def _answers(model: keras.Model) -> np.ndarray:
    shape = (4, *model.input_shape[1:])
    pixels = np.random.default_rng(0).integers(0, 256, shape).astype(np.float32)
    pixels[0] = 128  # a plain picture too
    try:
        return np.asarray(model(pixels, training=False), np.float64)
    except Exception as error:
        reason = next((line for line in str(error).splitlines() if line.strip()), type(error).__name__)
        raise StrangerError(f"it cannot be run: {reason[:200]!a}") from error
