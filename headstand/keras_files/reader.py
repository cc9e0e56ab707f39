"""Copies the configuration and the weights out of a Keras file without Keras.

Runs in a separate process (see `loading`) with limits on memory and time, because the HDF5 library parses an untrusted
file. Only named members of a zip are read, and nothing is unpacked under a name from the file.

    python -m headstand.keras_files.reader MODEL FOLDER

writes FOLDER/index.json and FOLDER/weights.h5, which holds plain arrays only: no links, filters or external files. The
index of a refused file has the key `refused`.
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

with contextlib.suppress(ModuleNotFoundError):  # not available on Windows
    import resource

DESCRIPTION = 32 * 2**20
"""Largest size of a model's JSON in bytes; NASNetLarge, the longest of keras.applications, has under 2 MiB."""

_WEIGHTS = 4 * 2**30
"""Largest total size of the weights in bytes."""

_EXPANSION = 100, 64 * 2**20
"""Largest compression ratio of data over the size given second, in bytes."""

_ITEMS = 50_000
"""Largest number of names in an attribute; a file may need four times as many lookups of path components."""

_DEPTH = 40
"""Largest nesting depth of groups."""

_ROOTS = ("layers", "_layer_checkpoint_dependencies")
"""Name of the group with a network's layers in Keras 3 and in Keras 2."""


class UnsafeFileError(Exception):
    """Raised for a file that is not read; the message continues a sentence that begins with its name."""


def main(model: str, folder: str) -> None:
    """Reads MODEL under resource limits and writes its content into FOLDER."""
    _limit(Path(model).stat().st_size)
    extract(Path(model), Path(folder))


def extract(path: Path, folder: Path) -> None:
    """Writes a file's content, or the reason for its refusal, into a folder."""
    index: dict[str, Any]
    try:
        # The latest HDF5 format does not limit the length of attributes.
        with h5py.File(folder / "weights.h5", "w", libver="latest") as copy:
            if zipfile.is_zipfile(path) and not h5py.is_hdf5(path):
                index = _archive(path, copy)
            elif h5py.is_hdf5(path):
                with h5py.File(path, "r") as file:
                    index = _hdf5(file, copy)
            else:
                raise UnsafeFileError("is neither HDF5 (.h5) nor a Keras archive (.keras)")
    except UnsafeFileError as error:
        index = {"refused": str(error)}
    except Exception as error:  # h5py and zipfile raise many types for a damaged file
        index = {"refused": f"is damaged: {type(error).__name__}: {str(error)[:200]}"}
    (folder / "index.json").write_text(json.dumps(index), encoding="utf-8")


def input_size(path: Path) -> int | None:
    """Returns the side of a network's square input in pixels; None if the file does not state it or is damaged.

    Only the configuration is read.
    """
    try:
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                entry = json.loads(_member(archive, "config.json", DESCRIPTION))
        else:
            with h5py.File(path, "r") as file:
                entry = json.loads(file.attrs["model_config"])
        while "layers" in (config := entry["config"]):
            entry = config["layers"][0]
        _, height, width, _ = config.get("batch_shape") or config["batch_input_shape"]
        return height if type(height) is int and height == width else None
    except Exception:  # it is refused with the reason when it is loaded
        return None


def _limit(size: int) -> None:
    """Limits this process to 6 GiB of address space plus 4 times `size` bytes, and to 120 seconds of CPU time."""
    with contextlib.suppress(NameError):
        for kind, most in ((resource.RLIMIT_AS, 6 * 2**30 + 4 * size), (resource.RLIMIT_CPU, 120)):
            with contextlib.suppress(ValueError, OSError):  # macOS has no RLIMIT_AS
                resource.setrlimit(kind, (most, most))


def _archive(path: Path, copy: h5py.File) -> dict[str, Any]:
    with zipfile.ZipFile(path) as archive, tempfile.TemporaryFile() as inner:
        names = archive.namelist()
        if len(names) != len(set(names)):
            raise UnsafeFileError("holds several members with the same name")
        if "config.json" not in names or "model.weights.h5" not in names:
            raise UnsafeFileError("is a zip without config.json and model.weights.h5, so not a model saved by Keras 3")
        config = _member(archive, "config.json", DESCRIPTION).decode()
        with archive.open(_checked(archive, "model.weights.h5", _WEIGHTS)) as stream:
            left = _WEIGHTS
            while chunk := stream.read(2**20):
                left -= len(chunk)
                if left < 0:
                    raise UnsafeFileError("holds more than 4 GiB of weights")
                inner.write(chunk)
        inner.seek(0)
        with h5py.File(inner, "r") as file:
            return {"layout": "keras", "description": config, "count": _by_path(file, copy)}


def _checked(archive: zipfile.ZipFile, name: str, most: int) -> zipfile.ZipInfo:
    """Returns a zip member's entry.

    Raises:
        UnsafeFileError: its uncompressed size or compression ratio is too large.
    """
    info = archive.getinfo(name)
    times, above = _EXPANSION
    if info.file_size > most or (info.file_size > above and info.file_size > times * info.compress_size):
        raise UnsafeFileError(f"packs {info.file_size / 2**20:,.0f} MiB of {name} into {info.compress_size:,} bytes")
    return info


def _member(archive: zipfile.ZipFile, name: str, most: int) -> bytes:
    with archive.open(_checked(archive, name, most)) as stream:
        data = stream.read(most + 1)
    if len(data) > most:
        raise UnsafeFileError(f"holds a {name} of more than {most / 2**20:.0f} MiB")
    return data


