"""Random views of a training photo: another crop, mirrored or not, brighter or darker."""

import numpy as np
from PIL import Image, ImageEnhance

from headstand.recipe import Finetune

# Aspect ratios of a crop, as in Szegedy et al. 2015 ("Going deeper with convolutions").
_RATIO = (3 / 4, 4 / 3)


def view(pixels: np.ndarray, size: int, settings: Finetune, rng: np.random.Generator) -> np.ndarray:
    """One random view.

    Args:
        pixels: `uint8 [H, W, 3]`, a decoded photo somewhat larger than `size`.
        size: side of the view in pixels.
        settings: `smallest_crop`, `mirror` and `color` are read.
        rng: where the view's chance comes from; the same state gives the same view.

    Returns:
        `uint8 [size, size, 3]`.
    """
    height, width = pixels.shape[:2]
    share = rng.uniform(settings.smallest_crop, 1.0)
    ratio = np.exp(rng.uniform(*np.log(_RATIO)))
    crop_width = min(width, width * np.sqrt(share * ratio))
    crop_height = min(height, height * np.sqrt(share / ratio))
    left = rng.uniform(0, width - crop_width)
    top = rng.uniform(0, height - crop_height)
    box = (left, top, left + crop_width, top + crop_height)
    image = Image.fromarray(pixels).resize((size, size), Image.Resampling.BILINEAR, box=box)
    if settings.mirror and rng.random() < 0.5:
        image = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    if settings.color:
        image = ImageEnhance.Brightness(image).enhance(rng.uniform(1 - settings.color, 1 + settings.color))
        image = ImageEnhance.Contrast(image).enhance(rng.uniform(1 - settings.color, 1 + settings.color))
    return np.asarray(image)
