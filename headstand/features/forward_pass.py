"""Cached forward pass of a network over photos: cache keys, cache lookup, and computation of the missing rows."""

import math
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf
from tqdm import tqdm

from headstand import inputs, storage
from headstand.features.augmentation import identity
from headstand.features.cache import KEY_BYTES, FeatureCache
from headstand.features.decoding import Job, decoded, grouped
from headstand.features.feature_table import FeatureTable
from headstand.features.photo import FeatureError, digest
from headstand.prepare.manifest import Photo
from headstand.recipe import Augmentation
from headstand.tracking.stopwatch import CACHE, NETWORK, WAITING, Stopwatch

_SENT = 8 * 2**20
"""Bytes of rows per file that is uploaded to a remote address: with smaller files listing is slow, and with larger ones
more is lost if the machine fails."""

_CHUNK = 1024
"""Photos hashed, and rows read, at a time, so that memory does not grow with the number of photos."""


class CachedForwardPass:
    """Cached forward pass of one network over photos and their random views; each output row is computed once.

    `computed` counts the photos and views that the network has processed so far; `watch` holds the seconds by part.
    """

    def __init__(self, model: keras.Model, folder: Path) -> None:
        """Opens the cache.

        Args:
            model: from photos, `float32 [N, size, size, 3]` in 0..255, or other decoded inputs, to one tensor.
            folder: folder of the cache; its name must identify the network, its weights, the size and the decoder.

        Raises:
            RemoteError: the cache is at a remote address that cannot be reached.
        """
        self.model = model
        self.input = inputs.of(model.input.shape[1:])
        self.width = math.prod(model.output.shape[1:])
        self.call = compiled(model)
        self.watch, self.computed = Stopwatch(), 0
        self.folder = folder
        self._mirror = storage.cached(folder)
        self.reopen()

    def names(
        self, folder: Path, photos: Sequence[Photo], augmentation: Augmentation, seed: int, views: Sequence[int | None]
    ) -> np.ndarray:
        """Returns the cache keys of photos and views, `V32 [len(views), N]`.

        Args:
            folder: folder of the prepared dataset.
            photos: N rows of its manifest.
            augmentation: settings of the views.
            seed: seed of the views.
            views: indices of the views; None stands for the unaugmented photo.

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

    def missing(self, names: np.ndarray, into: FeatureTable | None = None) -> list[int]:
        """Returns the positions in flattened `names` that are not in the cache; writes the cached rows to `into`."""
        flat, missing = names.reshape(-1), []
        for start in range(0, len(flat), _CHUNK):
            rows = np.empty((len(flat[start : start + _CHUNK]), self.width), np.float32)
            missing += [start + place for place in self._cache.read(flat[start : start + _CHUNK], rows)]
            if into:
                into.write(start, rows)
        return missing

    def read(self, names: np.ndarray) -> np.ndarray:
        """Returns rows that must be in the cache, `float32 [N, width]`.

        Raises:
            FeatureError: a row is missing or damaged.
        """
        rows = np.empty((len(names), self.width), np.float32)
        if self._cache.read(names, rows):
            raise FeatureError(f"{self.folder} was damaged during the run: run it again, and that part is made anew")
        return rows

    def reopen(self) -> None:
        """Opens the cache again, to include rows that other processes have added.

        Raises:
            RemoteError: the cache is at a remote address that cannot be reached.
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
        """Computes the missing rows batch by batch and adds each batch to the cache before yielding it.

        Args:
            missing: positions in the flattened `names`.
            names: cache keys from the method `names`.
            paths: files of the N photos.
            augmentation: settings of the views.
            views: indices of the views, as in the method `names`.
            label: title of the progress bar.

        Yields:
            Positions and their rows, `float32 [B, width]`.

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
        """Uploads the new cache files to the remote address, if any, after the block, also if it fails."""
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
    """Yields the decoding jobs of the missing rows, ordered by photo; arguments as in `CachedForwardPass.compute`."""
    flat, count = names.reshape(-1), len(paths)
    for place in sorted(missing, key=lambda place: (place % count, place)):
        yield paths[place % count], place, None if views[place // count] is None else flat[place].tobytes()


def compiled(model: keras.Model) -> Callable[[tf.Tensor], tf.Tensor]:
    """Returns the model in inference mode as a TensorFlow graph over decoded files.

    Its input is `uint8 [N, size, size, 3]` for photos. It is faster and takes less memory than `model.predict`.
    """
    kind = inputs.of(model.input.shape[1:])

    @tf.function(input_signature=[tf.TensorSpec([None, *kind.shape], kind.dtype)])
    def call(pixels: tf.Tensor) -> tf.Tensor:
        return model(tf.cast(pixels, tf.float32), training=False)

    return call
