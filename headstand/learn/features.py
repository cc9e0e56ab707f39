"""Each image goes through the backbone once: files in, cached feature rows out."""

import hashlib
import math
import tempfile
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
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
from headstand.learn.augment import Source, identity, named_view
from headstand.learn.cache import KEY_BYTES, FeatureCache
from headstand.learn.tracking.stopwatch import CACHE, NETWORK, WAITING, Stopwatch
from headstand.prepare.cache import root
from headstand.prepare.manifest import Photo
from headstand.recipe import Augmentation, Backbone

BATCH = 32
"""Images a step: 20 to 32 measured fastest on two cores, and what is lost at most when the work is interrupted."""

_AHEAD = 3
"""Batches that are decoded while one is computed."""

_CHUNK = 1024
"""Photos that are hashed, and rows that are read, at a time: memory must not grow with the number of photos."""


class FeatureError(HeadstandError):
    """A prepared photo that is missing, damaged or not the one that was prepared."""


@dataclass(frozen=True)
class Extraction:
    """Features of some photos: `rows` is `float32 [N, D]`; `computed` of them were not in the cache.

    Of views it is `[K, N, D]`. The rows lie in a file without a name and are mapped; what reads them pages them in.
    """

    rows: np.ndarray
    computed: int


class Pass:
    """One network's pass over photos and their random views, whose answers are computed once and kept.

    `computed` counts the pictures that went through the network so far, `watch` what the time went for.
    """

    def __init__(self, model: keras.Model, folder: Path) -> None:
        """Open the cache.

        Args:
            model: from `float32 [N, size, size, 3]` in 0..255 to one tensor.
            folder: where the cache lies; its name stands for the network, its weights, the size and the decoder.
        """
        self.model = model
        self.size = int(model.input.shape[1])
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

    def missing(self, names: np.ndarray, into: "_Rows | None" = None) -> list[int]:
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
            for places, pixels in self.watch.over(WAITING, _decoded(_grouped(jobs), self.size, augmentation)):
                with self.watch(NETWORK):
                    rows = self.call(tf.constant(pixels)).numpy().reshape(len(places), self.width)
                with self.watch(CACHE):
                    self._cache.append(flat[places], rows)
                self.computed += len(places)
                bar.update(len(places))
                yield places, rows


class Extractor(Pass):
    """A backbone with its cache. Building it loads the network; `rows` of a warm cache never runs it."""

    def __init__(self, backbone: Backbone) -> None:
        self.backbone = backbone
        model = backbones.extractor(backbone)
        space = f"{backbone.pooling}|{images.DECODER}|{backbones.digest(model)}"
        name = f"{backbone.name}-{backbone.size}-{hashlib.sha256(space.encode()).hexdigest()[:16]}"
        super().__init__(model, root() / "features" / name)

    def rows(self, folder: Path, photos: Sequence[Photo], label: str = "features") -> Extraction:
        """Features of prepared photos, from the cache where they are known.

        Args:
            folder: the prepared dataset's folder.
            photos: rows of its manifest.
            label: names the progress bar.

        Raises:
            FeatureError: a photo is missing, damaged, or its bytes are not those of the manifest.
        """
        found = self._extract(folder, photos, Augmentation(), 0, (None,), label)
        return Extraction(found.rows[0], found.computed)

    def views(
        self, folder: Path, photos: Sequence[Photo], augmentation: Augmentation, seed: int, label: str = "views"
    ) -> Extraction:
        """Features `float32 [K, N, D]` of K = `augmentation.views` random views of each photo, as `rows` has them.

        A view is a function of the photo's bytes, the settings, the seed and its number.
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
        names = self.names(folder, photos, augmentation, seed, views)
        with _Rows(self.folder, names.size, self.width) as rows:
            missing = self.missing(names, rows)
            paths = [folder / photo.path for photo in photos]
            for places, computed in self.compute(missing, names, paths, augmentation, views, label):
                for place, row in zip(places, computed, strict=True):
                    rows.write(place, row)
            return Extraction(rows.mapped().reshape(*names.shape, self.width), len(missing))


class _Rows:
    """A table `float32 [count, width]` in a file without a name, which goes when nothing refers to it any more."""

    def __init__(self, folder: Path, count: int, width: int) -> None:
        self._file = tempfile.TemporaryFile(dir=folder, buffering=0)  # noqa: SIM115 - closed by __exit__
        self._shape = count, width

    def __enter__(self) -> "_Rows":
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def write(self, place: int, rows: np.ndarray) -> None:
        """Put rows from `place` on. Written and not through the map: its pages would count as the process's own."""
        self._file.seek(place * self._shape[1] * 4)
        data = memoryview(np.ascontiguousarray(rows, "<f4").tobytes())
        while data:
            data = data[self._file.write(data) :]

    def mapped(self) -> np.ndarray:
        """The table, to be read; it outlives the closing of the file."""
        if not self._shape[0]:
            return np.empty(self._shape, np.float32)
        return np.memmap(self._file, np.float32, "r", shape=self._shape)


