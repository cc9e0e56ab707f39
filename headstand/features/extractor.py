"""Feature extraction: a backbone with an on-disk cache, so that each photo and view passes the network once."""

import hashlib
import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf
from tqdm import tqdm

from headstand import files, inputs, storage, threads
from headstand.features import backbones
from headstand.features.augmentation import view_key
from headstand.features.cache import KEY_BYTES, FeatureCache, FeatureTable
from headstand.features.decoding import FeatureError, Job, decoded, digest, grouped
from headstand.inputs import PhotoInput
from headstand.preparation.manifest import Photo
from headstand.recipe import Augmentation, Backbone
from headstand.recipe.sections import DEPTHS
from headstand.tracking.timing import CACHE, NETWORK, WAITING, Stopwatch

_UPLOAD = 8 * 2**20
"""Bytes of rows per file that is uploaded to a remote address: with smaller files listing is slow, and with larger ones
more is lost if the machine fails."""

_CHUNK = 1024
"""Photos hashed, and rows read, at a time, so that memory does not grow with the number of photos."""


class CachedForwardPass:
    """Cached forward pass of one network over photos and their random views; each output row is computed once.

    `computed` counts the photos and views that the network has processed so far; `stopwatch` holds the seconds by part.
    `after_batch` is called after each batch of the network.
    """

    def __init__(self, model: keras.Model, folder: Path) -> None:
        """Opens the cache.

        Args:
            model: from photos, `float32 [N, size, size, 3]` in 0..255, or heatmaps to one tensor.
            folder: folder of the cache; its name must identify the network, its weights, the size and the decoder.

        Raises:
            RemoteError: the cache is at a remote address that cannot be reached.
        """
        self.model = model
        self.input = inputs.of(model.input.shape[1:])
        self.width = math.prod(model.output.shape[1:])
        self.call = compiled(model)
        self.after_batch: Callable[[], None] = lambda: None
        self.stopwatch, self.computed = Stopwatch(), 0
        self.folder = folder
        self._mirror = storage.cached(folder)
        self.reopen()

    def keys(
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
        keys = np.empty((len(views), len(photos)), f"V{KEY_BYTES}")
        for column, sha256 in enumerate(threads.parallel(lambda photo: digest(folder, photo), photos)):
            for row, number in enumerate(views):
                key = sha256 if number is None else view_key(sha256, augmentation, seed, number)
                keys[row, column] = np.void(key)
        return keys

    def missing(self, keys: np.ndarray, into: FeatureTable | None = None) -> list[int]:
        """Returns the indices in flattened `keys` that are not in the cache; writes the cached rows to `into`."""
        flat, missing = keys.reshape(-1), []
        for start in range(0, len(flat), _CHUNK):
            rows = np.empty((len(flat[start : start + _CHUNK]), self.width), np.float32)
            missing += [start + index for index in self._cache.read(flat[start : start + _CHUNK], rows)]
            if into:
                into.write(start, rows)
        return missing

    def read(self, keys: np.ndarray) -> np.ndarray:
        """Returns rows that must be in the cache, `float32 [N, width]`.

        Raises:
            FeatureError: a row is missing or damaged.
        """
        rows = np.empty((len(keys), self.width), np.float32)
        if self._cache.read(keys, rows):
            raise FeatureError(f"{self.folder} was damaged during the run: run it again to compute the damaged part")
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
        keys: np.ndarray,
        paths: Sequence[Path],
        augmentation: Augmentation,
        views: Sequence[int | None],
        label: str,
    ) -> Iterator[tuple[list[int], np.ndarray]]:
        """Computes the missing rows batch by batch and adds each batch to the cache before yielding it.

        Args:
            missing: indices in the flattened `keys`.
            keys: cache keys from the method `keys`.
            paths: files of the N photos.
            augmentation: settings of the views.
            views: indices of the views, as in the method `keys`.
            label: title of the progress bar.

        Yields:
            Indices and their rows, `float32 [B, width]`.

        Raises:
            FeatureError: a photo is damaged.
        """
        flat = keys.reshape(-1)
        bar = tqdm(total=len(missing), desc=label, unit="image", disable=None if missing else True, leave=False)
        groups = grouped(jobs(missing, keys, paths, views))
        pending = 0
        with bar, self._uploading():
            for indices, pixels in self.stopwatch.over(WAITING, decoded(groups, self.input, augmentation)):
                with self.stopwatch(NETWORK):
                    rows = self.call(tf.constant(pixels)).numpy().reshape(len(indices), self.width)
                self.after_batch()
                with self.stopwatch(CACHE):
                    self._cache.append(flat[indices], rows)
                    pending += rows.nbytes
                    if self._mirror and pending > _UPLOAD:
                        self._cache.seal()
                        self._mirror.push(_is_shard)
                        pending = 0
                self.computed += len(indices)
                bar.update(len(indices))
                yield indices, rows

    @contextmanager
    def _uploading(self) -> Iterator[None]:
        """Uploads the new cache files to the remote address, if any, after the block, also if it fails."""
        try:
            yield
        finally:
            if self._mirror:
                self._cache.seal()
                self._mirror.push(_is_shard)


