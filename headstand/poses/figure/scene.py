"""Random scene around the body: background, mat, occluder, light and lens, drawn independently of the pose."""

from dataclasses import dataclass

import numpy as np
from PIL import Image

from headstand.poses.figure import backgrounds
from headstand.poses.figure.camera import Camera
from headstand.poses.figure.canvas import Canvas, Pixels
from headstand.poses.figure.props import hide


@dataclass(frozen=True)
class Scene:
    """Background, lighting and photographic settings of one image.

    Attributes:
        background: `[size, size, 3]` in 0..1.
        front: layer with premultiplied alpha that occludes the body, or None.
        light: unit vector towards the light `[3]` in camera axes (right, up, towards the camera).
        sun: strength of direct light per channel `[3]`.
        sky: strength of diffuse light per channel `[3]`.
        shade: darkness of the cast shadow in 0..1.
        grain: noise to add, `[size, size, 1]`.
        cast: white balance and exposure `[3]`.
        contrast: factor about mid-grey.
        blur: radius in pixels of a 256-pixel photo.
    """

    background: Pixels
    front: Image.Image | None
    light: Pixels
    sun: Pixels
    sky: Pixels
    shade: float
    grain: Pixels
    cast: Pixels
    contrast: float
    blur: float


def build(camera: Camera, rng: np.random.Generator, size: int) -> Scene:
    """Draws a random scene for a camera's framing."""
    canvas = Canvas(size, rng)
    backgrounds.paint(canvas)
    if rng.random() < 0.45:
        _mat(canvas, camera)
    background = canvas.pixels
    background *= 1 + 0.05 * canvas.noise(2)
    background += np.float32(0.012) * canvas.noise(32)
    light = np.array([rng.uniform(-1, 1), rng.uniform(0.25, 1.1), rng.uniform(-0.25, 1.0)])
    direct = rng.uniform(0.25, 0.95)
    warm = 1 + rng.uniform(-0.4, 1) * np.array([0.10, 0.0, -0.14])
    return Scene(
        background=np.clip(background, 0, 1, out=background),
        front=hide(canvas) if rng.random() < 0.2 else None,
        light=(light / np.linalg.norm(light)).astype(np.float32),
        sun=(direct * warm).astype(np.float32),
        sky=((1.12 - 0.72 * direct) * (2 - warm) * rng.uniform(0.85, 1.1)).astype(np.float32),
        shade=float(rng.uniform(0.15, 0.6)) if rng.random() < 0.85 else 0.0,
        grain=(rng.uniform(0.0, 0.022) * rng.standard_normal((size, size, 1), np.float32)).astype(np.float32),
        cast=(rng.uniform(0.8, 1.12) * rng.uniform(0.95, 1.05, 3)).astype(np.float32),
        contrast=float(rng.uniform(0.85, 1.15)),
        blur=float(rng.uniform(0.3, 0.9)) if rng.random() < 0.3 else 0.0,
    )


def _mat(canvas: Canvas, camera: Camera) -> None:
    """Draws a yoga mat around the projected lowest point of the body."""
    rng, x = canvas.rng, camera.middle
    low = min(camera.bottom + float(rng.uniform(0.0, 0.04)), 0.99)
    top = max(low - float(rng.uniform(0.06, 0.2)), canvas.floor + 0.01)
    near, lean = camera.share * float(rng.uniform(0.25, 0.6)), float(rng.uniform(-0.15, 0.15))
    far = near * (top - canvas.vanishing) / (low - canvas.vanishing)
    corners = [(x - near, low), (x + near, low), (x + lean + far, top), (x + lean - far, top)]
    tone = canvas.colour(0.2, 0.9, 1.2)
    with canvas.brush() as brush:
        brush.polygon([(a, b + 0.008) for a, b in corners], tone * 0.6)
        brush.polygon(corners, tone)
