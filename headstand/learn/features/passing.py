"""A network's pass over photos: names, cache, and what is missing computed."""

import math
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf
from tqdm import tqdm

from headstand import inputs, remote
from headstand.learn.augment import identity
from headstand.learn.cache import KEY_BYTES, FeatureCache
from headstand.learn.features.decoding import Job, decoded, grouped
from headstand.learn.features.photo import FeatureError, digest
from headstand.learn.features.rows import Rows
from headstand.learn.tracking.stopwatch import CACHE, NETWORK, WAITING, Stopwatch
from headstand.prepare.manifest import Photo
from headstand.recipe import Augmentation

_SENT = 8 * 2**20
"""Bytes of rows that make a file at an address: fewer make listing slow, and more are lost with the machine."""

_CHUNK = 1024
"""Photos that are hashed, and rows that are read, at a time: memory must not grow with the number of photos."""


class Pass:
    """One network's pass over photos and their random views, whose answers are computed once and kept.

    `computed` counts the pictures that went through the network so far, `watch` what the time went for.
    """

    def __init__(self, model: keras.Model, folder: Path) -> None:
        """Open the cache.

        Args:
            model: from photos, `float32 [N, size, size, 3]` in 0..255, or heatmaps to one tensor.
            folder: where the cache lies; its name stands for the network, its weights, the size and the decoder.
        """
        self.model = model
        self.input = inputs.of(model.input.shape[1:])
        self.width = math.prod(model.output.shape[1:])
        self.call = compiled(model)
        self.watch, self.computed = Stopwatch(), 0
        self.folder = folder
        self._mirror = remote.cached(folder)
        self.reopen()

    def names(
        self, folder: Path, photos: Sequence[Photo], augmentation: Augmentation, seed: int, views: Sequence[int | None]
    ) -> np.ndarray:
        """The keys of photos (None) and of their views by number: `V32 [len(views), N]`.

        Raises:
            FeatureError: a photo is missing, or its bytes are not those of the manifest.
        """
        names = np.empty((len(views), len(photos)), f"V{KEY_BYTES}")
        with ThreadPoolExecutor() as pool:
            for start in range(0, len(photos), _CHUNK):
                chunk = photos[start : start + _CHUNK]
                for place, own in enumerate(pool.map(lambda photo: digest(folder, photo), chunk), start):
                    for row, number in enumerate(views):
                        name = own if number is None else identity(own, augmentation, seed, number)
                        names[row, place] = np.void(name)
        return names

    def missing(self, names: np.ndarray, into: Rows | None = None) -> list[int]:
        """Positions in `names`, flattened, of what is not in the cache; what is there is written `into`."""
        flat, missing = names.reshape(-1), []
        for start in range(0, len(flat), _CHUNK):
            rows = np.empty((len(flat[start : start + _CHUNK]), self.width), np.float32)
            missing += [start + place for place in self._cache.read(flat[start : start + _CHUNK], rows)]
            if into:
                into.write(start, rows)
        return missing

    def read(self, names: np.ndarray) -> np.ndarray:
        """Rows that are known to be in the cache, `float32 [N, width]`.

        Raises:
            FeatureError: one has been damaged since.
        """
        rows = np.empty((len(names), self.width), np.float32)
        if self._cache.read(names, rows):
            raise FeatureError(f"{self.folder} was damaged during the run: run it again, and that part is made anew")
        return rows

    def reopen(self) -> None:
        """See what others have put into the cache since.

        Raises:
            RemoteError: it lies at an address that cannot be reached.
        """
        if self._mirror:
            self._mirror.pull(_is_shard)
        self._cache = FeatureCache(self.folder, self.width)

    def compute(
        self,
        missing: Sequence[int],
        names: np.ndarray,
        paths: Sequence[Path],
        augmentation: Augmentation,
        views: Sequence[int | None],
        label: str,
    ) -> Iterator[tuple[list[int], np.ndarray]]:
        """Compute what is missing and keep it, batch by batch.

        Args:
            missing: positions in `names`, flattened.
            names: as `names` gives them.
            paths: the files of the N photos.
            augmentation: the settings of the views.
            views: as for `names`.
            label: names the progress bar.

        Yields:
            Positions and their rows `float32 [B, width]`, which are in the cache by then.

        Raises:
            FeatureError: a photo is damaged.
        """
        flat = names.reshape(-1)
        bar = tqdm(total=len(missing), desc=label, unit="image", disable=None if missing else True, leave=False)
        groups = grouped(jobs(missing, names, paths, views))
        unsent = 0
        with bar, self._sending():
            for places, pixels in self.watch.over(WAITING, decoded(groups, self.input, augmentation)):
                with self.watch(NETWORK):
                    rows = self.call(tf.constant(pixels)).numpy().reshape(len(places), self.width)
                with self.watch(CACHE):
                    self._cache.append(flat[places], rows)
                    unsent += rows.nbytes
                    if self._mirror and unsent > _SENT:
                        self._cache.seal()
                        self._mirror.push(_is_shard)
                        unsent = 0
                self.computed += len(places)
                bar.update(len(places))
                yield places, rows

    @contextmanager
    def _sending(self) -> Iterator[None]:
        """Whatever happens inside, what was kept is sent to where others find it."""
        try:
            yield
        finally:
            if self._mirror:
                self._cache.seal()
                self._mirror.push(_is_shard)


def _is_shard(name: str) -> bool:
    return name.endswith(".rows")


def jobs(
    missing: Sequence[int], names: np.ndarray, paths: Sequence[Path], views: Sequence[int | None]
) -> Iterator[Job]:
    """What is to be decoded, all views of a photo one after another; arguments as of `Pass.compute`."""
    flat, count = names.reshape(-1), len(paths)
    for place in sorted(missing, key=lambda place: (place % count, place)):
        yield paths[place % count], place, None if views[place // count] is None else flat[place].tobytes()


def compiled(model: keras.Model) -> Callable[[tf.Tensor], tf.Tensor]:
    """The model in inference mode as a graph over decoded files, `uint8 [N, size, size, 3]` where they are photos.

    Faster and leaner than `predict`.
    """
    kind = inputs.of(model.input.shape[1:])

    @tf.function(input_signature=[tf.TensorSpec([None, *kind.shape], kind.dtype)])
    def call(pixels: tf.Tensor) -> tf.Tensor:
        return model(tf.cast(pixels, tf.float32), training=False)

    return call
