"""How light falls on the body, and the shadow that the body throws."""

import numpy as np
from PIL import Image, ImageFilter

from headstand.prepare.sources.figure.camera import Camera, Projection
from headstand.prepare.sources.figure.canvas import Pixels
from headstand.prepare.sources.figure.geometry import Array
from headstand.prepare.sources.figure.raster import Fragments
from headstand.prepare.sources.figure.scene import Scene
from headstand.prepare.sources.figure.wardrobe import HEIGHT, WIDTH, Outfit

_COARSER = 4
"""Creases are looked for on a grid this much coarser than the fragments'."""


def shade(seen: Fragments, outfit: Outfit, camera: Camera, place: Scene, fine: int) -> Pixels:
    """Colour of each fragment, `[3, N]`: wrapped diffuse light, sky from above, a highlight, dark creases."""
    normal = seen.normal @ camera.axes.T.astype(np.float32)
    rows = np.minimum((seen.uv[:, 0] * HEIGHT).astype(np.int64), HEIGHT - 1)
    columns = np.minimum((seen.uv[:, 1] * WIDTH).astype(np.int64), WIDTH - 1)
    texel = (seen.part * HEIGHT + rows) * WIDTH + columns
    albedo = outfit.textures.reshape(-1, 3).take(texel, axis=0)
    direct = np.clip((normal @ place.light + 0.25) / 1.25, 0, 1)
    half = place.light + np.array([0, 0, 1], np.float32)
    shine = np.clip(normal @ (half / np.linalg.norm(half)), 0, 1) ** 24 * outfit.gloss[seen.part]
    up = 0.72 + 0.28 * (normal @ camera.axes[:, 1].astype(np.float32))
    # A crease lies deeper than what is around it: the depth against its own blur, both inside the body only.
    near, far = float(seen.depth.min(initial=9)), float(seen.depth.max(initial=0)) + 1e-3
    cells = fine // _COARSER + 1
    row, column = np.divmod(seen.pixel, fine)
    cell = row // _COARSER * cells + column // _COARSER
    deep = np.zeros((2, cells * cells), np.uint8)
    deep[0, cell], deep[1, cell] = (seen.depth - near) / (far - near) * 255, 255
    blur = ImageFilter.GaussianBlur(fine / 110 / _COARSER)
    mean, cover = (
        np.asarray(Image.fromarray(layer.reshape(cells, cells)).filter(blur), np.float32).ravel()[cell]
        for layer in deep
    )
    behind = seen.depth - near - mean / np.maximum(cover, 1) * (far - near)
    crease = 1 - 0.5 * np.clip((behind - 0.008) / 0.10, 0, 1)
    direct, up, shine = direct * crease, up * crease, shine * crease
    channels = zip(albedo.T, place.sun, place.sky, strict=True)
    return np.stack([flesh * (sun * direct + sky * up) + sun * shine for flesh, sun, sky in channels])


def shadow(vertices: Array, view: Projection, camera: Camera, place: Scene, size: int) -> Pixels:
    """How much of the light the body takes from each pixel of the floor, `[size, size, 1]`: cast and contact shadow."""
    light = camera.axes.T @ place.light
    light = light / max(light[1], 0.35)
    cells = 96
    dark = np.zeros((cells, cells))
    for points, weight in (
        (vertices - np.outer(vertices[:, 1], [light[0], 1.0, light[2]]), place.shade),
        (vertices[vertices[:, 1] < 0.12] * [1, 0, 1], 0.35),
    ):
        x, y, _ = view(points)
        column, row = (x / size * cells).astype(np.int64), (y / size * cells).astype(np.int64)
        inside = (column >= 0) & (column < cells) & (row >= 0) & (row < cells)
        spot = np.zeros((cells, cells))
        spot[row[inside], column[inside]] = weight
        dark = dark + spot * (1 - dark)
    layer = Image.fromarray((dark * 255).astype(np.uint8)).filter(ImageFilter.GaussianBlur(1.3))
    return np.asarray(layer.resize((size, size), Image.Resampling.BICUBIC), np.float32)[..., None] / np.float32(255)
