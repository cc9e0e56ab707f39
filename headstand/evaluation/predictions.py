"""Predictions of a model for prepared photos, read from their files as the services read them, in batches."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import tensorflow as tf

from headstand import threads
from headstand.features import BATCH
from headstand.images import ImageError
from headstand.inputs import InputKind, PhotoInput
from headstand.preparation.manifest import Dataset, Photo


def class_indices(dataset: Dataset, photos: Sequence[Photo]) -> np.ndarray:
    """Returns the index of each photo's class in `dataset.classes`, `int32 [N]`."""
    index = {name: number for number, name in enumerate(dataset.classes)}
    return np.array([index[photo.class_] for photo in photos], np.int32)


def decoded(folder: Path, photos: Sequence[Photo], kind: InputKind) -> np.ndarray:
    """Returns the decoded files of photos or other inputs, `[N, *kind.shape]` of `kind.dtype`.

    Raises:
        ImageError: a file cannot be decoded; the message names it.
    """

    def one(photo: Photo) -> np.ndarray:
        try:
            return kind.decode(folder / photo.path)
        except ImageError as error:
            raise ImageError(error.code, f"{folder / photo.path}: {error}") from error

    return np.stack(list(threads.parallel(one, photos)))


def pixels(folder: Path, photos: Sequence[Photo], size: int) -> np.ndarray:
    """Returns decoded photos, `uint8 [N, size, size, 3]`; raises as `decoded`."""
    return decoded(folder, photos, PhotoInput(size, large=True))


def predict(call: Callable[[tf.Tensor], tf.Tensor], dataset: Dataset, split: str, kind: InputKind) -> np.ndarray:
    """Returns the class probabilities of a split's photos, `float32 [N, classes]`.

    Args:
        call: a model over decoded photos, as returned by `headstand.features.compiled`.
        dataset: the prepared dataset.
        split: name of the split.
        kind: input of the model.
    """
    photos = dataset.split(split)
    batches = (photos[start : start + BATCH] for start in range(0, len(photos), BATCH))
    return np.concatenate([np.asarray(call(tf.constant(decoded(dataset.folder, batch, kind)))) for batch in batches])