def _is_shard(name: str) -> bool:
    return name.endswith(".rows")


def jobs(missing: Sequence[int], keys: np.ndarray, paths: Sequence[Path], views: Sequence[int | None]) -> Iterator[Job]:
    """Yields the decoding jobs of the missing rows, ordered by photo; arguments as in `CachedForwardPass.compute`."""
    flat, count = keys.reshape(-1), len(paths)
    for index in sorted(missing, key=lambda index: (index % count, index)):
        yield paths[index % count], index, None if views[index // count] is None else flat[index].tobytes()


def compiled(model: keras.Model) -> Callable[[tf.Tensor], tf.Tensor]:
    """Returns the model in inference mode as a TensorFlow graph over decoded files.

    Its input is `uint8 [N, size, size, 3]` for photos. It is faster and takes less memory than `model.predict`.
    """
    kind = inputs.of(model.input.shape[1:])

    @tf.function(input_signature=[tf.TensorSpec([None, *kind.shape], kind.dtype)])
    def call(pixels: tf.Tensor) -> tf.Tensor:
        return model(tf.cast(pixels, tf.float32), training=False)

    return call


@dataclass(frozen=True)
class Extraction:
    """Features of photos or views, and how many of them were computed because they were not in the cache.

    `rows` is `float32 [N, D]` for photos and `[K, N, D]` for K views of each. It is a memory map of an unnamed
    temporary file; pages are loaded when they are read.
    """

    rows: np.ndarray
    computed: int


class Extractor(CachedForwardPass):
    """A backbone with its feature cache; the constructor loads the network, `rows` runs it only on a cache miss.

    The cache holds the features of all depths; `feature_model` is the model that computes those of the recipe.
    """

    def __init__(self, backbone: Backbone) -> None:
        self.backbone = backbone
        model = backbones.extractor(backbone.model_copy(update={"depths": DEPTHS}))
        kind = backbone.input
        space = f"{backbone.pooling}|{DEPTHS} depths|{kind.decoder}|{backbones.digest(model)}"
        if not isinstance(kind, PhotoInput) and (version := kind.backbones[backbone.name]):
            space += f"|{version}"
        name = (
            f"{backbones.folder_name(backbone.name)}-{backbone.size}-{hashlib.sha256(space.encode()).hexdigest()[:16]}"
        )
        super().__init__(model, files.cache() / "features" / name)
        self.feature_model = model if backbone.depths == DEPTHS else backbones.extractor(backbone, like=model)

    def compute_ahead(self, folder: Path, photos: Sequence[Photo]) -> int:
        """Computes features that later calls of `rows` need, if one large batch is faster; returns how many.

        This implementation computes none.
        """
        return 0

    def rows(self, folder: Path, photos: Sequence[Photo], label: str = "features") -> Extraction:
        """Returns the features of prepared photos, from the cache if it holds them.

        Args:
            folder: folder of the prepared dataset.
            photos: rows of its manifest.
            label: title of the progress bar.

        Raises:
            FeatureError: a photo is missing or damaged, or its bytes are not those of the manifest.
        """
        extraction = self._extract(folder, photos, Augmentation(), 0, (None,), label)
        return Extraction(extraction.rows[0], extraction.computed)

    def views(
        self, folder: Path, photos: Sequence[Photo], augmentation: Augmentation, seed: int, label: str = "views"
    ) -> Extraction:
        """Returns the features `float32 [K, N, D]` of K = `augmentation.views` random views of each photo.

        A view is a function of the photo's bytes, the settings, the seed and its index. Caching and errors are as in
        `rows`.
        """
        return self._extract(folder, photos, augmentation, seed, range(augmentation.views), label)

    def _extract(
        self,
        folder: Path,
        photos: Sequence[Photo],
        augmentation: Augmentation,
        seed: int,
        views: Sequence[int | None],
        label: str,
    ) -> Extraction:
        keys = self.keys(folder, photos, augmentation, seed, views)
        with FeatureTable(self.folder, keys.size, self.width) as table:
            missing = self.missing(keys, table)
            paths = [folder / photo.path for photo in photos]
            for indices, rows in self.compute(missing, keys, paths, augmentation, views, label):
                for index, row in zip(indices, rows, strict=True):
                    table.write(index, row)
            values = table.mapped().reshape(*keys.shape, self.width)
            return Extraction(values[..., : self.feature_model.output.shape[-1]], len(missing))
