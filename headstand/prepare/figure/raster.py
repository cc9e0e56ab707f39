"""From quads to pixels: points spread over each visible quad, the nearest one kept for each pixel."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from headstand.prepare.figure.body import Mesh

Array = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Fragments:
    """The visible surface: flat pixel index `[N]`, and for each its depth, unit normal, `uv` and part."""

    pixel: npt.NDArray[np.int64]
    depth: npt.NDArray[np.float32]
    normal: npt.NDArray[np.float32]
    uv: npt.NDArray[np.float32]
    part: npt.NDArray[np.int64]


DENSITY = 1.35
"""Points a pixel along each edge of a quad; fewer leave holes."""


def rasterise(mesh: Mesh, x: Array, y: Array, depth: Array, size: int) -> Fragments:
    """Find the visible surface of a mesh on a `size` x `size` grid.

    Args:
        mesh: the body.
        x: pixels from the left, `[V]`.
        y: pixels from the top, `[V]`.
        depth: distance from the camera, `[V]`.
        size: side of the grid.
    """
    place = np.stack([x, y, depth], 1)
    corners = place[mesh.quads]  # [Q, 4, 3]
    a, b, c, d = (corners[:, i] for i in range(4))
    # Quads seen from behind, and those wholly outside, are left out.
    facing = (c[:, 0] - a[:, 0]) * (d[:, 1] - b[:, 1]) - (c[:, 1] - a[:, 1]) * (d[:, 0] - b[:, 0]) < 0
    low, high = corners[:, :, :2].min(1), corners[:, :, :2].max(1)
    chosen = np.flatnonzero(facing & (high > 0).all(1) & (low < size).all(1))
    a, b, c, d = (corner[chosen] for corner in (a, b, c, d))

    def length(start: Array, end: Array) -> Array:
        return np.abs(end[:, :2] - start[:, :2]).max(1)

    across = np.maximum(np.ceil(DENSITY * np.maximum(length(a, b), length(d, c))), 1).astype(np.int64)
    along = np.maximum(np.ceil(DENSITY * np.maximum(length(a, d), length(b, c))), 1).astype(np.int64)
    count = across * along
    quad = np.repeat(np.arange(len(chosen)), count)
    step = np.arange(len(quad)) - np.repeat(np.cumsum(count) - count, count)
    row, column = np.divmod(step, across[quad])
    s = ((column + 0.5) / across[quad]).astype(np.float32)
    t = ((row + 0.5) / along[quad]).astype(np.float32)
    base, right, down, bow = (m.astype(np.float32) for m in (a, b - a, d - a, a - b + c - d))
    points = base[quad] + right[quad] * s[:, None] + down[quad] * t[:, None] + bow[quad] * (s * t)[:, None]
    column, row = np.floor(points[:, 0]).astype(np.int64), np.floor(points[:, 1]).astype(np.int64)
    inside = np.flatnonzero((column >= 0) & (column < size) & (row >= 0) & (row < size))
    pixel = row[inside] * size + column[inside]
    # One number holds depth, then the point: the least one of a pixel wins.
    key = (points[inside, 2] * 2.0**26).astype(np.uint64) << np.uint64(32) | inside.astype(np.uint64)
    nearest = np.full(size * size, np.iinfo(np.uint64).max)
    np.minimum.at(nearest, pixel, key)
    filled = np.flatnonzero(nearest != np.iinfo(np.uint64).max)
    winner = (nearest[filled] & np.uint64(0xFFFFFFFF)).astype(np.int64)
    s, t, quad = s[winner], t[winner], quad[winner]
    weights = np.stack([(1 - s) * (1 - t), s * (1 - t), s * t, (1 - s) * t], 1)
    origin = chosen[quad]
    attributes = np.concatenate([mesh.normals, mesh.uv], 1).astype(np.float32)
    mixed = (attributes[mesh.quads[origin]] * weights[:, :, None]).sum(1)
    normal = mixed[:, :3]
    normal /= np.maximum(np.sqrt((normal * normal).sum(1, keepdims=True)), 1e-6)
    return Fragments(filled, points[winner, 2], normal, mixed[:, 3:], mesh.parts[origin])
