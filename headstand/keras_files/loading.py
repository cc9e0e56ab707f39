"""Loads a Keras model from an untrusted file, using a copy built from checked parts."""

from headstand import tensorflow_setup  # noqa: F401, I001 - before the first import of Keras

import json
import math
import os
import re
import subprocess
import sys
import tempfile
import warnings
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h5py
import keras
import tensorflow as tf

from headstand.keras_files import config
from headstand.keras_files.parts import KerasFileError, shown

_PATIENCE = 300
"""Timeout of the reader process in seconds."""

_MOST_WORK = 2e11
"""Largest number of multiplications for one photo; EfficientNetB7 at 600 pixels needs 3.7e10."""

_MOST_VALUES = 2**27
"""Largest number of output values of one operation for one photo: 512 MiB."""

_SAME = frozenset({"gamma", "beta", "bias", "moving_mean", "moving_variance"})
"""Weight names that are the same in all versions of Keras and have one shape within a layer."""


def load(path: Path, size: int | None = None) -> keras.Model:
    """Returns the model in an `.h5` (Keras 2 or 3) or a `.keras` file, uncompiled, in float32.

    Its configuration is checked against an allow-list of built-in layers before Keras reads it, and its weights are
    copied as plain arrays. Keras loads only that copy.

    Args:
        path: a Sequential or Functional model of built-in Keras layers.
        size: input side in pixels, if the file does not fix it.

    Raises:
        KerasFileError: the file does not exist, is damaged or malicious, or has something that is not allowed.
    """
    with tempfile.TemporaryDirectory(prefix="headstand-") as folder:
        index = _read(path, Path(folder))
        if index["layout"] == "weights":
            raise KerasFileError(
                f"{path} holds weights without the configuration of a model; in Keras, build the model, load them and "
                "save both with model.save('model.keras')"
            )
        try:
            return _load(Path(folder), index, size)
        except KerasFileError as error:
            raise KerasFileError(f"{path} cannot be loaded: {error}") from error.__cause__


@contextmanager
def checked_weights(path: Path) -> Iterator[Path]:
    """Yields a checked temporary copy of a `.weights.h5` file for `load_weights`; it is deleted afterwards.

    Raises:
        KerasFileError: the file does not exist, is damaged or malicious, or has no weights of Keras 3.
    """
    with tempfile.TemporaryDirectory(prefix="headstand-") as folder:
        if _read(path, Path(folder))["layout"] != "weights":
            raise KerasFileError(f"{path} holds a whole model, not only weights: its name must not end in .weights.h5")
        copy = Path(folder) / "copy.weights.h5"
        (Path(folder) / "weights.h5").rename(copy)
        yield copy


def graph(model: keras.Model, size: int) -> tf.Graph:
    """Returns the TensorFlow graph of a prediction for one photo of `size` pixels a side.

    Raises:
        KerasFileError: the model cannot run on such photos, or needs more memory or work than image networks do.
    """
    return _graph(model, (1, size, size, 3))


def _load(folder: Path, index: dict[str, Any], size: int | None) -> keras.Model:
    checked = config.checked(index["description"], size)
    copy = folder / ("model.h5" if index["layout"] == "legacy" else "model.keras")
    if index["layout"] == "legacy":
        names = config.top_level_names(checked)
        if strange := [layer for layer, _ in index["layers"] if layer not in names.values()]:
            raise KerasFileError(f"its file holds weights for {shown(strange[0])}, a layer that it does not have")
        (folder / "weights.h5").rename(copy)
        with h5py.File(copy, "a", libver="latest") as file:
            file.attrs["model_config"] = json.dumps(checked)
    else:
        with zipfile.ZipFile(copy, "w") as archive:
            archive.writestr("metadata.json", "{}")
            archive.writestr("config.json", json.dumps(checked))
            archive.write(folder / "weights.h5", "model.weights.h5")
    # Initializers create no more values than the file holds. Layers that choose their own initializer look it up by
    # these names.
    zeros = _zeros(index["count"])
    try:
        with keras.saving.custom_object_scope({"zeros": zeros, "ones": zeros}):
            model = keras.models.load_model(copy, compile=False, safe_mode=True)
    except Exception as error:  # Keras and TensorFlow raise many types for invalid values
        raise _refusal(error) from error
    if index["layout"] == "legacy":
        _compare_names(model, index["layers"], names)
    for layer in _layers(model):
        if isinstance(layer, keras.layers.Normalization):
            layer.finalize_state()  # it computed its mean and variance from the zeros before its weights
        for key in [key for key in vars(layer) if key.endswith("_initializer")]:
            setattr(layer, key, keras.initializers.Zeros())  # a function could not be saved or cloned
    shape: list[Any] = [size if side is None else side for side in model.input_shape[1:]]
    if None not in shape:
        _graph(model, (1, *shape))
    return model


def _zeros(left: int) -> Any:
    """Returns a zero initializer that creates at most `left` values in all."""

    def zeros(shape: Any, dtype: Any = None, **_: Any) -> Any:
        nonlocal left
        left -= math.prod(shape)
        if left < 0:
            raise KerasFileError("it describes layers with more weights than its file holds")
        return keras.ops.zeros(shape, dtype=dtype or "float32")

    return zeros


