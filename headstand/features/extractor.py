"""Feature extractor: a backbone with an on-disk cache of the features of photos and their views."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from headstand import files
from headstand.features import backbones
from headstand.features.feature_table import FeatureTable
from headstand.features.forward_pass import CachedForwardPass
from headstand.inputs import PhotoInput
from headstand.prepare.manifest import Photo
from headstand.recipe import Augmentation, Backbone


@dataclass(frozen=True)
class Extraction:
    """Features of photos or views, and how many of them were computed because they were not in the cache.

    `rows` is `float32 [N, D]` for photos and `[K, N, D]` for K views of each. It is a memory map of an unnamed
    temporary file; pages are loaded when they are read.
    """

    rows: np.ndarray
    computed: int


class Extractor(CachedForwardPass):
    """A backbone with its feature cache; the constructor loads the network, `rows` runs it only on a cache miss."""

    def __init__(self, backbone: Backbone) -> None:
        self.backbone = backbone
        model = backbones.extractor(backbone)
        kind = backbone.input
        space = f"{backbone.pooling}|{kind.decoder}|{backbones.digest(model)}"
        if not isinstance(kind, PhotoInput) and (version := kind.backbones[backbone.name]):
            space += f"|{version}"
        name = f"{backbone.name}-{backbone.size}-{hashlib.sha256(space.encode()).hexdigest()[:16]}"
        super().__init__(model, files.cache() / "features" / name)

    def ahead(self, folder: Path, photos: Sequence[Photo]) -> int:
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
        found = self._extract(folder, photos, Augmentation(), 0, (None,), label)
        return Extraction(found.rows[0], found.computed)

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
        names = self.names(folder, photos, augmentation, seed, views)
        with FeatureTable(self.folder, names.size, self.width) as rows:
            missing = self.missing(names, rows)
            paths = [folder / photo.path for photo in photos]
            for places, computed in self.compute(missing, names, paths, augmentation, views, label):
                for place, row in zip(places, computed, strict=True):
                    rows.write(place, row)
            return Extraction(rows.mapped().reshape(*names.shape, self.width), len(missing))
