"""Random views of a person's heatmaps: mirrored, turned, scaled, moved, with joints that are off or lost."""

import math

import numpy as np
from PIL import Image

from headstand.heatmaps import HEIGHT, JOINTS, WIDTH
from headstand.sections import Augmentation

MIRRORED = np.array(
    [
        JOINTS.index({"left": "right_", "right": "left_"}[side] + rest if rest else joint)
        for joint in JOINTS
        for side, _, rest in [joint.partition("_")]
    ]
)
"""Which joint each becomes in a mirror: the left wrist is the mirror image's right one."""

_MIDDLE = np.array([WIDTH - 1, HEIGHT - 1]) / 2


def mirror(maps: np.ndarray) -> np.ndarray:
    """Heatmaps of the person in a mirror, `float32 [..., 17, 64, 48]`."""
    return maps[..., MIRRORED, :, ::-1]


def view(maps: np.ndarray, settings: Augmentation, rng: np.random.Generator) -> np.ndarray:
    """One random view.

    `flip`, `rotation`, `zoom` and `shift` are of all maps together, `jitter` and `joint_dropout` of each alone; by
    `brightness` each joint is seen better or worse. What a view says of colours and crops is for photos.

    Args:
        maps: `float32 [17, 64, 48]`.
        settings: how far a view may differ from its origin.
        rng: where the view's chance comes from; the same state gives the same view.

    Returns:
        `float32 [17, 64, 48]`, 0 where it reaches over the edge.
    """
    if settings.flip in ("horizontal", "both") and rng.random() < 0.5:
        maps = mirror(maps)
    if settings.flip in ("vertical", "both") and rng.random() < 0.5:
        # Upside down alone would be another person's mirror image; turned around it is the same one.
        maps = mirror(maps)[..., ::-1, :]
    turn = math.radians(rng.uniform(-settings.rotation, settings.rotation))
    larger = rng.uniform(1 - settings.zoom, 1 + settings.zoom)
    moved = rng.uniform(-settings.shift, settings.shift, 2) * (WIDTH, HEIGHT)
    own = rng.normal(0, 1, (len(JOINTS), 2)) * settings.jitter
    height = rng.uniform(1 - settings.brightness, 1 + settings.brightness, len(JOINTS))
    height *= rng.random(len(JOINTS)) >= settings.joint_dropout
    # From the view's pixels to those of its origin, as Pillow wants it.
    inverse = np.array([[math.cos(turn), math.sin(turn)], [-math.sin(turn), math.cos(turn)]]) / larger
    return np.stack(
        [_sampled(one, inverse, moved + off) * np.float32(h) for one, off, h in zip(maps, own, height, strict=True)]
    )


def _sampled(one: np.ndarray, inverse: np.ndarray, moved: np.ndarray) -> np.ndarray:
    """A map, `float32 [64, 48]`, turned and scaled about its middle, then moved by x and y in pixels."""
    # Pillow's pixels have their middles at halves.
    begin = _MIDDLE + 0.5 - inverse @ (_MIDDLE + 0.5 + moved)
    numbers = (*inverse[0], begin[0], *inverse[1], begin[1])
    image = Image.fromarray(np.ascontiguousarray(one))
    return np.asarray(image.transform(image.size, Image.Transform.AFFINE, numbers, Image.Resampling.BILINEAR))