def _hdf5(file: h5py.File, copy: h5py.File) -> dict[str, Any]:
    if "model_config" in file.attrs:
        return _legacy(file, copy)
    if any(root in file for root in _ROOTS):
        return {"layout": "weights", "count": _by_path(file, copy)}
    raise UnsafeFileError("holds neither the configuration of a model nor weights in the layout of Keras 3")


def _by_path(file: h5py.File, copy: h5py.File) -> int:
    """Copies each group's `vars/0`, `vars/1`, ... under the group's path and returns the number of values.

    Keras 2 uses another name for the group of a network's layers; the copy has Keras 3's name.
    """
    roots = [root for root in _ROOTS if root in file]
    if not roots:
        raise UnsafeFileError("holds weights in an unknown layout")
    reading = _Reading(file)
    for root in roots:
        _variables(reading, file, root, copy, _DEPTH)
    return reading.count


def _variables(reading: "_Reading", group: h5py.Group, name: str, copy: h5py.File, depth: int) -> None:
    inner = reading.group(group, name)
    if not depth:
        raise UnsafeFileError("nests groups too deeply")
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
        raise UnsafeFileError(f"describes its model in more than {DESCRIPTION / 2**20:.0f} MiB")
    reading = _Reading(file)
    group = reading.group(file, "model_weights")
    weights = copy.create_group("model_weights")
    layers: list[tuple[str, list[str]]] = []
    for layer in _names(group, "layer_names"):
        inner = reading.group(group, layer)
        names = _names(inner, "weight_names")
        if names:
            # Keras assigns weights by this order and ignores names, so the copy uses numbers.
            target = weights.create_group(str(len(layers)))
            target.attrs["weight_names"] = [str(number).encode() for number in range(len(names))]
            for number, name in enumerate(names):
                target.create_dataset(str(number), data=reading.array(inner, name))
            layers.append((layer, names))
    weights.attrs["layer_names"] = [str(number).encode() for number in range(len(layers))]
    return {"layout": "legacy", "description": description, "count": reading.count, "layers": layers}


def _names(group: h5py.Group, attribute: str) -> list[str]:
    """Returns the names in an attribute, which Keras splits into several if they do not fit into one."""
    if attribute in group.attrs:
        keys = [attribute]
    else:
        keys = []
        while f"{attribute}{len(keys)}" in group.attrs:
            keys.append(f"{attribute}{len(keys)}")
    names = []
    for key in keys:
        if group.attrs.get_id(key).get_space().get_simple_extent_npoints() > _ITEMS:
            raise UnsafeFileError(f"lists more than {_ITEMS:,} {attribute}")
        names += [name.decode() if isinstance(name, bytes) else str(name) for name in group.attrs[key]]
    return names


class _Reading:
    """Reads and counts groups and arrays of one file, following no link out of it."""

    def __init__(self, file: h5py.File) -> None:
        self.count = 0
        """Number of values read so far."""
        self._items = 0
        self._bytes = 0

    def group(self, parent: h5py.Group, name: str) -> h5py.Group:
        """Returns the group at a path, checking each link on the way."""
        found = self._find(parent, name)
        if not isinstance(found, h5py.Group):
            raise UnsafeFileError(f"has no group {name[:60]!a}")
        return found

    def array(self, parent: h5py.Group, name: str) -> np.ndarray:
        """Reads one array of finite numbers; floating-point ones are converted to float32."""
        found = self._find(parent, name)
        if not isinstance(found, h5py.Dataset):
            raise UnsafeFileError(f"has no array {name[:60]!a}")
        if found.external or found.is_virtual:
            raise UnsafeFileError(f"keeps the array {name[:60]!a} in another file")
        # NumPy has no bfloat16, the upper half of a float32: Keras stores the dtype in an attribute.
        half = found.dtype == "V2" and str(found.attrs.get("dtype")) == "bfloat16"
        if not half and (found.dtype.kind not in "fiub" or found.dtype.itemsize > 8):
            raise UnsafeFileError(f"holds the array {name[:60]!a} of {found.dtype}, not of numbers")
        size = math.prod(found.shape) * found.dtype.itemsize
        times, above = _EXPANSION
        self._bytes += size
        if self._bytes > _WEIGHTS or (size > above and size > times * found.id.get_storage_size()):
            raise UnsafeFileError(f"claims {size / 2**20:,.0f} MiB for the array {name[:60]!a} but stores far fewer")
        values = np.asarray(found[()])
        if half:
            values = (values.view(np.uint16).astype(np.uint32) << 16).view(np.float32)
        if values.dtype.kind == "f":
            with np.errstate(over="ignore"):  # overflow gives infinity, which is refused
                values = values.astype(np.float32)
            if not np.isfinite(values).all():
                raise UnsafeFileError(f"has weights {name[:60]!a} that are not all finite numbers")
        self.count += values.size
        return values

    def _find(self, parent: h5py.Group, name: str) -> Any:
        for part in name.split("/"):
            self._items += 1
            if self._items > 4 * _ITEMS:
                raise UnsafeFileError("holds more groups and arrays than any model needs")
            # Absolute paths are not found; ".." has no special meaning in HDF5 and is looked up as a name.
            if not part or not isinstance(parent, h5py.Group) or part not in parent:
                return None
            link = parent.get(part, getlink=True)
            if not isinstance(link, h5py.HardLink):
                raise UnsafeFileError(f"has a link instead of data at {part[:60]!a} ({type(link).__name__})")
            parent = parent[part]
        return parent


if __name__ == "__main__":
    main(*sys.argv[1:])
