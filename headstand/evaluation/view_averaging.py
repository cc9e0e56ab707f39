"""Test-time augmentation: class probabilities averaged over several views of each photo.

Its accuracy is reported in addition to the plain one, not instead of it: the services classify the photo alone.
"""

from collections.abc import Callable, Sequence

import numpy as np
import tensorflow as tf

from headstand.evaluation.predictions import decoded, pixels
from headstand.features import BATCH
from headstand.inputs import InputKind
from headstand.preparation.manifest import Dataset, Photo
from headstand.recipe.sections import Average

_MARGIN = 8 / 7
"""Side of the decoded photo / side of a crop: 256 / 224, as in Krizhevsky et al. 2012."""

VIEWS: dict[str, str] = {"mirror": "the photo and its mirror image", "crops": "ten crops of the photo"}
"""Description of the views by setting, for messages and reports."""


def averaged(
    call: Callable[[tf.Tensor], tf.Tensor], dataset: Dataset, split: str, kind: InputKind, way: Average
) -> np.ndarray:
    """Returns the mean class probabilities over the views of each of a split's photos, `float32 [N, classes]`.

    Args:
        call: a model over decoded photos, as returned by `headstand.features.compiled`.
        dataset: the prepared dataset.
        split: name of the split.
        kind: input of the model; photos if `way` is `crops`.
        way: `mirror` for the photo and its mirror image; `crops` for the four corner crops, the centre crop and their
            mirror images (Krizhevsky et al. 2012, "ImageNet classification with deep convolutional neural networks").
    """
    photos = dataset.split(split)
    batches = []
    for start in range(0, len(photos), BATCH):
        views = _views(dataset, photos[start : start + BATCH], kind, way)
        batches.append(np.mean([np.asarray(call(tf.constant(view))) for view in views], axis=0))
    return np.concatenate(batches)


def _views(dataset: Dataset, photos: Sequence[Photo], kind: InputKind, way: Average) -> list[np.ndarray]:
    """Returns the views of some photos, each in shape and dtype of the model's input."""
    if way == "mirror":
        crops = [decoded(dataset.folder, photos, kind)]
    else:
        size, larger = kind.size, round(kind.size * _MARGIN)
        whole, edge = pixels(dataset.folder, photos, larger), larger - size
        corners = [(0, 0), (0, edge), (edge, 0), (edge, edge), (edge // 2, edge // 2)]
        crops = [whole[:, top : top + size, left : left + size] for top, left in corners]
    return [view for crop in crops for view in (crop, kind.mirror(crop))]
