"""Checkpoints: a trained model in one `.h5` that plain Keras loads, with Headstand's metadata in an HDF5 dataset."""

import contextlib
import json
import math
import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import h5py
import keras
import numpy as np

from headstand import files
from headstand.errors import HeadstandError
from headstand.keras_files import loading
from headstand.keras_files.parts import KerasFileError
from headstand.quiet import quiet

_RECORD = "headstand"
"""Name of the HDF5 dataset that holds `ModelMetadata` as JSON; Keras does not read it."""

_RENAMED = {"seen": "training_fingerprints", "examined": "evaluation_fingerprints"}
"""Keys of earlier versions, as in the checkpoints under `models/`, with their present names."""

_ARRAY_LIMIT = 2**28
"""Largest array that is read, in bytes, because a checkpoint may be untrusted."""

_OVERHEAD = 8192
"""Upper limit of the bytes that HDF5 and the Keras configuration take per variable; 3,500 were measured."""


class CheckpointError(HeadstandError):
    """The file is not a checkpoint, or cannot be read or written."""


@dataclass(frozen=True)
class ModelMetadata:
    """Metadata in a checkpoint.

    `name` is the name of the recipe, `labels` are the classes in output order, `size` is the side of the input in
    pixels, `backbone` the name of the network in keras.applications, `data` the digest of the prepared dataset.
    `training_fingerprints` are those (see `headstand.preparation.near_duplicates`) of all photos that the model, or the
    checkpoint it started from, was trained on; `evaluation_fingerprints` those of the validation and test photos that
    its metrics were measured on. `temperature` is the temperature by which the logits have already been divided, for
    information. `threshold` is the lowest top probability of a confident prediction; None if none was selected.
    """

    name: str
    labels: tuple[str, ...]
    size: int
    backbone: str
    data: str
    training_fingerprints: tuple[str, ...] = ()
    evaluation_fingerprints: tuple[str, ...] = ()
    temperature: float = 1.0
    threshold: float | None = None


