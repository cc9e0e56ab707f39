"""Visualisation of heatmaps: joints at the peaks, connected by bones."""

import numpy as np
from PIL import Image, ImageDraw

from headstand.poses.heatmap_file import HEIGHT, JOINTS, WIDTH
from headstand.poses.keypoints import UNSEEN

SIDE = 4 * HEIGHT
"""Side of the image in pixels."""

_BONES = tuple(
    (JOINTS.index(one), JOINTS.index(other), colour)
    for one, other, colour in (
        *(
            (f"{side}_{one}", f"{side}_{other}", colour)
            for side, colour in (("left", "#2a78b8"), ("right", "#c8641e"))
            for one, other in (("shoulder", "elbow"), ("elbow", "wrist"), ("hip", "knee"), ("knee", "ankle"),
                               ("shoulder", "hip"), ("ear", "eye"))
        ),
        ("left_shoulder", "right_shoulder", "#555555"), ("left_hip", "right_hip", "#555555"),
        ("left_eye", "nose", "#555555"), ("right_eye", "nose", "#555555"),
    )
)  # fmt: skip
"""Pairs of joint indices with their line colours: the person's left is blue, the right orange, the middle grey."""


def draw_skeleton(maps: np.ndarray) -> np.ndarray:
    """Returns an image `uint8 [SIDE, SIDE, 3]` of heatmaps `float32 [17, 64, 48]`: maps in grey, skeleton on top."""
    heat = np.clip(maps.max(axis=0), 0, 1)
    grey = np.round(255 - 90 * heat).astype(np.uint8)
    scale = SIDE // HEIGHT
    left = (SIDE - WIDTH * scale) // 2
    picture = Image.new("RGB", (SIDE, SIDE), "white")
    picture.paste(Image.fromarray(grey).resize((WIDTH * scale, HEIGHT * scale), Image.Resampling.BILINEAR), (left, 0))
    rows, columns = np.divmod(maps.reshape(len(JOINTS), -1).argmax(axis=1), WIDTH)
    points = [(left + (x + 0.5) * scale, (y + 0.5) * scale) for x, y in zip(columns, rows, strict=True)]
    visible = maps.reshape(len(JOINTS), -1).max(axis=1) > UNSEEN
    draw = ImageDraw.Draw(picture)
    for one, other, colour in _BONES:
        if visible[one] and visible[other]:
            draw.line([points[one], points[other]], fill=colour, width=3)
    for (x, y), shown in zip(points, visible, strict=True):
        if shown:
            draw.ellipse((x - 3, y - 3, x + 3, y + 3), fill="#222222")
    return np.asarray(picture)
