"""What the frozen part of a network makes of photos and their views: computed once, read from disk in every epoch."""

import hashlib
import shutil
import time
from collections.abc import Sequence
from pathlib import Path

import keras
import numpy as np

from headstand import files, inputs
from headstand.learn import backbones, batches
from headstand.learn.features import FeatureError, Pass
from headstand.learn.views import mixed
from headstand.prepare.manifest import Photo
from headstand.recipe import Augmentation, Finetune

_LEFT = 0.9
"""How much of the free disk may be filled."""


class Prefix(Pass):
    """The frozen part of a network with its cache.

    Activations are kept as float32: so the two parts together give what the whole network gives. float16 would take
    half the room, and moves a probability by some thousandths.
    """

    def __init__(self, model: keras.Model, name: str, depth: int) -> None:
        """Open the cache.

        Args:
            model: from pixels to the activations.
            name: the backbone's.
            depth: where in the backbone it ends.
        """
        kind = inputs.of(model.input.shape[1:])
        space = f"{name}|{depth}|{kind.decoder}|{backbones.digest(model)}"
        place = f"{name}-{kind.shape[0]}-{depth}-{hashlib.sha256(space.encode()).hexdigest()[:16]}"
        super().__init__(model, files.cache() / "activations" / place)
        self.shape: tuple[int, ...] = tuple(model.output.shape[1:])

    def prepare(
        self, folder: Path, photos: Sequence[Photo], augmentation: Augmentation, seed: int, label: str
    ) -> tuple[np.ndarray, int]:
        """Compute what is not in the cache of the photos and `augmentation.views` views of each.

        Args:
            folder: the prepared dataset's folder.
            photos: rows of its manifest.
            augmentation: how many views, and of what kind.
            seed: of the views.
            label: names the progress bar.

        Returns:
            The keys to read them by, `V32 [1 + K, N]`, the photos themselves first, and how many were computed.

        Raises:
            FeatureError: the disk has no room for them, or a photo is missing, damaged or not the one prepared.
        """
        views = (None, *range(augmentation.views))
        names = self.names(folder, photos, augmentation, seed, views)
        missing = self.missing(names)
        needed, free = 4 * self.width * len(missing), shutil.disk_usage(self.folder).free
        if needed > free * _LEFT:
            raise FeatureError(
                f"the frozen part's answers to {len(missing)} photos and views take {needed / 1e9:.1f} GB, and "
                f"{self.folder} has {free / 1e9:.1f} GB free: make room, or lower --augmentation.views or "
                "--finetune.unfreeze"
            )
        for _ in self.compute(missing, names, [folder / photo.path for photo in photos], augmentation, views, label):
            pass
        return names, len(missing)


class Activations(keras.utils.PyDataset):
    """Batches of kept activations, `float32 [B, ...]`, one-hot labels and weights, read as they are needed.

    In training each epoch shuffles anew and draws for each photo the photo itself or one of its views, uniformly. Like
    `Views` a pure function of seed and `epoch`; to be fitted with `shuffle=False`.
    """

    def __init__(
        self,
        prefix: Prefix,
        names: np.ndarray,
        labels: np.ndarray,
        weights: np.ndarray,
        settings: Finetune,
        seed: int | None,
    ) -> None:
        """Wrap.

        Args:
            prefix: what computed them.
            names: their keys, `V32 [1 + K, N]`.
            labels: one-hot `float32 [N, classes]`.
            weights: `float32 [N]`.
            settings: photos a batch, and whether they are mixed (Verma et al. 2019, "Manifold mixup").
            seed: of order and views; None to give the photos themselves in their order.
        """
        super().__init__()
        self._prefix, self._names, self._labels, self._weights = prefix, names, labels, weights
        self._mixup, self._seed = settings.mixup, seed
        self._bounds = batches.bounds(len(labels), settings.batch_size)
        self.epoch = 0
        # As `Views` has it.
        self.ready: dict[int, float] = {}

    def __len__(self) -> int:
        return len(self._bounds) - 1

    def __getitem__(self, index: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        count = len(self._labels)
        if self._seed is None:
            order, views = np.arange(count), np.zeros(count, int)
        else:
            rng = np.random.default_rng((self._seed, self.epoch))
            order, views = rng.permutation(count), rng.integers(len(self._names), size=count)
        chosen = order[self._bounds[index] : self._bounds[index + 1]]
        rows = self._prefix.read(self._names[views[chosen], chosen])
        batch = rows.reshape(-1, *self._prefix.shape), self._labels[chosen], self._weights[chosen]
        if self._seed is not None and self._mixup:
            batch = mixed(batch, self._mixup, np.random.default_rng((self._seed, self.epoch, index, count)))
        self.ready[index] = time.perf_counter()
        return batch
