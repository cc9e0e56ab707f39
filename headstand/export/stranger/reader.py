"""Take a Keras file apart without Keras: its description as JSON, its weights as plain arrays.

Runs as a process of its own (see `stored`), with bounds on memory and time, since the HDF5 library reads a file that
nobody has checked. Of a zip only three members are read, by name, and nothing is unpacked to a name from the file.

    python -m headstand.export.stranger.reader MODEL FOLDER

writes FOLDER/index.json and FOLDER/weights.npz; a file that is refused gives an index with the key `refused`.
"""

import contextlib
import json
import math
import sys
import tempfile
import zipfile
from pathlib import Path
from typing import Any

import h5py
import numpy as np

with contextlib.suppress(ModuleNotFoundError):  # Windows has no such limits
    import resource

DESCRIPTION = 32 * 2**20
"""Most bytes of a model's JSON; NASNetLarge, the longest of keras.applications, has under 2 MiB."""

_WEIGHTS = 4 * 2**30
"""Most bytes of all weights together."""

_EXPANSION = 100, 64 * 2**20
"""Weights may be stored in so many times fewer bytes than they have, where they have more than the second number."""

_ITEMS = 50_000
"""Most groups and arrays in a file."""

_DEPTH = 40
"""Most groups within one another."""


class RefusedError(Exception):
    """The file is not read; the message continues a sentence that begins with its name."""


def main(model: str, folder: str) -> None:
    """Read MODEL within bounds and write what it holds into FOLDER."""
    _bound(Path(model).stat().st_size)
    take_apart(Path(model), Path(folder))


def take_apart(path: Path, folder: Path) -> None:
    """Write what a file holds, or why it is refused, into a folder."""
    arrays: list[np.ndarray] = []
    index: dict[str, Any]
    try:
        if zipfile.is_zipfile(path) and not h5py.is_hdf5(path):
            index = _archive(path, arrays)
        elif h5py.is_hdf5(path):
            with h5py.File(path, "r") as file:
                index = _legacy(file, arrays)
        else:
            raise RefusedError("is neither HDF5 (.h5) nor a Keras archive (.keras)")
    except RefusedError as error:
        index = {"refused": str(error)}
    except Exception as error:  # h5py and zipfile raise nearly every kind on a damaged file
        index = {"refused": f"is damaged: {type(error).__name__}: {str(error)[:200]}"}
    if "refused" not in index:
        named: Any = {str(place): array for place, array in enumerate(arrays)}
        np.savez(folder / "weights.npz", **named)
    (folder / "index.json").write_text(json.dumps(index), encoding="utf-8")


def _bound(size: int) -> None:
    """Limit this process: a file must not cost more than a few times its bytes, nor minutes."""
    with contextlib.suppress(NameError):
        for kind, most in ((resource.RLIMIT_AS, 6 * 2**30 + 4 * size), (resource.RLIMIT_CPU, 120)):
            with contextlib.suppress(ValueError, OSError):  # macOS knows no limit of addresses
                resource.setrlimit(kind, (most, most))


def _archive(path: Path, arrays: list[np.ndarray]) -> dict[str, Any]:
    with zipfile.ZipFile(path) as archive, tempfile.TemporaryFile() as copy:
        names = archive.namelist()
        if len(names) != len(set(names)):
            raise RefusedError("holds several members of one name")
        if "config.json" not in names or "model.weights.h5" not in names:
            raise RefusedError("is a zip without config.json and model.weights.h5, so no model that Keras 3 saved")
        config = _member(archive, "config.json", DESCRIPTION).decode()
        with archive.open(_checked(archive, "model.weights.h5", _WEIGHTS)) as stream:
            left = _WEIGHTS
            while chunk := stream.read(2**20):
                left -= len(chunk)
                if left < 0:
                    raise RefusedError("holds more than 4 GiB of weights")
                copy.write(chunk)
        copy.seek(0)
        with h5py.File(copy, "r") as file:
            if "layers" not in file and "_layer_checkpoint_dependencies" not in file:
                raise RefusedError("holds weights in a layout that no released Keras writes")
            reading = _Reading(file, arrays)
            weights: dict[str, Any] = {}
            for top in ("layers", "_layer_checkpoint_dependencies"):
                if top in file:
                    _variables(reading, file, top, weights, _DEPTH)
    return {"layout": "keras", "description": config, "weights": weights}


def _checked(archive: zipfile.ZipFile, name: str, most: int) -> zipfile.ZipInfo:
    info = archive.getinfo(name)
    times, above = _EXPANSION
    if info.file_size > most or (info.file_size > above and info.file_size > times * info.compress_size):
        raise RefusedError(f"packs {info.file_size / 2**20:,.0f} MiB of {name} into {info.compress_size:,} bytes")
    return info


