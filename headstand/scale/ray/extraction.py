"""Feature extraction on all machines of a Ray cluster, into one shared feature cache."""

import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import ray
import ray.data
from tqdm import tqdm

from headstand.features import Extractor, FeatureError
from headstand.features.augmentation import view_key
from headstand.features.cache import KEY_BYTES
from headstand.features.extractor import jobs
from headstand.preparation.manifest import Photo
from headstand.recipe import Augmentation
from headstand.scale.ray.connection import ClusterError, cluster_failure, size
from headstand.scale.ray.forward_pass import Network, blocks, decode, packed

_LARGEST = 32 * 2**20
"""Largest size of a block in bytes of pixels: several blocks must fit into a small object store."""

_BLOCK_IMAGES = 16, 1024
"""Smallest and largest number of images in a block. A block becomes one cache file, and is lost with its worker."""

_SHARE = 0.75
"""Share of a processor that an actor reserves. The rest is for decoding tasks, so that both fit on one processor."""

_CHUNK = 1024
"""Rows that are read from the cache at a time."""


class ClusterExtractor(Extractor):
    """`Extractor` that computes on the Ray cluster that this process is connected to.

    All machines must be able to read the photos and write the cache. Cached features are not computed again, so an
    interrupted extraction continues, on a cluster or on one machine.
    """

    _digests: Sequence[str] = ()

    def compute_ahead(self, folder: Path, photos: Sequence[Photo]) -> int:
        """Computes the missing features of all photos at once and returns their number.

        Each extraction starts new workers, so one large extraction is faster than several small ones.
        """
        keys = self.keys(folder, photos, Augmentation(), 0, (None,))
        missing = self.missing(keys)
        paths = [folder / photo.path for photo in photos]
        for _ in self.compute(missing, keys, paths, Augmentation(), (None,), "features"):
            pass
        return len(missing)

    def keys(
        self, folder: Path, photos: Sequence[Photo], augmentation: Augmentation, seed: int, views: Sequence[int | None]
    ) -> np.ndarray:
        """Returns cache keys as `CachedForwardPass.keys`, from the manifest's digests; workers check the files."""
        self._digests = [photo.sha256 for photo in photos]
        keys = np.empty((len(views), len(photos)), f"V{KEY_BYTES}")
        for column, photo in enumerate(photos):
            sha256 = bytes.fromhex(photo.sha256)
            for row, number in enumerate(views):
                keys[row, column] = np.void(sha256 if number is None else view_key(sha256, augmentation, seed, number))
        return keys

    def compute(
        self,
        missing: Sequence[int],
        keys: np.ndarray,
        paths: Sequence[Path],
        augmentation: Augmentation,
        views: Sequence[int | None],
        label: str,
    ) -> Iterator[tuple[list[int], np.ndarray]]:
        """Computes missing features as `CachedForwardPass.compute`, on the cluster; yields rows when all are computed.

        Raises:
            FeatureError: a photo is missing, damaged or not the one that was prepared.
            ClusterError: the cluster gave up, or the rows that workers wrote are not in this process's cache.
        """
        if not missing:
            return
        absolute = [path.absolute() for path in paths]
        flat = keys.reshape(-1)
        pending = blocks(jobs(missing, keys, absolute, views), flat, self._digests, self._block_images(len(missing)))
        with (
            tqdm(total=len(missing), desc=label, unit="image", disable=None, leave=False) as bar,
            self.stopwatch("cluster"),
        ):
            try:
                for block in self._pipeline(list(pending), augmentation).iter_batches(batch_size=None):
                    if message := str(block["error"][0]):
                        raise FeatureError(message)
                    self.computed += len(block["index"])
                    bar.update(len(block["index"]))
            except ray.exceptions.RayError as error:
                raise cluster_failure(error) from None
        self.reopen()
        for start in range(0, len(missing), _CHUNK):
            indices = list(missing[start : start + _CHUNK])
            rows = np.empty((len(indices), self.width), np.float32)
            if self._cache.read(flat[indices], rows):
                raise ClusterError(
                    f"features that the cluster's workers wrote are not in {self.folder.absolute()}: name a folder "
                    "that all machines share, or an address such as s3://BUCKET/KEY, with HEADSTAND_CACHE"
                )
            yield indices, rows

    def _block_images(self, missing: int) -> int:
        """Returns the number of images per block: about 8 blocks for each processor, within the limits on size."""
        least, most = _BLOCK_IMAGES
        fitting = _LARGEST // math.prod(self.model.input.shape[1:])
        return max(1, min(most, fitting, max(least, -(-missing // (8 * size()[0])))))

    def _location(self) -> str:
        return self._mirror.address if self._mirror else str(self.folder.absolute())

    def _pipeline(self, pending: list[bytes], augmentation: Augmentation) -> ray.data.Dataset:
        context = ray.data.DataContext.get_current()
        context.enable_progress_bars = False
        context.print_on_execution_start = False
        processors, gpus = size()
        if gpus:
            share: dict[str, Any] = {"num_gpus": 1, "num_cpus": 0}
        else:
            share = {"num_cpus": _SHARE}
        actors = gpus or processors
        # At least one, and not all: actors of a machine that died may not fit on the others.
        pool = ray.data.ActorPoolStrategy(min_size=1, max_size=actors, initial_size=actors)
        return (
            ray.data.from_items([{"jobs": block} for block in pending], override_num_blocks=len(pending))
            .map_batches(
                decode,
                batch_size=None,
                fn_kwargs={"kind": self.input, "augmentation": augmentation},
                num_cpus=1 if gpus else 1 - _SHARE,
            )
            .map_batches(
                Network,
                batch_size=None,
                fn_constructor_kwargs={"network": ray.put(packed(self.model)), "folder": self._location()},
                compute=pool,
                **share,
            )
        )
