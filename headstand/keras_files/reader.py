"""Copy the configuration and the weights out of a Keras file, without Keras.

Runs as a process of its own (see `loading`) with limits on memory and time, because the HDF5 library parses a file that
nobody has checked. Only named members of a zip are read, and nothing is unpacked under a name from the file.

    python -m headstand.keras_files.reader MODEL FOLDER

writes FOLDER/index.json and FOLDER/weights.h5, which holds plain arrays only: no links, filters or other files. For a
file that is refused the index has the key `refused`.
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
"""Data larger than the second number may be stored in this many times fewer bytes."""

_ITEMS = 50_000
"""Most groups and arrays in a file."""

_DEPTH = 40
"""Most groups within one another."""

_ROOTS = ("layers", "_layer_checkpoint_dependencies")
"""The group that holds a network's layers: in Keras 3, in Keras 2."""


class RefusedError(Exception):
    """The file is not read; the message continues a sentence that begins with its name."""


def main(model: str, folder: str) -> None:
    """Read MODEL within limits and write what it holds into FOLDER."""
    _limit(Path(model).stat().st_size)
    take_apart(Path(model), Path(folder))


def take_apart(path: Path, folder: Path) -> None:
    """Write what a file holds, or why it is refused, into a folder."""
    index: dict[str, Any]
    try:
        # The newest format of HDF5 has no limit on the length of attributes.
        with h5py.File(folder / "weights.h5", "w", libver="latest") as copy:
            if zipfile.is_zipfile(path) and not h5py.is_hdf5(path):
                index = _archive(path, copy)
            elif h5py.is_hdf5(path):
                with h5py.File(path, "r") as file:
                    index = _hdf5(file, copy)
            else:
                raise RefusedError("is neither HDF5 (.h5) nor a Keras archive (.keras)")
    except RefusedError as error:
        index = {"refused": str(error)}
    except Exception as error:  # h5py and zipfile raise nearly every kind on a damaged file
        index = {"refused": f"is damaged: {type(error).__name__}: {str(error)[:200]}"}
    (folder / "index.json").write_text(json.dumps(index), encoding="utf-8")


def _limit(size: int) -> None:
    """Limit this process: a file must not cost more than a few times its bytes, nor minutes."""
    with contextlib.suppress(NameError):
        for kind, most in ((resource.RLIMIT_AS, 6 * 2**30 + 4 * size), (resource.RLIMIT_CPU, 120)):
            with contextlib.suppress(ValueError, OSError):  # macOS has no limit of addresses
                resource.setrlimit(kind, (most, most))


def _archive(path: Path, copy: h5py.File) -> dict[str, Any]:
    with zipfile.ZipFile(path) as archive, tempfile.TemporaryFile() as inner:
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
                inner.write(chunk)
        inner.seek(0)
        with h5py.File(inner, "r") as file:
            return {"layout": "keras", "description": config, "count": _by_path(file, copy)}


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


def _hdf5(file: h5py.File, copy: h5py.File) -> dict[str, Any]:
    if "model_config" in file.attrs:
        return _legacy(file, copy)
    if any(root in file for root in _ROOTS):
        return {"layout": "weights", "count": _by_path(file, copy)}
    raise RefusedError("holds neither the configuration of a model nor weights as Keras 3 saves them")


def _by_path(file: h5py.File, copy: h5py.File) -> int:
    """Copy each group's `vars/0`, `vars/1`, ... under the group's path; the number of values.

    Keras 2 calls the group of a network's layers otherwise; the copy has Keras 3's name.
    """
    roots = [root for root in _ROOTS if root in file]
    if not roots:
        raise RefusedError("holds weights in a layout that no released Keras writes")
    reading = _Reading(file)
    for root in roots:
        _variables(reading, file, root, copy, _DEPTH)
    return reading.count


def _variables(reading: "_Reading", group: h5py.Group, name: str, copy: h5py.File, depth: int) -> None:
    inner = reading.group(group, name)
    if not depth:
        raise RefusedError("nests groups without end")
    for key in inner:
        if key == "vars":
            variables = reading.group(inner, key)
            for number in [key for key in variables if key.isdecimal()]:
                target = f"{inner.name.replace(_ROOTS[1], _ROOTS[0])}/vars/{number}"
                values = reading.array(variables, number)
                if target not in copy:
                    copy.create_dataset(target, data=values)
        elif inner.get(key, getclass=True) is h5py.Group:
            _variables(reading, inner, key, copy, depth - 1)


def _legacy(file: h5py.File, copy: h5py.File) -> dict[str, Any]:
    description = file.attrs["model_config"]
    description = description.decode() if isinstance(description, bytes) else str(description)
    if len(description) > DESCRIPTION:
        raise RefusedError(f"describes its model in more than {DESCRIPTION / 2**20:.0f} MiB")
    reading = _Reading(file)
    group = reading.group(file, "model_weights")
    weights = copy.create_group("model_weights")
    layers: list[tuple[str, list[str]]] = []
    for layer in _names(group, "layer_names"):
        inner = reading.group(group, layer)
        names = _names(inner, "weight_names")
        if names:
            # Keras takes them in this order and looks at no name, so that the copy numbers them.
            made = weights.create_group(str(len(layers)))
            made.attrs["weight_names"] = [str(number).encode() for number in range(len(names))]
            for number, name in enumerate(names):
                made.create_dataset(str(number), data=reading.array(inner, name))
            layers.append((layer, names))
    weights.attrs["layer_names"] = [str(number).encode() for number in range(len(layers))]
    return {"layout": "legacy", "description": description, "count": reading.count, "layers": layers}


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

    def __init__(self, file: h5py.File) -> None:
        self.count = 0
        """The number of values read so far."""
        self._items = 0
        self._bytes = 0

    def group(self, parent: h5py.Group, name: str) -> h5py.Group:
        """The group under a path, step by step."""
        found = self._find(parent, name)
        if not isinstance(found, h5py.Group):
            raise RefusedError(f"has no group {name[:60]!a}")
        return found

    def array(self, parent: h5py.Group, name: str) -> np.ndarray:
        """Read one array of finite numbers, floating-point ones as float32."""
        found = self._find(parent, name)
        if not isinstance(found, h5py.Dataset):
            raise RefusedError(f"has no array {name[:60]!a}")
        if found.external or found.is_virtual:
            raise RefusedError(f"keeps the array {name[:60]!a} in another file")
        # NumPy has no bfloat16, the upper half of a float32: Keras names it in an attribute.
        half = found.dtype == "V2" and str(found.attrs.get("dtype")) == "bfloat16"
        if not half and (found.dtype.kind not in "fiub" or found.dtype.itemsize > 8):
            raise RefusedError(f"holds the array {name[:60]!a} of {found.dtype}, not of numbers")
        size = math.prod(found.shape) * found.dtype.itemsize
        times, above = _EXPANSION
        self._bytes += size
        if self._bytes > _WEIGHTS or (size > above and size > times * found.id.get_storage_size()):
            raise RefusedError(f"claims {size / 2**20:,.0f} MiB for the array {name[:60]!a} and does not hold them")
        values = np.asarray(found[()])
        if half:
            values = (values.view(np.uint16).astype(np.uint32) << 16).view(np.float32)
        if values.dtype.kind == "f":
            with np.errstate(over="ignore"):  # what is too large becomes infinite, and is refused
                values = values.astype(np.float32)
            if not np.isfinite(values).all():
                raise RefusedError(f"has weights {name[:60]!a} that are not all finite numbers")
        self.count += values.size
        return values

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