def _refusal(error: BaseException) -> KerasFileError:
    """Returns the KerasFileError among an error's causes, or else a short error message."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, KerasFileError):
            return cause
        cause = cause.__cause__ or cause.__context__
    text = re.sub(r"\x1b\[\d*m", "", str(error)).split("Exception encountered: ")[-1]
    lines = [line for line in text.splitlines() if line.strip()] or [type(error).__name__]
    # Keras gives the layer in the first line and the reason in the second.
    reason = " ".join(lines[: 1 + lines[0].startswith("Exception encountered when calling")])
    return KerasFileError(f"it cannot be built: {_cleaned(reason)}")


def _cleaned(text: str) -> str:
    return "".join(letter if letter.isprintable() else " " for letter in text)[:300]


def _compare_names(model: keras.Model, stored: list[tuple[str, list[str]]], names: dict[str, str]) -> None:
    """Compares the weight names of an `.h5` file with the model's: Keras assigns weights by order and ignores names.

    Raises:
        KerasFileError: the file has them in another order.
    """
    layers = [layer for layer in model.layers if layer.weights]
    for layer, (name, weights) in zip(layers, stored, strict=True):
        if names[layer.name] != name:
            raise KerasFileError(
                f"its file holds the weights of {shown(name)} where the model has {shown(names[layer.name])}"
            )
        built = [weight.name for weight in layer.trainable_weights + layer.non_trainable_weights]
        for one, other in zip(weights, built, strict=True):
            last = re.sub(r":\d+$", "", one.split("/")[-1])
            if last != other and last in _SAME and other in _SAME:
                raise KerasFileError(f"its file holds {shown(one)} where {shown(name)} has {other}")


def _graph(model: keras.Model, shape: tuple[int, ...]) -> tf.Graph:
    call = tf.function(lambda pixels: model(pixels, training=False), autograph=False)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Keras warns of a softmax over one output, which is refused later
            built = call.get_concrete_function(tf.TensorSpec(shape, tf.float32)).graph
    except Exception as error:
        raise _refusal(error) from error
    work = 0.0
    for operation in built.get_operations():
        values = [math.prod(output.shape) if None not in output.shape else 0 for output in operation.outputs
                  if output.shape.rank is not None]  # fmt: skip
        work += sum(values) * _window(operation)
        if max(values, default=0) > _MOST_VALUES or work > _MOST_WORK:
            name = _layer(operation.name, model)
            raise KerasFileError(f"its layer {shown(name)} needs more memory or work than image networks do")
    return built


def _window(operation: tf.Operation) -> float:
    """Returns the multiplications or comparisons per output value of an operation."""
    if operation.type in ("MaxPool", "AvgPool"):
        return math.prod(operation.get_attr("ksize"))
    if operation.type == "DepthwiseConv2dNative":
        return math.prod(operation.inputs[1].shape[:2])
    if operation.type == "Conv2D":
        return math.prod(operation.inputs[1].shape[:3])
    if operation.type == "Conv2DBackpropInput":
        return math.prod((*operation.inputs[1].shape[:2], operation.inputs[1].shape[3]))
    if operation.type == "MatMul":
        return math.prod(operation.inputs[1].shape[:1])
    return 1


def _layers(layer: Any) -> list[Any]:
    """Returns a network and all layers in it, including nested networks."""
    return [layer, *(each for inner in getattr(layer, "layers", []) for each in _layers(inner))]


def _layer(operation: str, model: keras.Model) -> str:
    """Returns the layer that a graph operation belongs to, by its name; the operation's name if there is none."""
    names = {layer.name for layer in _layers(model)}
    for part in reversed(operation.split("/")[:-1]):
        for name in (part, re.sub(r"_\d+$", "", part)):
            if name in names:
                return name
    return operation


def _read(path: Path, folder: Path) -> dict[str, Any]:
    """Copies a file's content into `folder` in a separate process, which a malicious file may crash or exhaust.

    Returns:
        The index that `headstand.keras_files.reader` writes.

    Raises:
        KerasFileError: the file does not exist or is refused.
    """
    if path.is_dir():
        raise KerasFileError(
            f"{path} is a folder (a SavedModel?); load it in the Keras that wrote it, and save it with "
            "model.save('model.keras')"
        )
    if not path.is_file():
        raise KerasFileError(f"there is no model {path}")
    _run(path, folder)
    index: dict[str, Any] = json.loads((folder / "index.json").read_text(encoding="utf-8"))
    if "refused" in index:
        raise KerasFileError(f"{path} {index['refused']}")
    return index


def _run(path: Path, folder: Path) -> None:
    root = str(Path(__file__).resolve().parents[2])
    try:
        done = subprocess.run(  # noqa: S603 - our own module; the path is an argument, no shell reads it
            [sys.executable, "-P", "-m", "headstand.keras_files.reader", str(path.resolve()), str(folder)],
            env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, (root, os.environ.get("PYTHONPATH"))))},
            capture_output=True,
            text=True,
            timeout=_PATIENCE,
        )
    except subprocess.TimeoutExpired:
        raise KerasFileError(f"{path} cannot be read within {_PATIENCE} seconds") from None
    if done.returncode or not (folder / "index.json").is_file():
        last = (done.stderr.strip().splitlines() or [f"status {done.returncode}"])[-1]
        raise KerasFileError(f"{path} cannot be read: the reader process stopped with {shown(last)}")
