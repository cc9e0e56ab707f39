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
from headstand.features.augmentation import identity
from headstand.features.cache import KEY_BYTES
from headstand.features.forward_pass import jobs
from headstand.prepare.manifest import Photo
from headstand.recipe import Augmentation
from headstand.scale.ray.connection import ClusterError, gave_up, size
from headstand.scale.ray.network import Network, blocks, decode, packed

_LARGEST = 32 * 2**20
"""Largest size of a block in bytes of pixels: several blocks must fit into a small object store."""

_PICTURES = 16, 1024
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

    def ahead(self, folder: Path, photos: Sequence[Photo]) -> int:
        """Computes the missing features of all photos at once and returns their number.

        Each extraction starts new workers, so one large extraction is faster than several small ones.
        """
        names = self.names(folder, photos, Augmentation(), 0, (None,))
        missing = self.missing(names)
        paths = [folder / photo.path for photo in photos]
        for _ in self.compute(missing, names, paths, Augmentation(), (None,), "features"):
            pass
        return len(missing)

    def names(
        self, folder: Path, photos: Sequence[Photo], augmentation: Augmentation, seed: int, views: Sequence[int | None]
    ) -> np.ndarray:
        """Returns cache keys as `Pass.names`, from the manifest's digests; workers check the files that they read."""
        self._digests = [photo.sha256 for photo in photos]
        names = np.empty((len(views), len(photos)), f"V{KEY_BYTES}")
        for place, photo in enumerate(photos):
            own = bytes.fromhex(photo.sha256)
            for row, number in enumerate(views):
                names[row, place] = np.void(own if number is None else identity(own, augmentation, seed, number))
        return names

    def compute(
        self,
        missing: Sequence[int],
        names: np.ndarray,
        paths: Sequence[Path],
        augmentation: Augmentation,
        views: Sequence[int | None],
        label: str,
    ) -> Iterator[tuple[list[int], np.ndarray]]:
        """Computes missing features as `Pass.compute`, on the cluster; yields rows only after all are computed.

        Raises:
            FeatureError: a photo is missing, damaged or not the one that was prepared.
            ClusterError: the cluster gave up, or the rows that workers wrote are not in this process's cache.
        """
        if not missing:
            return
        here = [path.absolute() for path in paths]
        flat = names.reshape(-1)
        todo = blocks(jobs(missing, names, here, views), flat, self._digests, self._pictures(len(missing)))
        with (
            tqdm(total=len(missing), desc=label, unit="image", disable=None, leave=False) as bar,
            self.watch("cluster"),
        ):
            try:
                for done in self._pipeline(list(todo), augmentation).iter_batches(batch_size=None):
                    if trouble := str(done["trouble"][0]):
                        raise FeatureError(trouble)
                    self.computed += len(done["place"])
                    bar.update(len(done["place"]))
            except ray.exceptions.RayError as error:
                raise gave_up(error) from None
        self.reopen()
        for start in range(0, len(missing), _CHUNK):
            places = list(missing[start : start + _CHUNK])
            rows = np.empty((len(places), self.width), np.float32)
            if self._cache.read(flat[places], rows):
                raise ClusterError(
                    f"the cluster's workers wrote features that do not arrive in {self.folder.absolute()}: name a "
                    "folder that all machines see, or an address such as s3://BUCKET/KEY, with HEADSTAND_CACHE"
                )
            yield places, rows

    def _pictures(self, missing: int) -> int:
        """Returns the number of images per block: about 8 blocks for each processor, within the limits on size."""
        least, most = _PICTURES
        fitting = _LARGEST // math.prod(self.model.input.shape[1:])
        return max(1, min(most, fitting, max(least, -(-missing // (8 * size()[0])))))

    def _place(self) -> str:
        return self._mirror.address if self._mirror else str(self.folder.absolute())

    def _pipeline(self, todo: list[bytes], augmentation: Augmentation) -> ray.data.Dataset:
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
            ray.data.from_items([{"jobs": block} for block in todo], override_num_blocks=len(todo))
            .map_batches(
                decode,  # type: ignore[arg-type] # Ray's type hints ignore `fn_kwargs`
                batch_size=None,
                fn_kwargs={"kind": self.input, "augmentation": augmentation},
                num_cpus=1 if gpus else 1 - _SHARE,
            )
            .map_batches(
                Network,
                batch_size=None,
                fn_constructor_kwargs={"network": ray.put(packed(self.model)), "folder": self._place()},
                compute=pool,
                **share,
            )
        )