def compiled(model: keras.Model) -> Callable[[tf.Tensor], tf.Tensor]:
    """The model in inference mode as a graph over `uint8 [N, size, size, 3]`: faster and leaner than `predict`."""

    @tf.function(input_signature=[tf.TensorSpec([None, *model.input.shape[1:]], tf.uint8)])
    def call(pixels: tf.Tensor) -> tf.Tensor:
        return model(tf.cast(pixels, tf.float32), training=False)

    return call


def digest(folder: Path, photo: Photo) -> bytes:
    """The SHA-256 of a prepared photo's bytes.

    Raises:
        FeatureError: it is missing, or not the file that was prepared.
    """
    remedy = f"run `python data_preparation.py {folder.name}` again"
    try:
        found = hashlib.sha256((folder / photo.path).read_bytes())
    except OSError as error:
        raise FeatureError(
            f"cannot read the prepared photo {folder / photo.path} ({error.strerror}): {remedy}"
        ) from error
    if found.hexdigest() != photo.sha256:
        raise FeatureError(f"{folder / photo.path} is not the file that was prepared: {remedy}")
    return found.digest()


_Job = tuple[Path, int, bytes | None]
"""A photo's file, a position, and the view's name; None for the photo itself."""


def _grouped(jobs: Iterable[_Job]) -> Iterator[list[_Job]]:
    """Jobs of one photo together, at most a batch of them."""
    group: list[_Job] = []
    for job in jobs:
        if group and (job[0] != group[0][0] or len(group) == BATCH):
            yield group
            group = []
        group.append(job)
    if group:
        yield group


def _pictures(group: Sequence[_Job], size: int, augmentation: Augmentation) -> list[np.ndarray]:
    """One photo itself and as views, `uint8 [size, size, 3]` each."""
    path = group[0][0]
    try:
        data = images.read(path)
        source = Source(data, size, augmentation) if any(name for _, _, name in group) else None
        return [
            named_view(source, size, augmentation, name) if source and name else images.decode(data, size)
            for _, _, name in group
        ]
    except images.ImageError as error:
        raise FeatureError(f"{path}: {error}; take it out of the source and prepare again") from error


def _decoded(
    groups: Iterator[list[_Job]], size: int, augmentation: Augmentation
) -> Iterator[tuple[list[int], np.ndarray]]:
    """Batches of positions and `uint8 [B, size, size, 3]`, decoded ahead on threads (Pillow frees the interpreter)."""
    with ThreadPoolExecutor() as pool:
        ahead: deque[tuple[list[_Job], Future[list[np.ndarray]]]] = deque()
        waiting, batch = 0, list[tuple[int, np.ndarray]]()
        while True:
            while waiting <= _AHEAD * BATCH and (group := next(groups, None)):
                ahead.append((group, pool.submit(_pictures, group, size, augmentation)))
                waiting += len(group)
            if not ahead:
                break
            group, future = ahead.popleft()
            waiting -= len(group)
            for (_, place, _), picture in zip(group, future.result(), strict=True):
                batch.append((place, picture))
                if len(batch) == BATCH:
                    yield [place for place, _ in batch], np.stack([picture for _, picture in batch])
                    batch.clear()
        if batch:
            yield [place for place, _ in batch], np.stack([picture for _, picture in batch])
