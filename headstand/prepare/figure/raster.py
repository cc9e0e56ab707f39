"""From quads to pixels: points spread over each visible quad, the nearest one kept for each pixel."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from headstand.prepare.figure.geometry import Array, unit
from headstand.prepare.figure.mesh import Mesh

Points = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Fragments:
    """The visible surface: flat pixel index `[N]`, and for each its depth, unit normal, `uv` and part."""

    pixel: npt.NDArray[np.int64]
    depth: npt.NDArray[np.float32]
    normal: npt.NDArray[np.float32]
    uv: npt.NDArray[np.float32]
    part: npt.NDArray[np.int64]


DENSITY = 1.05
"""Points a pixel along each edge of a quad: few enough to be fast, with a gap here and there."""

_NOTHING = np.iinfo(np.int64).max


def rasterise(mesh: Mesh, x: Array, y: Array, depth: Array, size: int) -> Fragments:
    """Find the visible surface of a mesh on a `size` x `size` grid.

    Args:
        mesh: the body.
        x: pixels from the left, `[V]`.
        y: pixels from the top, `[V]`.
        depth: distance from the camera, `[V]`.
        size: side of the grid.
    """
    place = np.stack([x, y, depth], 1).astype(np.float32)
    a, b, c, d = (place[mesh.quads[:, i]] for i in range(4))
    # Quads seen from behind, and those wholly outside, are left out.
    facing = (c[:, 0] - a[:, 0]) * (d[:, 1] - b[:, 1]) - (c[:, 1] - a[:, 1]) * (d[:, 0] - b[:, 0]) < 0
    low, high = np.minimum(np.minimum(a, b), np.minimum(c, d)), np.maximum(np.maximum(a, b), np.maximum(c, d))
    within = (high[:, 0] > 0) & (high[:, 1] > 0) & (low[:, 0] < size) & (low[:, 1] < size)
    chosen = np.flatnonzero(facing & within)
    a, b, c, d = (corner[chosen] for corner in (a, b, c, d))
    across = _steps(a, b, d, c)
    along = _steps(a, d, b, c)
    count = across * along
    # Everything below runs over points, some 100,000 of them: flat float32 arrays, as few as can be.
    quad = np.repeat(np.arange(len(chosen)), count)
    step = np.arange(len(quad), dtype=np.int32) - (np.cumsum(count) - count).astype(np.int32).take(quad)
    row = step // across.astype(np.int32).take(quad)
    t = (row + np.float32(0.5)) * (1 / along).astype(np.float32).take(quad)
    s = (step + np.float32(0.5)) * (1 / across).astype(np.float32).take(quad) - row
    right, down, bow = b - a, d - a, a - b + c - d
    px, py, pz = (
        a[:, i].take(quad) + right[:, i].take(quad) * s + (down[:, i].take(quad) + bow[:, i].take(quad) * s) * t
        for i in range(3)
    )
    # Points beyond the frame fall on a margin of one pixel, which is thrown away.
    column, line = (np.clip(np.floor(p), -1, size).astype(np.int32) + 1 for p in (px, py))
    # One number holds depth, then the point: the least one of a pixel wins. Steps of 30 nm, up to 64 m.
    key = (pz * np.float32(2**25)).astype(np.int64) << 32 | np.arange(len(quad))
    nearest = np.full((size + 2) * (size + 2), _NOTHING)
    np.minimum.at(nearest, line * np.int32(size + 2) + column, key)
    nearest = nearest.reshape(size + 2, size + 2)[1:-1, 1:-1].ravel()
    filled = np.flatnonzero(nearest != _NOTHING)
    winner = nearest[filled] & 0xFFFFFFFF
    s, t, origin = s[winner], t[winner], chosen[quad[winner]]
    attributes = np.concatenate([mesh.normals, mesh.uv], 1).astype(np.float32)
    mixed = np.zeros((len(filled), 5), np.float32)
    for i, weight in enumerate(((1 - s) * (1 - t), s * (1 - t), s * t, (1 - s) * t)):
        mixed += attributes[mesh.quads[:, i][origin]] * weight[:, None]
    return Fragments(filled, pz[winner], unit(mixed[:, :3]), mixed[:, 3:], mesh.parts[origin])


def _steps(start: Points, end: Points, other_start: Points, other_end: Points) -> npt.NDArray[np.int64]:
    """Points along a pair of opposite edges, `[Q]`: enough for the longer one."""
    first, second = np.abs(end - start), np.abs(other_end - other_start)
    longest = np.maximum(np.maximum(first[:, 0], first[:, 1]), np.maximum(second[:, 0], second[:, 1]))
    return np.maximum(np.ceil(DENSITY * longest), 1).astype(np.int64)
