"""Batches for fine-tuning: random views of the training photos, validation photos, and cached activations of both."""

import hashlib
import shutil
import time
from collections.abc import Sequence
from pathlib import Path

import keras
import numpy as np

from headstand import files, inputs, threads
from headstand.evaluation.predictions import decoded
from headstand.features import CachedForwardPass, FeatureError, backbones
from headstand.features.augmentation import view_sampler
from headstand.heads import batch_bounds
from headstand.inputs import InputKind
from headstand.preparation.manifest import Photo
from headstand.recipe import Augmentation, Finetune

_LARGEST_SHARE = 0.9
"""Largest share of the free disk space that activations may fill."""


class TrainingBatches(keras.utils.PyDataset):
    """Batches of random views of the training photos, shuffled in each epoch.

    A pure function of seed and `epoch` (from 0, set before each epoch), so that a resumed run trains on the same
    batches as an uninterrupted one. Pass `shuffle=False` to `fit`: Keras would shuffle the batches again, with its own
    random state. A batch is the model's input (`uint8 [B, size, size, 3]` for photos), one-hot labels
    `float32 [B, classes]` and sample weights `float32 [B]`. With mixup (Zhang et al. 2018, "mixup: beyond empirical
    risk minimization") the pixels are `float32`, and all three are mixed in the same proportion.
    """

    def __init__(
        self,
        paths: Sequence[Path],
        labels: np.ndarray,
        weights: np.ndarray,
        kind: InputKind,
        settings: Augmentation,
        tuning: Finetune,
        seed: int,
    ) -> None:
        super().__init__()
        self._paths, self._labels, self._weights = paths, labels, weights
        self._input, self._settings, self._mixup, self._seed = kind, settings, tuning.mixup, seed
        self._bounds = batch_bounds(len(paths), tuning.batch_size)
        self.epoch = 0
        # The time at which each batch of the epoch was ready, to separate waiting from computing.
        self.ready: dict[int, float] = {}

    def __len__(self) -> int:
        return len(self._bounds) - 1

    def __getitem__(self, index: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        order = np.random.default_rng((self._seed, self.epoch)).permutation(len(self._paths))
        chosen = order[self._bounds[index] : self._bounds[index + 1]]
        # Threads of their own for each batch, since Keras does not signal when it needs no more batches.
        pixels = np.stack(list(threads.parallel(self._view, chosen.tolist())))
        batch = pixels, self._labels[chosen], self._weights[chosen]
        if self._mixup:
            rng = np.random.default_rng((self._seed, self.epoch, index, len(self._paths)))
            batch = mixed(batch, self._mixup, rng)
        self.ready[index] = time.perf_counter()
        return batch

    def _view(self, row: int) -> np.ndarray:
        rng = np.random.default_rng((self._seed, self.epoch, int(row)))
        return view_sampler(self._input.read(self._paths[row]), self._input, self._settings)(rng)


class ValidationBatches(keras.utils.PyDataset):
    """Batches of photos in their order, decoded as in serving, with one-hot labels `float32 [B, classes]`.

    The photos are decoded again in every epoch, so that only a few batches are in memory at a time.
    """

    def __init__(
        self, folder: Path, photos: Sequence[Photo], labels: np.ndarray, kind: InputKind, batch_size: int
    ) -> None:
        super().__init__()
        self._folder, self._photos, self._labels, self._input = folder, photos, labels, kind
        self._bounds = batch_bounds(len(photos), batch_size)

    def __len__(self) -> int:
        return len(self._bounds) - 1

    def __getitem__(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        rows = slice(self._bounds[index], self._bounds[index + 1])
        return decoded(self._folder, self._photos[rows], self._input), self._labels[rows]


def mixed(
    batch: tuple[np.ndarray, ...], alpha: float, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Returns the batch after mixup: each row of pixels (or activations), labels and weights mixed with another row.

    As in Zhang et al. 2018, the share is drawn from the Beta distribution with both parameters `alpha`, once per batch;
    the larger share is that of the row itself.
    """
    weight = rng.beta(alpha, alpha)
    share = np.float32(max(weight, 1 - weight))
    partners = rng.permutation(len(batch[0]))
    pixels, labels, weights = (share * rows + (1 - share) * rows[partners] for rows in batch)
    return pixels, labels, weights


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
        space = f"{depth}|{kind.decoder}|{backbones.digest(model)}"
        folder = (
            f"{backbones.folder_name(name)}-{kind.shape[0]}-{depth}-{hashlib.sha256(space.encode()).hexdigest()[:16]}"
        )
        super().__init__(model, files.cache() / "activations" / folder)
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
        keys = self.keys(folder, photos, augmentation, seed, views)
        missing = self.missing(keys)
        needed, free = 4 * self.width * len(missing), shutil.disk_usage(self.folder).free
        if needed > free * _LARGEST_SHARE:
            raise FeatureError(
                f"the frozen part's activations of {len(missing)} photos and views take {needed / 1e9:.1f} GB, and "
                f"{self.folder} has {free / 1e9:.1f} GB free: free some space, or lower --augmentation.views or "
                "--finetune.unfreeze"
            )
        for _ in self.compute(missing, keys, [folder / photo.path for photo in photos], augmentation, views, label):
            pass
        return keys, len(missing)


class ActivationBatches(keras.utils.PyDataset):
    """Batches of cached activations `float32 [B, ...]`, one-hot labels and sample weights, read from disk on demand.

    In training each epoch shuffles the photos and draws for each the photo itself or one of its views, uniformly. Like
    `TrainingBatches` a pure function of seed and `epoch`; pass `shuffle=False` to `fit`.
    """

    def __init__(
        self,
        prefix: FrozenPrefix,
        keys: np.ndarray,
        labels: np.ndarray,
        weights: np.ndarray,
        settings: Finetune,
        seed: int | None,
    ) -> None:
        """Sets the rows and their batches.

        Args:
            prefix: cache that holds the activations.
            keys: cache keys, `V32 [1 + K, N]`.
            labels: one-hot labels, `float32 [N, classes]`.
            weights: sample weights, `float32 [N]`.
            settings: batch size and mixup of activations (Verma et al. 2019, "Manifold mixup").
            seed: seed of order and views; None for the unaugmented photos in their order.
        """
        super().__init__()
        self._prefix, self._keys, self._labels, self._weights = prefix, keys, labels, weights
        self._mixup, self._seed = settings.mixup, seed
        self._bounds = batch_bounds(len(labels), settings.batch_size)
        self.epoch = 0
        # The time at which each batch of the epoch was ready, as in `TrainingBatches`.
        self.ready: dict[int, float] = {}

    def __len__(self) -> int:
        return len(self._bounds) - 1

    def __getitem__(self, index: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        count = len(self._labels)
        if self._seed is None:
            order, views = np.arange(count), np.zeros(count, int)
        else:
            rng = np.random.default_rng((self._seed, self.epoch))
            order, views = rng.permutation(count), rng.integers(len(self._keys), size=count)
        chosen = order[self._bounds[index] : self._bounds[index + 1]]
        rows = self._prefix.read(self._keys[views[chosen], chosen])
        batch = rows.reshape(-1, *self._prefix.shape), self._labels[chosen], self._weights[chosen]
        if self._seed is not None and self._mixup:
            batch = mixed(batch, self._mixup, np.random.default_rng((self._seed, self.epoch, index, count)))
        self.ready[index] = time.perf_counter()
        return batch
