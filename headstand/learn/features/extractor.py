"""A backbone whose features of photos and views are computed once."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from headstand import files, inputs
from headstand.learn import backbones, keypoints
from headstand.learn.features.passing import Pass
from headstand.learn.features.rows import Rows
from headstand.prepare.manifest import Photo
from headstand.recipe import Augmentation, Backbone


@dataclass(frozen=True)
class Extraction:
    """Features of some photos: `rows` is `float32 [N, D]`; `computed` of them were not in the cache.

    Of views it is `[K, N, D]`. The rows lie in a file without a name and are mapped; what reads them pages them in.
    """

    rows: np.ndarray
    computed: int


class Extractor(Pass):
    """A backbone with its cache. Building it loads the network; `rows` of a warm cache never runs it."""

    def __init__(self, backbone: Backbone) -> None:
        self.backbone = backbone
        model = backbones.extractor(backbone)
        kind = inputs.of(model.input.shape[1:])
        space = f"{backbone.pooling}|{kind.decoder}|{backbones.digest(model)}"
        if backbone.name == "keypoints":
            space += f"|{keypoints.VERSION}"
        name = f"{backbone.name}-{backbone.size}-{hashlib.sha256(space.encode()).hexdigest()[:16]}"
        super().__init__(model, files.cache() / "features" / name)

    def ahead(self, folder: Path, photos: Sequence[Photo]) -> int:
        """Compute what `rows` will be asked for in parts, where it is quicker at once; how many were computed.

        Here it is not.
        """
        return 0

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
        with Rows(self.folder, names.size, self.width) as rows:
            missing = self.missing(names, rows)
            paths = [folder / photo.path for photo in photos]
            for places, computed in self.compute(missing, names, paths, augmentation, views, label):
                for place, row in zip(places, computed, strict=True):
                    rows.write(place, row)
            return Extraction(rows.mapped().reshape(*names.shape, self.width), len(missing))
