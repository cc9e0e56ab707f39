"""Ray worker code of feature extraction: tasks decode photos, actors run the network and write cache shards."""

import hashlib
import pickle
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from headstand.features import BATCH, FeatureError, compiled
from headstand.features.decoding import Job, decoded, grouped
from headstand.inputs import InputKind
from headstand.recipe import Augmentation
from headstand.scale.ray.shards import Shards

import headstand.tensorflow_setup  # noqa: F401 # isort: skip - before the first import of Keras
import keras  # isort: skip
import tensorflow as tf  # isort: skip

Block = dict[str, np.ndarray]


def packed(model: keras.Model) -> tuple[str, list[np.ndarray]]:
    """Returns a network in a form for Ray's object store: architecture as JSON, and weights.

    Workers on the same machine share the weights in its object store.
    """
    return model.to_json(), model.get_weights()


def blocks(jobs: Iterator[Job], keys: np.ndarray, digests: Sequence[str], images: int) -> Iterator[bytes]:
    """Yields jobs as pickled blocks; a block is computed and written, or lost, as a whole.

    Args:
        jobs: photos and views, all of a photo together.
        keys: the cache key of each row, `V32 [M]`.
        digests: hex SHA-256 of the N photos, by row index modulo N.
        images: smallest number of images in a block, except for the last one.
    """
    block: list[Job] = []

    def pickled() -> bytes:
        return pickle.dumps(
            [
                (str(path), index, view_key, keys[index].tobytes(), digests[index % len(digests)])
                for path, index, view_key in block
            ]
        )

    for group in grouped(jobs):
        if len(block) >= images:
            yield pickled()
            block = []
        block += group
    if block:
        yield pickled()


def decode(block: Block, kind: InputKind, augmentation: Augmentation) -> Block:
    """Reads and decodes the photos of a block.

    Returns:
        `index` `int64 [N]`, the row indices; `key` `uint8 [N, 32]`; `pixels`, the network's input; and `error`
        `str [N]`: empty, or in a single row why a photo cannot be used. The reason is returned because Ray would turn
        an exception into a longer text of its own.
    """
    try:
        return _decoded(block, kind, augmentation)
    except FeatureError as error:
        empty = np.zeros((1, 1), np.uint8)
        return {"index": np.array([-1]), "key": empty, "pixels": empty, "error": np.array([str(error)])}


def _decoded(block: Block, kind: InputKind, augmentation: Augmentation) -> Block:
    entries = pickle.loads(block["jobs"][0])  # noqa: S301 - trusted: written by `blocks`
    keys = {index: key for _, index, _, key, _ in entries}
    for path, digest in dict.fromkeys((path, digest) for path, _, _, _, digest in entries):
        _check(Path(path), digest)
    jobs = ((Path(path), index, view_key) for path, index, view_key, _, _ in entries)
    indices, pixels = [], []
    # One thread: Ray assigned at most one processor to the task.
    for batch_indices, batch_pixels in decoded(grouped(jobs), kind, augmentation, threads=1):
        indices += batch_indices
        pixels.append(batch_pixels)
    return {
        "index": np.array(indices),
        "key": np.frombuffer(b"".join(keys[index] for index in indices), np.uint8).reshape(len(indices), -1),
        "pixels": np.concatenate(pixels),
        "error": np.full(len(indices), ""),
    }


class Network:
    """Ray actor that keeps the network loaded and computes a cache shard from each block of pixels."""

    def __init__(self, network: Any, folder: str) -> None:
        """Builds the network.

        Args:
            network: Ray object reference to the result of `packed`.
            folder: the cache folder as workers access it: a path or a remote address.
        """
        import ray

        layers, weights = ray.get(network)
        model = keras.models.model_from_json(layers)
        model.set_weights(weights)
        self._call, self._shards = compiled(model), Shards(folder)

    def __call__(self, block: Block) -> Block:
        """Computes the rows of a block, writes them as a shard and returns the block without keys and pixels."""
        result = {name: block[name] for name in ("index", "error")}
        if block["error"][0]:
            return result
        pixels = block["pixels"]
        rows = [
            np.asarray(self._call(tf.constant(pixels[start : start + BATCH]))) for start in range(0, len(pixels), BATCH)
        ]
        self._shards.write(block["key"], np.concatenate(rows).reshape(len(pixels), -1))
        return result


def _check(path: Path, digest: str) -> None:
    try:
        found = hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        raise FeatureError(
            f"a worker cannot read the prepared photo {path} ({error.strerror}): all machines of the cluster must have "
            "the folder data/ at the same path"
        ) from None
    if found != digest:
        raise FeatureError(f"{path} is not the file that was prepared: prepare the data again")
