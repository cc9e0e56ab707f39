"""What a model says of prepared photos, from their files: the way that a service answers, in batches."""

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import tensorflow as tf

from headstand import images
from headstand.learn.features import BATCH
from headstand.prepare.manifest import Dataset, Photo


def class_indices(dataset: Dataset, photos: Sequence[Photo]) -> np.ndarray:
    """The photos' places in `dataset.classes`, `int32 [N]`."""
    index = {name: place for place, name in enumerate(dataset.classes)}
    return np.array([index[photo.class_] for photo in photos], np.int32)


def pixels(folder: Path, photos: Sequence[Photo], size: int) -> np.ndarray:
    """The decoded photos, `uint8 [N, size, size, 3]`.

    Raises:
        ImageError: as `headstand.images.decode`, naming the photo.
    """

    def decoded(photo: Photo) -> np.ndarray:
        try:
            return images.decode(folder / photo.path, size)
        except images.ImageError as error:
            raise images.ImageError(error.code, f"{folder / photo.path}: {error}") from error

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        return np.stack(list(pool.map(decoded, photos)))


def predict(call: Callable[[tf.Tensor], tf.Tensor], dataset: Dataset, split: str, size: int) -> np.ndarray:
    """Probabilities `float32 [N, classes]` of a split's photos.

    Args:
        call: a model over `uint8 [B, size, size, 3]`, as `headstand.learn.features.compiled` makes it.
        dataset: the prepared dataset.
        split: one of its splits.
        size: side of the model's input in pixels.
    """
    photos = dataset.split(split)
    batches = (photos[start : start + BATCH] for start in range(0, len(photos), BATCH))
    return np.concatenate([np.asarray(call(tf.constant(pixels(dataset.folder, batch, size)))) for batch in batches])