def save(model: keras.Model, path: Path, metadata: ModelMetadata) -> Path:
    """Writes a model, without optimizer state, and its metadata to `path` atomically, and returns the path.

    The model's backbone is its layer `backbone`.

    Raises:
        CheckpointError: the file cannot be written; no partial file is left.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with (
        writing(path, model.weights, len(json.dumps(asdict(metadata)))),
        tempfile.TemporaryDirectory(dir=path.parent, prefix=".saving-") as folder,
    ):
        temporary = Path(folder) / path.name
        with quiet():  # Keras warns at every save that .h5 is a legacy format
            model.save(temporary, include_optimizer=False)
        with h5py.File(temporary, "a") as file:
            file.create_dataset(_RECORD, data=json.dumps(asdict(metadata)))
        temporary.replace(path)
    return path


@contextlib.contextmanager
def writing(path: Path, variables: Sequence[keras.Variable], more: int = 0) -> Iterator[None]:
    """Checks for free disk space before the block writes `path`, and raises a one-line error if the block fails.

    HDF5 may crash the process when it closes a file on a full disk, so the space is checked before it is opened.

    Args:
        path: the file to be written.
        variables: its content.
        more: further bytes.

    Raises:
        CheckpointError: there is too little space, or the block failed. The message names the first cause, not the
            RuntimeError that h5py raises in addition when it closes the file.
    """
    needed = sum(4 * math.prod(variable.shape) + _OVERHEAD for variable in variables) + more
    try:
        free = shutil.disk_usage(path.parent).free
        if needed > free:
            raise CheckpointError(
                f"cannot write {path}: it takes {needed / 1e6:.1f} MB and {free / 1e6:.1f} MB are free; make room"
            )
        yield
    except (OSError, RuntimeError) as error:
        cause: BaseException | None = error
        while cause and not (isinstance(cause, OSError) and cause.errno):
            cause = cause.__context__
        reason = os.strerror(cause.errno or 0) if isinstance(cause, OSError) else str(error).splitlines()[0]
        raise CheckpointError(f"cannot write {path}: {reason}") from error


def load(path: Path) -> keras.Model:
    """Returns the uncompiled model in an untrusted `.h5` or `.keras` file; see `headstand.keras_files.loading.load`.

    Raises:
        CheckpointError: the file does not exist, is not a Keras model, or has layers that are not allowed.
    """
    if not path.is_file():
        raise CheckpointError(f"there is no checkpoint {path}: `python -m headstand train PHOTOS` trains a model")
    try:
        return loading.load(path)
    except KerasFileError as error:
        reason = str(error).removeprefix(f"{path} ")
        raise CheckpointError(f"{path} is not a Keras model that can be loaded: {reason}") from error


def metadata(path: Path) -> ModelMetadata:
    """Returns the metadata in a checkpoint.

    Raises:
        CheckpointError: the file does not exist or is not a Headstand checkpoint.
    """
    try:
        with h5py.File(path, "r") as file:
            if (found := _dataset(file, _RECORD)) is None or found.shape:
                raise KeyError(f"no dataset {_RECORD!r}")
            record = {_RENAMED.get(key, key): value for key, value in json.loads(found[()]).items()}
        lists = {
            key: tuple(record.get(key, ())) for key in ("labels", "training_fingerprints", "evaluation_fingerprints")
        }
        return ModelMetadata(**{**record, **lists})
    except FileNotFoundError:
        raise CheckpointError(
            f"there is no checkpoint {path}: `python -m headstand train PHOTOS` trains a model"
        ) from None
    except (OSError, KeyError, TypeError, ValueError, AttributeError) as error:
        raise CheckpointError(f"{path} is not a checkpoint that Headstand wrote ({error})") from error


def calibrate(path: Path, temperature: float, threshold: float) -> None:
    """Divides the weights of the layer `logits` in a checkpoint by a temperature, atomically, and saves both values.

    Args:
        path: the checkpoint, as written by `save`.
        temperature: the temperature.
        threshold: the lowest top probability of a confident prediction.

    Raises:
        CheckpointError: the file cannot be read or written.
    """
    record = replace(metadata(path), temperature=temperature, threshold=threshold)
    with _editing(path) as file:
        layer = file["model_weights/logits"]
        for name in layer.attrs["weight_names"]:
            layer[name][...] /= np.float32(temperature)
        del file[_RECORD]
        file.create_dataset(_RECORD, data=json.dumps(asdict(record)))


def save_array(path: Path, name: str, values: np.ndarray, threshold: float) -> None:
    """Adds an array and a threshold to a checkpoint atomically, or replaces them; `save` drops them.

    Args:
        path: the checkpoint.
        name: name of the HDF5 dataset.
        values: `float32`, with two axes.
        threshold: a value in the dataset's attributes.

    Raises:
        CheckpointError: the file cannot be written.
    """
    with _editing(path, values.nbytes) as file:
        if name in file:
            del file[name]
        file.create_dataset(name, data=values).attrs["threshold"] = threshold


def array(path: Path, name: str) -> tuple[np.ndarray, float] | None:
    """Returns array and threshold as saved by `save_array`; None if the checkpoint has none of this name.

    Raises:
        CheckpointError: they are damaged: not finite, of another type, or too large.
    """
    try:
        with h5py.File(path, "r") as file:
            if name not in file:
                return None
            found = _dataset(file, name)
            if found is None or found.dtype != np.float32 or found.ndim != 2 or found.nbytes > _ARRAY_LIMIT:
                raise ValueError(f"{name!r} is not an array of float32")
            values, threshold = np.asarray(found[()]), float(found.attrs["threshold"])
        if not (np.isfinite(values).all() and np.isfinite(threshold)):
            raise ValueError(f"{name!r} is not finite")
    except (OSError, KeyError, TypeError, ValueError) as error:
        raise CheckpointError(f"{path} is damaged ({error}); train again") from error
    return values, threshold


@contextlib.contextmanager
def _editing(path: Path, more: int = 0) -> Iterator[h5py.File]:
    """Yields a copy of a checkpoint to change, by `more` bytes at most, which replaces it when the block ends."""
    with writing(path, (), path.stat().st_size + more), files.replacing(path) as part:
        shutil.copyfile(path, part)
        with h5py.File(part, "a") as file:
            yield file


def _dataset(file: h5py.File, name: str) -> h5py.Dataset | None:
    """Returns a dataset whose values are in the file itself.

    A soft or external link, or an external or virtual dataset, could read another file: None for these.
    """
    if not isinstance(file.get(name, getlink=True), h5py.HardLink) or not isinstance(file[name], h5py.Dataset):
        return None
    return None if file[name].external or file[name].is_virtual else file[name]
