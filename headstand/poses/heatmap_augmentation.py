"""Random augmentation of heatmaps: flip, rotation, zoom, shift, and jitter, dropout and scaling of single joints."""

import math

import numpy as np
from PIL import Image

from headstand.poses.heatmap_file import HEIGHT, JOINTS, WIDTH
from headstand.recipe.sections import Augmentation

MIRRORED = np.array(
    [
        JOINTS.index({"left": "right_", "right": "left_"}[side] + rest if rest else joint)
        for joint in JOINTS
        for side, _, rest in [joint.partition("_")]
    ]
)
"""Index of the joint that each joint becomes in a mirror image: the left wrist becomes the right one."""

_MIDDLE = np.array([WIDTH - 1, HEIGHT - 1]) / 2


def mirror(maps: np.ndarray) -> np.ndarray:
    """Returns the heatmaps of the person's mirror image, `float32 [..., 17, 64, 48]`."""
    return maps[..., MIRRORED, :, ::-1]


def view(maps: np.ndarray, settings: Augmentation, rng: np.random.Generator) -> np.ndarray:
    """Returns a random augmentation of one person's heatmaps.

    `flip`, `rotation`, `zoom` and `shift` apply to all maps together, `jitter` and `joint_dropout` to each map;
    `brightness` scales the peak height of each joint. Settings of colours and crops apply to photos only.

    Args:
        maps: `float32 [17, 64, 48]`.
        settings: ranges of the augmentation.
        rng: random generator; the same state gives the same result.

    Returns:
        `float32 [17, 64, 48]`, 0 where the result extends beyond the edge of the input.
    """
    if settings.flip in ("horizontal", "both") and rng.random() < 0.5:
        maps = mirror(maps)
    if settings.flip in ("vertical", "both") and rng.random() < 0.5:
        # A vertical flip alone would swap the person's left and right; combined with a mirror it is a rotation by 180°.
        maps = mirror(maps)[..., ::-1, :]
    turn = math.radians(rng.uniform(-settings.rotation, settings.rotation))
    larger = rng.uniform(1 - settings.zoom, 1 + settings.zoom)
    moved = rng.uniform(-settings.shift, settings.shift, 2) * (WIDTH, HEIGHT)
    jitter = rng.normal(0, 1, (len(JOINTS), 2)) * settings.jitter
    height = rng.uniform(1 - settings.brightness, 1 + settings.brightness, len(JOINTS))
    height *= rng.random(len(JOINTS)) >= settings.joint_dropout
    # The affine map from output to input pixels, as `Image.transform` expects it.
    inverse = np.array([[math.cos(turn), math.sin(turn)], [-math.sin(turn), math.cos(turn)]]) / larger
    return np.stack(
        [
            _sampled(one, inverse, moved + offset) * np.float32(h)
            for one, offset, h in zip(maps, jitter, height, strict=True)
        ]
    )


def _sampled(one: np.ndarray, inverse: np.ndarray, moved: np.ndarray) -> np.ndarray:
    """Returns a map `float32 [64, 48]` rotated and scaled about its centre, then moved by x and y in pixels."""
    # Pillow's pixel centres are at half-integer coordinates.
    begin = _MIDDLE + 0.5 - inverse @ (_MIDDLE + 0.5 + moved)
    numbers = (*inverse[0], begin[0], *inverse[1], begin[1])
    image = Image.fromarray(np.ascontiguousarray(one))
    return np.asarray(image.transform(image.size, Image.Transform.AFFINE, numbers, Image.Resampling.BILINEAR))
