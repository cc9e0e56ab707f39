"""Training photos as shuffled batches of random views."""

import math
import os
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import keras
import numpy as np

from headstand.inputs import Input
from headstand.learn.augment import drawing
from headstand.recipe import Augmentation, Finetune


class Views(keras.utils.PyDataset):
    """Batches of random views, shuffled anew each epoch.

    A pure function of seed and `epoch` (from 0, set before each), so that a resumed run sees what an uninterrupted one
    would have seen. Fit it with `shuffle=False`: Keras would shuffle the batches once more, by a chance of its own.
    Gives what the model takes, `uint8 [B, size, size, 3]` of photos, one-hot `float32 [B, classes]` and the photos'
    weights `float32 [B]`; with mixup (Zhang et al. 2018, "mixup: beyond empirical risk minimization") `float32` pixels,
    and all three mixed alike.
    """

    def __init__(
        self,
        paths: Sequence[Path],
        labels: np.ndarray,
        weights: np.ndarray,
        kind: Input,
        settings: Augmentation,
        tuning: Finetune,
        seed: int,
    ) -> None:
        super().__init__()
        self._paths, self._labels, self._weights = paths, labels, weights
        self._input, self._settings, self._tuning, self._seed = kind, settings, tuning, seed
        self.epoch = 0
        # When each batch of the epoch was there, to tell waiting from computing.
        self.ready: dict[int, float] = {}
        # Keras asks for batches ahead on one thread; what they are made of is decoded side by side.
        self._pool = ThreadPoolExecutor(os.cpu_count())

    def __len__(self) -> int:
        return math.ceil(len(self._paths) / self._tuning.batch_size)

    def __getitem__(self, index: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        order = np.random.default_rng((self._seed, self.epoch)).permutation(len(self._paths))
        chosen = order[index * self._tuning.batch_size : (index + 1) * self._tuning.batch_size]
        pixels = np.stack(list(self._pool.map(self._view, chosen)))
        batch = pixels, self._labels[chosen], self._weights[chosen]
        if self._tuning.mixup:
            rng = np.random.default_rng((self._seed, self.epoch, index, len(self._paths)))
            batch = mixed(batch, self._tuning.mixup, rng)
        self.ready[index] = time.perf_counter()
        return batch

    def _view(self, row: int) -> np.ndarray:
        rng = np.random.default_rng((self._seed, self.epoch, int(row)))
        return drawing(self._input.read(self._paths[row]), self._input, self._settings)(rng)


def mixed(
    batch: tuple[np.ndarray, ...], alpha: float, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Each row of pixels (or activations), labels and weights mixed with another of its batch (Zhang et al. 2018).

    Its own is the heavier share; shares are drawn from the Beta distribution with `alpha` twice.
    """
    drawn = rng.beta(alpha, alpha)
    share = np.float32(max(drawn, 1 - drawn))
    partners = rng.permutation(len(batch[0]))
    pixels, labels, weights = (share * rows + (1 - share) * rows[partners] for rows in batch)
    return pixels, labels, weights
