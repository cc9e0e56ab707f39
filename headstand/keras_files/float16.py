"""Halves the size of a `.keras` file: kernels in float16, everything else unchanged.

    python -m headstand.keras_files.float16 SOURCE TARGET

Keras and `loading` convert them to float32 when they load the file. Vectors (biases and the statistics of
BatchNormalization) stay in float32: they take little space, and small variances would lose precision.
"""

import sys
import tempfile
import zipfile
from pathlib import Path

import h5py
import numpy as np

from headstand import files
from headstand.errors import HeadstandError
from headstand.keras_files.parts import KerasFileError

_WEIGHTS = "model.weights.h5"


def write(source: Path, target: Path) -> Path:
    """Writes a copy of a `.keras` file with all weights of two axes or more in float16, and returns its path.

    Raises:
        KerasFileError: the source is not a `.keras` file, or has weights that float16 cannot hold.
    """
    if not zipfile.is_zipfile(source):
        raise KerasFileError(f"{source} is not a .keras file")
    with tempfile.TemporaryDirectory() as folder, files.replacing(target) as part:
        weights = Path(folder) / _WEIGHTS
        with zipfile.ZipFile(source) as archive, zipfile.ZipFile(part, "w", zipfile.ZIP_DEFLATED) as copy:
            with archive.open(_WEIGHTS) as stream, h5py.File(stream, "r") as given, h5py.File(weights, "w") as halved:
                given.visititems(lambda name, item: _copy(halved, name, item))
            for name in archive.namelist():
                # With a fixed date, so that the same source gives the same file.
                data = weights.read_bytes() if name == _WEIGHTS else archive.read(name)
                copy.writestr(zipfile.ZipInfo(name), data, zipfile.ZIP_DEFLATED)
    return target


def _copy(target: h5py.File, name: str, item: h5py.Group | h5py.Dataset) -> None:
    if isinstance(item, h5py.Group):
        copy = target.require_group(name)
    else:
        values = item[()]
        if values.dtype == np.float32 and values.ndim > 1:
            if np.abs(values).max(initial=0) > np.finfo(np.float16).max:
                raise KerasFileError(f"the weights {name} have values that float16 cannot hold")
            values = values.astype(np.float16)
        copy = target.create_dataset(name, data=values)
    for key, value in item.attrs.items():
        copy.attrs[key] = value


if __name__ == "__main__":
    try:
        print(write(Path(sys.argv[1]), Path(sys.argv[2])))
    except HeadstandError as error:
        sys.exit(str(error))
