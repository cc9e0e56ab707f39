"""Each image goes through the backbone once: files in, cached feature rows out."""

import hashlib
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf
from tqdm import tqdm

from headstand import images
from headstand.errors import HeadstandError
from headstand.learn import backbones
from headstand.learn.cache import FeatureCache
from headstand.prepare.cache import root
from headstand.prepare.manifest import Photo
from headstand.recipe import Backbone

BATCH = 32
"""Images a step: 20 to 32 measured fastest on two cores, and what is lost at most when the work is interrupted."""

_AHEAD = 3
"""Batches that are decoded while one is computed."""


class FeatureError(HeadstandError):
    """A prepared photo that is missing, damaged or not the one that was prepared."""


@dataclass(frozen=True)
class Extraction:
    """Features of some photos: `rows` is `float32 [N, D]`; `computed` of them were not in the cache."""

    rows: np.ndarray
    computed: int


class Extractor:
    """A backbone with its cache. Building it loads the network; `rows` of a warm cache never runs it."""

    def __init__(self, backbone: Backbone) -> None:
        self.backbone = backbone
        self.model: keras.Model = backbones.extractor(backbone)
        self.width = int(self.model.output.shape[-1])
        space = f"{backbone.pooling}|{images.DECODER}|{backbones.digest(self.model)}"
        name = f"{backbone.name}-{backbone.size}-{hashlib.sha256(space.encode()).hexdigest()[:16]}"
        self._cache = FeatureCache(root() / "features" / name, self.width)
        self.call = compiled(self.model)

    def rows(self, folder: Path, photos: Sequence[Photo], label: str = "features") -> Extraction:
        """Features of prepared photos, from the cache where they are known.

        Args:
            folder: the prepared dataset's folder.
            photos: rows of its manifest.
            label: names the progress bar.

        Raises:
            FeatureError: a photo is missing, damaged, or its bytes are not those of the manifest.
        """
        # The bytes are hashed rather than the manifest believed: a changed photo must be a miss and not a stale row.
        with ThreadPoolExecutor() as pool:
            keys = list(pool.map(lambda photo: _key(folder, photo), photos))
        rows = np.empty((len(photos), self.width), np.float32)
        missing = self._cache.read(keys, rows)
        bar = tqdm(total=len(missing), desc=label, unit="image", disable=None if missing else True, leave=False)
        with bar:
            for places, pixels in _decoded(
                [(place, folder / photos[place].path) for place in missing], self.backbone.size
            ):
                rows[places] = self.call(tf.constant(pixels)).numpy()
                self._cache.append([keys[place] for place in places], rows[places])
                bar.update(len(places))
        return Extraction(rows, len(missing))


def compiled(model: keras.Model) -> Callable[[tf.Tensor], tf.Tensor]:
    """The model in inference mode as a graph over `uint8 [N, size, size, 3]`: faster and leaner than `predict`."""

    @tf.function(input_signature=[tf.TensorSpec([None, *model.input.shape[1:]], tf.uint8)])
    def call(pixels: tf.Tensor) -> tf.Tensor:
        return model(tf.cast(pixels, tf.float32), training=False)

    return call


def _key(folder: Path, photo: Photo) -> bytes:
    remedy = f"run `python data_preparation.py {folder.name}` again"
    try:
        digest = hashlib.sha256((folder / photo.path).read_bytes())
    except OSError as error:
        raise FeatureError(
            f"cannot read the prepared photo {folder / photo.path} ({error.strerror}): {remedy}"
        ) from error
    if digest.hexdigest() != photo.sha256:
        raise FeatureError(f"{folder / photo.path} is not the file that was prepared: {remedy}")
    return digest.digest()


def _pixels(path: Path, size: int) -> np.ndarray:
    try:
        return images.decode(path, size)
    except images.ImageError as error:
        raise FeatureError(f"{path}: {error}; take it out of the source and prepare again") from error


def _decoded(work: Sequence[tuple[int, Path]], size: int) -> Iterator[tuple[list[int], np.ndarray]]:
    """Batches of places and `uint8 [B, size, size, 3]`, decoded ahead on threads (Pillow frees the interpreter)."""
    batches = deque(work[start : start + BATCH] for start in range(0, len(work), BATCH))
    with ThreadPoolExecutor() as pool:
        ahead: deque[tuple[list[int], list[Future[np.ndarray]]]] = deque()
        while batches or ahead:
            while batches and len(ahead) <= _AHEAD:
                batch = batches.popleft()
                ahead.append(([place for place, _ in batch], [pool.submit(_pixels, path, size) for _, path in batch]))
            places, pending = ahead.popleft()
            yield places, np.stack([future.result() for future in pending])
