"""Answers averaged over several views of each photo: a second figure beside the plain one, never in its place.

Services answer from the photo alone, so the plain figure is what they keep.
"""

from collections.abc import Callable, Sequence

import numpy as np
import tensorflow as tf

from headstand import inputs
from headstand.inputs import Input
from headstand.learn import joints
from headstand.learn.answers import decoded, pixels
from headstand.learn.features import BATCH
from headstand.prepare.manifest import Dataset, Photo
from headstand.sections import Average

_MARGIN = 8 / 7
"""How much larger than a crop the photo is: 256 to 224, as Krizhevsky et al. 2012 have it."""

WORDS: dict[str, str] = {"mirror": "the photo and its mirror image", "crops": "ten crops of the photo"}
"""What is averaged over, for people."""


def averaged(
    call: Callable[[tf.Tensor], tf.Tensor], dataset: Dataset, split: str, kind: Input, way: Average
) -> np.ndarray:
    """Probabilities `float32 [N, classes]` of a split's photos: the mean over the views of each.

    Args:
        call: a model over decoded photos, as `headstand.learn.features.compiled` makes it.
        dataset: the prepared dataset.
        split: one of its splits.
        kind: what the model takes; heatmaps have no crops.
        way: `mirror`: the photo and its mirror image; `crops`: its corners and its middle, and their mirror images
            (Krizhevsky et al. 2012, "ImageNet classification with deep convolutional neural networks").
    """
    photos = dataset.split(split)
    answers = []
    for start in range(0, len(photos), BATCH):
        views = _views(dataset, photos[start : start + BATCH], kind, way)
        answers.append(np.mean([np.asarray(call(tf.constant(view))) for view in views], axis=0))
    return np.concatenate(answers)


def _views(dataset: Dataset, photos: Sequence[Photo], kind: Input, way: Average) -> list[np.ndarray]:
    """Views of some photos, as the model takes them."""
    if not isinstance(kind, inputs.Photos):
        maps = decoded(dataset.folder, photos, kind)
        return [maps, joints.mirror(maps)]
    size = kind.size
    if way == "mirror":
        shown = [pixels(dataset.folder, photos, size)]
    else:
        larger = round(size * _MARGIN)
        whole, edge = pixels(dataset.folder, photos, larger), larger - size
        places = [(0, 0), (0, edge), (edge, 0), (edge, edge), (edge // 2, edge // 2)]
        shown = [whole[:, top : top + size, left : left + size] for top, left in places]
    return [view for one in shown for view in (one, one[:, :, ::-1])]
