"""A trained model in one `.h5`: plain Keras for everybody, with what Headstand knows of it in a corner of the file."""

import contextlib
import json
import math
import os
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import h5py
import keras

from headstand.errors import HeadstandError
from headstand.keras_files import loading
from headstand.keras_files.parts import KerasFileError
from headstand.quiet import quiet

_RECORD = "headstand"
"""The HDF5 dataset that holds `About` as JSON; Keras does not look at it."""

_OVERHEAD = 8192
"""Bytes that HDF5 and Keras's configuration take for each variable, at most; 3,500 were measured."""


class CheckpointError(HeadstandError):
    """A file that is not a checkpoint, or one that lacks what is asked of it."""


@dataclass(frozen=True)
class About:
    """What a checkpoint says of itself.

    `name` is the recipe's, `labels` are in output order, `size` the input's side in pixels, `backbone` the network's
    name in keras.applications, `data` the prepared dataset's digest, `seen` the signatures (see
    `headstand.prepare.twins`) of all photos that it or the checkpoint it began from was trained on, `examined` those of
    the validation and test photos that its figures were taken with. `temperature` is what the logits have been divided
    by, for information; `threshold` is the least top probability of a sure answer, None where none was chosen.
    """

    name: str
    labels: tuple[str, ...]
    size: int
    backbone: str
    data: str
    seen: tuple[str, ...] = ()
    examined: tuple[str, ...] = ()
    temperature: float = 1.0
    threshold: float | None = None


def save(model: keras.Model, path: Path, about: About) -> Path:
    """Write the model (without optimizer state) and `about` in one step; any backbone layer is named `backbone`.

    Raises:
        CheckpointError: it cannot be written; nothing of it is left then.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with (
        writing(path, model.weights, len(json.dumps(asdict(about)))),
        tempfile.TemporaryDirectory(dir=path.parent, prefix=".saving-") as folder,
    ):
        temporary = Path(folder) / path.name
        with quiet():  # Keras calls .h5 legacy at every save; it is what the user asked for
            model.save(temporary, include_optimizer=False)
        with h5py.File(temporary, "a") as file:
            file.create_dataset(_RECORD, data=json.dumps(asdict(about)))
        temporary.replace(path)
    return path


@contextlib.contextmanager
def writing(path: Path, variables: Sequence[keras.Variable], more: int = 0) -> Iterator[None]:
    """Tell in one line that HDF5 cannot write `path`: a full disk, a quota.

    Args:
        path: what is to be written.
        variables: what is to be stored.
        more: bytes besides.

    Raises:
        CheckpointError: in place of h5py's words, and of the RuntimeError that it lays over them on closing the file.
    """
    try:
        _find_room(path.parent, sum(4 * math.prod(v.shape) + _OVERHEAD for v in variables) + more)
        yield
    except (OSError, RuntimeError) as error:
        cause: BaseException | None = error
        while cause and not (isinstance(cause, OSError) and cause.errno):
            cause = cause.__context__
        reason = os.strerror(cause.errno or 0) if isinstance(cause, OSError) else str(error).splitlines()[0]
        raise CheckpointError(f"cannot write {path}: {reason}") from error


def _find_room(folder: Path, size: int) -> None:
    """Write as many bytes and drop them: where a disk fills under HDF5, it may crash the process as it closes the file.

    Raises:
        OSError: there is not so much room.
    """
    # Not zeros, which some file systems store in no room at all.
    chunk = os.urandom(2**20)
    with tempfile.TemporaryFile(dir=folder, buffering=0) as file:
        for _ in range(0, size + len(chunk), len(chunk)):
            file.write(chunk)


def load(path: Path) -> keras.Model:
    """Return the uncompiled model in an untrusted `.h5` or `.keras` file; see `headstand.keras_files.loading.load`.

    Raises:
        CheckpointError: no such file, not a Keras model, or one with layers that are not allowed.
    """
    if not path.is_file():
        raise CheckpointError(f"there is no checkpoint {path}; `python train.py` makes one")
    try:
        return loading.load(path)
    except KerasFileError as error:
        reason = str(error).removeprefix(f"{path} ")
        raise CheckpointError(f"{path} is not a Keras model that can be loaded: {reason}") from error


def about(path: Path) -> About:
    """What the checkpoint says of itself.

    Raises:
        CheckpointError: the file is not a Headstand checkpoint.
    """
    try:
        with h5py.File(path, "r") as file:
            # A link or an external array would read another file.
            if not isinstance(file.get(_RECORD, getlink=True), h5py.HardLink) or (
                file[_RECORD].external or file[_RECORD].is_virtual or file[_RECORD].shape
            ):
                raise KeyError(f"no dataset {_RECORD!r}")
            record = json.loads(file[_RECORD][()])
        lists = {key: tuple(record.get(key, ())) for key in ("labels", "seen", "examined")}
        return About(**{**record, **lists})
    except FileNotFoundError:
        raise CheckpointError(f"there is no checkpoint {path}; `python train.py` makes one") from None
    except (OSError, KeyError, TypeError, ValueError, AttributeError) as error:
        raise CheckpointError(f"{path} is not a checkpoint that Headstand wrote ({error})") from error
