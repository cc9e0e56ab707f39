"""Batches for fine-tuning: random views of the training photos, and the validation photos without augmentation."""

import os
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import keras
import numpy as np

from headstand.evaluation.predictions import decoded
from headstand.features.augmentation import drawing
from headstand.heads import batches
from headstand.inputs import InputKind
from headstand.prepare.manifest import Photo
from headstand.recipe import Augmentation, Finetune


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
        self._bounds = batches.bounds(len(paths), tuning.batch_size)
        self.epoch = 0
        # The time at which each batch of the epoch was ready, to separate waiting from computing.
        self.ready: dict[int, float] = {}

    def __len__(self) -> int:
        return len(self._bounds) - 1

    def __getitem__(self, index: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        order = np.random.default_rng((self._seed, self.epoch)).permutation(len(self._paths))
        chosen = order[self._bounds[index] : self._bounds[index + 1]]
        # One pool per batch, since Keras does not signal when it needs no more batches.
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            pixels = np.stack(list(pool.map(self._view, chosen)))
        batch = pixels, self._labels[chosen], self._weights[chosen]
        if self._mixup:
            rng = np.random.default_rng((self._seed, self.epoch, index, len(self._paths)))
            batch = mixed(batch, self._mixup, rng)
        self.ready[index] = time.perf_counter()
        return batch

    def _view(self, row: int) -> np.ndarray:
        rng = np.random.default_rng((self._seed, self.epoch, int(row)))
        return drawing(self._input.read(self._paths[row]), self._input, self._settings)(rng)


class ValidationBatches(keras.utils.PyDataset):
    """Batches of photos in their order, decoded as in serving, with one-hot labels `float32 [B, classes]`.

    The photos are decoded again in every epoch, so that only a few batches are in memory at a time.
    """

    def __init__(
        self, folder: Path, photos: Sequence[Photo], labels: np.ndarray, kind: InputKind, batch_size: int
    ) -> None:
        super().__init__()
        self._folder, self._photos, self._labels, self._input = folder, photos, labels, kind
        self._bounds = batches.bounds(len(photos), batch_size)

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
    drawn = rng.beta(alpha, alpha)
    share = np.float32(max(drawn, 1 - drawn))
    partners = rng.permutation(len(batch[0]))
    pixels, labels, weights = (share * rows + (1 - share) * rows[partners] for rows in batch)
    return pixels, labels, weights
