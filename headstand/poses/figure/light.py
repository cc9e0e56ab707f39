"""Shading of the body surface and its shadow on the floor."""

import numpy as np
from PIL import Image, ImageFilter

from headstand.poses.figure.camera import Camera, Projection
from headstand.poses.figure.canvas import Pixels
from headstand.poses.figure.geometry import Array
from headstand.poses.figure.outfit import HEIGHT, WIDTH, Outfit
from headstand.poses.figure.raster import Fragments
from headstand.poses.figure.scene import Scene

_COARSER = 4
"""Ratio of the fragments' resolution to that of the grid on which creases are detected."""


def shade(seen: Fragments, outfit: Outfit, camera: Camera, scene: Scene, fine: int) -> Pixels:
    """Returns the colour of each fragment, `float32 [3, N]`.

    The sum of wrapped diffuse light, hemispherical light from the sky and a Blinn-Phong highlight, darkened in creases.
    `fine` is the side of the fragments' grid in pixels.
    """
    normal = seen.normal @ camera.axes.T.astype(np.float32)
    rows = np.minimum((seen.uv[:, 0] * HEIGHT).astype(np.int64), HEIGHT - 1)
    columns = np.minimum((seen.uv[:, 1] * WIDTH).astype(np.int64), WIDTH - 1)
    texel = (seen.part * HEIGHT + rows) * WIDTH + columns
    albedo = outfit.textures.reshape(-1, 3).take(texel, axis=0)
    direct = np.clip((normal @ scene.light + 0.25) / 1.25, 0, 1)
    half = scene.light + np.array([0, 0, 1], np.float32)
    shine = np.clip(normal @ (half / np.linalg.norm(half)), 0, 1) ** 24 * outfit.gloss[seen.part]
    up = 0.72 + 0.28 * (normal @ camera.axes[:, 1].astype(np.float32))
    # A crease is deeper than its surroundings: compare the depth with its blurred copy, inside the body only.
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
    channels = zip(albedo.T, scene.sun, scene.sky, strict=True)
    return np.stack([flesh * (sun * direct + sky * up) + sun * shine for flesh, sun, sky in channels])


def shadow(vertices: Array, view: Projection, camera: Camera, scene: Scene, size: int) -> Pixels:
    """Returns the share of light that the body blocks at each pixel, `float32 [size, size, 1]`.

    The cast shadow is projected onto the floor along the light direction. The contact shadow lies below the parts that
    are less than 0.12 m above the floor.
    """
    light = camera.axes.T @ scene.light
    light = light / max(light[1], 0.35)
    cells = 96
    dark = np.zeros((cells, cells))
    for points, weight in (
        (vertices - np.outer(vertices[:, 1], [light[0], 1.0, light[2]]), scene.shade),
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
