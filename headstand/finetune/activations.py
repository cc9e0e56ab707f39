"""Activations of a network's frozen part: computed once for photos and views, read from disk in every epoch."""

import hashlib
import shutil
import time
from collections.abc import Sequence
from pathlib import Path

import keras
import numpy as np

from headstand import files, inputs
from headstand.features import CachedForwardPass, FeatureError, backbones
from headstand.finetune.views import mixed
from headstand.heads import batches
from headstand.prepare.manifest import Photo
from headstand.recipe import Augmentation, Finetune

_LEFT = 0.9
"""Largest share of the free disk space that activations may fill."""


class FrozenPrefix(CachedForwardPass):
    """The frozen part of a network, with an on-disk cache of its activations.

    Activations are stored as float32, so that the two parts together compute what the whole network computes. float16
    would take half the space, but changes probabilities by some thousandths.
    """

    def __init__(self, model: keras.Model, name: str, depth: int) -> None:
        """Opens the cache.

        Args:
            model: from pixels to the activations.
            name: name of the backbone.
            depth: index of the last frozen layer among the backbone's layers.
        """
        kind = inputs.of(model.input.shape[1:])
        space = f"{name}|{depth}|{kind.decoder}|{backbones.digest(model)}"
        place = f"{name}-{kind.shape[0]}-{depth}-{hashlib.sha256(space.encode()).hexdigest()[:16]}"
        super().__init__(model, files.cache() / "activations" / place)
        self.shape: tuple[int, ...] = tuple(model.output.shape[1:])

    def prepare(
        self, folder: Path, photos: Sequence[Photo], augmentation: Augmentation, seed: int, label: str
    ) -> tuple[np.ndarray, int]:
        """Computes the activations of photos and of `augmentation.views` views of each that are not in the cache.

        Args:
            folder: folder of the prepared dataset.
            photos: rows of its manifest.
            augmentation: number and settings of the views.
            seed: seed of the views.
            label: title of the progress bar.

        Returns:
            The cache keys, `V32 [1 + K, N]` with the unaugmented photos first, and how many rows were computed.

        Raises:
            FeatureError: too little disk space, or a photo is missing, damaged or has changed since preparation.
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


class ActivationBatches(keras.utils.PyDataset):
    """Batches of cached activations `float32 [B, ...]`, one-hot labels and sample weights, read from disk on demand.

    In training each epoch shuffles the photos and draws for each the photo itself or one of its views, uniformly. Like
    `Views` a pure function of seed and `epoch`; pass `shuffle=False` to `fit`.
    """

    def __init__(
        self,
        prefix: FrozenPrefix,
        names: np.ndarray,
        labels: np.ndarray,
        weights: np.ndarray,
        settings: Finetune,
        seed: int | None,
    ) -> None:
        """Sets the rows and their batches.

        Args:
            prefix: cache that holds the activations.
            names: cache keys, `V32 [1 + K, N]`.
            labels: one-hot labels, `float32 [N, classes]`.
            weights: sample weights, `float32 [N]`.
            settings: batch size and mixup of activations (Verma et al. 2019, "Manifold mixup").
            seed: seed of order and views; None for the unaugmented photos in their order.
        """
        super().__init__()
        self._prefix, self._names, self._labels, self._weights = prefix, names, labels, weights
        self._mixup, self._seed = settings.mixup, seed
        self._bounds = batches.bounds(len(labels), settings.batch_size)
        self.epoch = 0
        # The time at which each batch of the epoch was ready, as in `Views`.
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
