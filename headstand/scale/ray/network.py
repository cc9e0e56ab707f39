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

import keras  # isort: skip - after headstand.tensorflow_setup, which silences TensorFlow
import tensorflow as tf  # isort: skip

Block = dict[str, np.ndarray]


def packed(model: keras.Model) -> tuple[str, list[np.ndarray]]:
    """Returns a network in a form for Ray's object store: architecture as JSON, and weights.

    Workers on the same machine share the weights in its object store.
    """
    return model.to_json(), model.get_weights()


def blocks(jobs: Iterator[Job], keys: np.ndarray, digests: Sequence[str], pictures: int) -> Iterator[bytes]:
    """Yields jobs as pickled blocks; a block is computed and written, or lost, as a whole.

    Args:
        jobs: photos and views, all of a photo together.
        keys: the cache key of each position, `V32 [M]`.
        digests: hex SHA-256 of the N photos, by position modulo N.
        pictures: smallest number of images in a block, except for the last one.
    """
    block: list[Job] = []

    def sealed() -> bytes:
        return pickle.dumps(
            [
                (str(path), place, name, keys[place].tobytes(), digests[place % len(digests)])
                for path, place, name in block
            ]
        )

    for group in grouped(jobs):
        if len(block) >= pictures:
            yield sealed()
            block = []
        block += group
    if block:
        yield sealed()


def decode(block: Block, kind: InputKind, augmentation: Augmentation) -> Block:
    """Reads and decodes the photos of a block.

    Returns:
        `place` `int64 [N]`, the positions; `key` `uint8 [N, 32]`; `pixels`, the network's input; and `trouble`
        `str [N]`: empty, or in a single row why a photo cannot be used. The reason is returned because Ray would turn
        an exception into a longer text of its own.
    """
    try:
        return _decoded(block, kind, augmentation)
    except FeatureError as error:
        nothing = np.zeros((1, 1), np.uint8)
        return {"place": np.array([-1]), "key": nothing, "pixels": nothing, "trouble": np.array([str(error)])}


def _decoded(block: Block, kind: InputKind, augmentation: Augmentation) -> Block:
    known = pickle.loads(block["jobs"][0])  # noqa: S301 - trusted: written by `blocks`
    keys = {place: key for _, place, _, key, _ in known}
    for path, digest in dict.fromkeys((path, digest) for path, _, _, _, digest in known):
        _check(Path(path), digest)
    jobs = ((Path(path), place, name) for path, place, name, _, _ in known)
    places, pixels = [], []
    # One thread: Ray assigned at most one processor to the task.
    for some, pictures in decoded(grouped(jobs), kind, augmentation, threads=1):
        places += some
        pixels.append(pictures)
    names = b"".join(keys[place] for place in places)
    return {
        "place": np.array(places),
        "key": np.frombuffer(names, np.uint8).reshape(len(places), -1),
        "pixels": np.concatenate(pixels),
        "trouble": np.full(len(places), ""),
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
        told = {name: block[name] for name in ("place", "trouble")}
        if block["trouble"][0]:
            return told
        pixels = block["pixels"]
        rows = [
            np.asarray(self._call(tf.constant(pixels[start : start + BATCH]))) for start in range(0, len(pixels), BATCH)
        ]
        self._shards.write(block["key"], np.concatenate(rows).reshape(len(pixels), -1))
        return told


def _check(path: Path, digest: str) -> None:
    try:
        found = hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        raise FeatureError(
            f"a worker cannot read the prepared photo {path} ({error.strerror}): the folder data/ must lie where all "
            "machines of the cluster see it, at the same path"
        ) from None
    if found != digest:
        raise FeatureError(f"{path} is not the file that was prepared: run `python data_preparation.py` again")
