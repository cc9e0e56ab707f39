"""Models as Keras 2 and Keras 3 write them, made by the tests."""

import io
import json
import zipfile
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from tests.networks import keras, layers

LABELS = ("cat", "dog", "owl")
SIZE = 16


def pixels(count: int = 5, size: int = SIZE) -> np.ndarray:
    return np.random.default_rng(7).integers(0, 256, (count, size, size, 3)).astype(np.float32)


def stirred(model: keras.Model, seed: int = 1) -> keras.Model:
    """Weights away from their neutral values, so that a mix-up shows."""
    random = np.random.default_rng(seed)
    for weight in model.weights:
        if "variance" in weight.path:
            weight.assign(random.uniform(0.5, 2, weight.shape))
        elif "float" in str(weight.dtype):
            weight.assign(random.normal(0, 0.5, weight.shape))
    return model


def base(size: int = SIZE) -> keras.Model:
    """A network without a head: two convolutions, two normalizations."""
    given = x = keras.Input((size, size, 3), name="base_input")
    x = layers.Conv2D(4, 3, strides=2, use_bias=False, name="conv")(x)
    x = layers.BatchNormalization(name="bn")(x)
    x = layers.ReLU(6.0, name="relu")(x)
    x = layers.DepthwiseConv2D(3, padding="same", name="depthwise")(x)
    x = layers.BatchNormalization(name="bn_2")(x)
    return keras.Model(given, layers.Add(name="sum")([x, x]), name="base")


def classifier(*ending: Any, size: int | None = SIZE) -> keras.Model:
    """`base` with a head; `ending` is three softmax outputs unless given."""
    given = keras.Input((size, size, 3), name="photo")
    x = layers.GlobalAveragePooling2D(name="pool")(base()(layers.Rescaling(1 / 127.5, -1, name="scale")(given)))
    for layer in ending or (layers.Dense(3, "softmax", name="head"),):
        x = layer(x)
    return stirred(keras.Model(given, x, name="whole"))


def saved(model: keras.Model, path: Path) -> Path:
    model.save(path)
    return path


def entry(kind: str, name: str, *sources: Any, **config: Any) -> dict[str, Any]:
    """A layer of a Functional model as Keras 2 writes it."""
    inbound = [[[source, 0, 0, {}] if isinstance(source, str) else source for source in sources]] if sources else []
    settings = {"name": name, "trainable": True, "dtype": "float32", **config}
    return {"class_name": kind, "config": settings, "name": name, "inbound_nodes": inbound}


def operation(name: str, function: str, source: str, node: int = 0, /, **keywords: Any) -> dict[str, Any]:
    """Bare arithmetic as Keras 2 writes it."""
    kind = "SlicingOpLambda" if "getitem" in function else "TFOpLambda"
    layer = entry(kind, name, function=function)
    return {**layer, "inbound_nodes": [[source, node, 0, keywords]]}


def functional(name: str, parts: list[dict[str, Any]], *, kind: str = "Functional") -> dict[str, Any]:
    first, last = parts[0]["name"], parts[-1]["name"]
    config = {"name": name, "layers": parts, "input_layers": [[first, 0, 0]], "output_layers": [[last, 0, 0]]}
    return {"class_name": kind, "config": config}


def source(name: str, *shape: int | None) -> dict[str, Any]:
    layer = entry("InputLayer", name, batch_input_shape=[None, *shape], sparse=False, ragged=False)
    del layer["config"]["trainable"]
    return layer


def legacy(
    path: Path, description: Any, weights: dict[str, dict[str, np.ndarray]] | None = None, version: str = "2.15.0"
) -> Path:
    """Write an `.h5` as Keras 2 did; `weights` are by the outermost layer's name, then by the weight's."""
    with h5py.File(path, "w") as file:
        file.attrs["keras_version"], file.attrs["backend"] = version, "tensorflow"
        file.attrs["model_config"] = description if isinstance(description, str) else json.dumps(description)
        group = file.create_group("model_weights")
        group.attrs["keras_version"], group.attrs["backend"] = version, "tensorflow"
        weights = weights or {}
        group.attrs["layer_names"] = [name.encode() for name in weights]
        for layer, arrays in weights.items():
            inner = group.require_group(layer)
            inner.attrs["weight_names"] = [name.encode() for name in arrays]
            for name, values in arrays.items():
                inner.create_dataset(name, data=values)
    return path


def members(path: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def archive(path: Path, content: dict[str, bytes], compression: int = zipfile.ZIP_STORED) -> Path:
    with zipfile.ZipFile(path, "w", compression) as file:
        for name, data in content.items():
            file.writestr(name, data)
    return path


def edited(path: Path, change: Any) -> Path:
    """Change a file's description in place: `change` takes the parsed JSON and may return another."""
    if path.suffix == ".h5":
        with h5py.File(path, "r+") as file:
            description = json.loads(file.attrs["model_config"])
            file.attrs["model_config"] = json.dumps(change(description) or description)
    else:
        content = members(path)
        description = json.loads(content["config.json"])
        content["config.json"] = json.dumps(change(description) or description).encode()
        archive(path, content)
    return path


def hdf5(**arrays: np.ndarray) -> bytes:
    stream = io.BytesIO()
    with h5py.File(stream, "w") as file:
        for name, values in arrays.items():
            file.create_dataset(name, data=values)
    return stream.getvalue()