def _member(archive: zipfile.ZipFile, name: str, most: int) -> bytes:
    with archive.open(_checked(archive, name, most)) as stream:
        data = stream.read(most + 1)
    if len(data) > most:
        raise RefusedError(f"holds a {name} of more than {most / 2**20:.0f} MiB")
    return data


def _variables(reading: "_Reading", group: h5py.Group, name: str, weights: dict[str, Any], depth: int) -> None:
    """Collect every group's `vars/0`, `vars/1`, ... under the group's path."""
    inner = reading.group(group, name)
    if not depth:
        raise RefusedError("nests groups without end")
    for key in inner:
        if key == "vars":
            variables = reading.group(inner, key)
            numbers = sorted((key for key in variables if key.isdecimal()), key=int)
            if numbers:
                weights[inner.name.strip("/")] = [[number, reading.array(variables, number)] for number in numbers]
        elif inner.get(key, getclass=True) is h5py.Group:
            _variables(reading, inner, key, weights, depth - 1)


def _legacy(file: h5py.File, arrays: list[np.ndarray]) -> dict[str, Any]:
    if "model_config" not in file.attrs:
        raise RefusedError(
            "holds weights without the description of a model; in Keras, build the model, load them and write both "
            "with model.save('model.keras')"
        )
    description = file.attrs["model_config"]
    description = description.decode() if isinstance(description, bytes) else str(description)
    if len(description) > DESCRIPTION:
        raise RefusedError(f"describes its model in more than {DESCRIPTION / 2**20:.0f} MiB")
    reading = _Reading(file, arrays)
    group = reading.group(file, "model_weights")
    weights = {}
    for layer in _names(group, "layer_names"):
        inner = reading.group(group, layer)
        weights[layer] = [[name, reading.array(inner, name)] for name in _names(inner, "weight_names")]
    return {"layout": "legacy", "description": description, "weights": weights}


def _names(group: h5py.Group, attribute: str) -> list[str]:
    """Names that Keras keeps in an attribute, or in several where they do not fit into one."""
    if attribute in group.attrs:
        keys = [attribute]
    else:
        keys = []
        while f"{attribute}{len(keys)}" in group.attrs:
            keys.append(f"{attribute}{len(keys)}")
    names = []
    for key in keys:
        if group.attrs.get_id(key).get_space().get_simple_extent_npoints() > _ITEMS:
            raise RefusedError(f"lists more than {_ITEMS:,} {attribute}")
        names += [name.decode() if isinstance(name, bytes) else str(name) for name in group.attrs[key]]
    return names


class _Reading:
    """Groups and arrays of one file, counted; nothing outside of the file is followed."""

    def __init__(self, file: h5py.File, arrays: list[np.ndarray]) -> None:
        self._arrays = arrays
        self._items = 0
        self._bytes = 0

    def group(self, parent: h5py.Group, name: str) -> h5py.Group:
        """The group under a path, step by step."""
        found = self._find(parent, name)
        if not isinstance(found, h5py.Group):
            raise RefusedError(f"has no group {name[:60]!a}")
        return found

    def array(self, parent: h5py.Group, name: str) -> int:
        """Read one array; its place among all."""
        found = self._find(parent, name)
        if not isinstance(found, h5py.Dataset):
            raise RefusedError(f"has no array {name[:60]!a}")
        if found.external or found.is_virtual:
            raise RefusedError(f"keeps the array {name[:60]!a} in another file")
        if found.dtype.kind not in "fiub" or found.dtype.itemsize > 8:
            raise RefusedError(f"holds the array {name[:60]!a} of {found.dtype}, not of numbers")
        size = math.prod(found.shape) * found.dtype.itemsize
        times, above = _EXPANSION
        self._bytes += size
        if self._bytes > _WEIGHTS or (size > above and size > times * found.id.get_storage_size()):
            raise RefusedError(f"claims {size / 2**20:,.0f} MiB for the array {name[:60]!a} and does not hold them")
        values = np.asarray(found[()])
        if values.dtype.kind == "f":
            values = values.astype(np.float32)
        self._arrays.append(values)
        return len(self._arrays) - 1

    def _find(self, parent: h5py.Group, name: str) -> Any:
        for part in name.split("/"):
            self._items += 1
            if self._items > 4 * _ITEMS:
                raise RefusedError("holds more groups and arrays than any model needs")
            # "." and ".." are no steps in HDF5, but names like any other.
            if not part or not isinstance(parent, h5py.Group) or part not in parent:
                return None
            link = parent.get(part, getlink=True)
            if not isinstance(link, h5py.HardLink):
                raise RefusedError(f"points elsewhere at {part[:60]!a} ({type(link).__name__})")
            parent = parent[part]
        return parent


if __name__ == "__main__":
    main(*sys.argv[1:])
