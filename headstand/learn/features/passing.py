"""A network's pass over photos: names, cache, and what is missing computed."""

import math
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf
from tqdm import tqdm

from headstand import inputs
from headstand.learn.augment import identity
from headstand.learn.cache import KEY_BYTES, FeatureCache
from headstand.learn.features.decoding import decoded, grouped
from headstand.learn.features.photo import FeatureError, digest
from headstand.learn.features.rows import Rows
from headstand.learn.tracking.stopwatch import CACHE, NETWORK, WAITING, Stopwatch
from headstand.prepare.manifest import Photo
from headstand.recipe import Augmentation

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
        self._cache = FeatureCache(folder, self.width)

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
        flat, count = names.reshape(-1), len(paths)
        bar = tqdm(total=len(missing), desc=label, unit="image", disable=None if missing else True, leave=False)
        # All views of a photo one after another, so that it is decoded once for them.
        order = sorted(missing, key=lambda place: (place % count, place))
        jobs = (
            (paths[place % count], place, None if views[place // count] is None else flat[place].tobytes())
            for place in order
        )
        with bar:
            for places, pixels in self.watch.over(WAITING, decoded(grouped(jobs), self.input, augmentation)):
                with self.watch(NETWORK):
                    rows = self.call(tf.constant(pixels)).numpy().reshape(len(places), self.width)
                with self.watch(CACHE):
                    self._cache.append(flat[places], rows)
                self.computed += len(places)
                bar.update(len(places))
                yield places, rows


def compiled(model: keras.Model) -> Callable[[tf.Tensor], tf.Tensor]:
    """The model in inference mode as a graph over decoded files, `uint8 [N, size, size, 3]` where they are photos.

    Faster and leaner than `predict`.
    """
    kind = inputs.of(model.input.shape[1:])

    @tf.function(input_signature=[tf.TensorSpec([None, *kind.shape], kind.dtype)])
    def call(pixels: tf.Tensor) -> tf.Tensor:
        return model(tf.cast(pixels, tf.float32), training=False)

    return call
