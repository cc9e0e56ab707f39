"""Software rasteriser: scanline conversion of quads with back-face culling and a depth buffer."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from headstand.poses.figure.geometry import Array, unit
from headstand.poses.figure.mesh import Indices, Mesh

Points = npt.NDArray[np.float32]

_NOTHING = np.iinfo(np.int64).max
_SEAM = 0.01
"""Pixels by which each end of a scanline is extended, so that rounding leaves no gap between adjacent quads."""


@dataclass(frozen=True)
class Fragments:
    """Visible surface samples: flat pixel index `[N]`, and the depth, unit normal, `uv` and part of each."""

    pixel: Indices
    depth: Points
    normal: Points
    uv: Points
    part: Indices


def rasterise(mesh: Mesh, x: Array, y: Array, depth: Array, size: int) -> Fragments:
    """Returns the visible surface of a mesh on a `size` x `size` grid.

    Args:
        mesh: mesh with `V` vertices.
        x: pixels from the left, `[V]`.
        y: pixels from the top, `[V]`.
        depth: metres from the camera, `[V]`, less than 64.
        size: side of the grid in pixels.
    """
    place = np.stack([x, y, depth], 1)
    corners = np.stack([place[mesh.quads[:, i]] for i in range(4)])  # [4, Q, 3]
    a, b, c, d = corners
    # Back-face culling.
    facing = (c[:, 0] - a[:, 0]) * (d[:, 1] - b[:, 1]) - (c[:, 1] - a[:, 1]) * (d[:, 0] - b[:, 0]) < 0
    chosen = np.flatnonzero(facing)
    corners = corners[:, chosen]
    plane = _planes(corners)
    quad, row, start, end = _rows(corners, size)

    # Depth along each row, clipped to the quad's range.
    low, high = corners[:, :, 2].min(0)[quad], corners[:, :, 2].max(0)[quad]
    first, last = (np.clip(_at(plane[2], quad, column + 0.5, row + 0.5), low, high) for column in (start, end))
    count = end - start + 1
    slope = ((last - first) / np.maximum(count - 1, 1)).astype(np.float32)

    # From here on the arrays have one element per covered pixel, about 100,000: few and flat arrays for speed.
    line = np.repeat(np.arange(len(count)), count)
    step = np.arange(len(line)) - (np.cumsum(count) - count).take(line)
    pixel = (row * size + start).take(line) + step
    deep = first.astype(np.float32).take(line) + slope.take(line) * step.astype(np.float32)
    # Depth in the upper bits, row index in the lower 32: one minimum finds the nearest row. Steps of 30 nm, up to 64 m.
    key = (deep * np.float32(2**25)).astype(np.int64) << 32 | line
    nearest = np.full(size * size, _NOTHING)
    np.minimum.at(nearest, pixel, key)

    filled = np.flatnonzero(nearest != _NOTHING)
    found = nearest[filled]
    quad = quad[found & 0xFFFFFFFF]
    row, column = np.divmod(filled, size)
    s, t = (np.clip(_at(p, quad, column + 0.5, row + 0.5), 0, 1).astype(np.float32) for p in plane[:2])
    # Bilinear interpolation of normals and uv, one channel at a time: gathering rows of five values is slower.
    attributes = np.concatenate([mesh.normals, mesh.uv], 1).astype(np.float32)
    at_a, at_b, at_c, at_d = (attributes[mesh.quads[chosen, i]].T for i in range(4))
    mixed = np.empty((5, len(filled)), np.float32)
    for i, (base, right, down, bow) in enumerate(
        zip(at_a, at_b - at_a, at_d - at_a, at_a - at_b + at_c - at_d, strict=True)
    ):
        mixed[i] = base.take(quad) + right.take(quad) * s + (down.take(quad) + bow.take(quad) * s) * t
    depths = ((found >> 32) * 2.0**-25).astype(np.float32)
    return Fragments(filled, depths, unit(mixed[:3].T), mixed[3:].T, mesh.parts[chosen].take(quad))


def _planes(corners: Array) -> Array:
    """Returns linear functions of the pixel coordinates for each quad, approximated by a parallelogram.

    The result is `[3, 3, Q]`: for the coordinates s and t within the quad (0..1) and for the depth, the value at the
    origin and the derivatives by x and y.
    """
    a, b, c, d = corners
    right, down, middle = (b - a + c - d) / 2, (d - a + c - b) / 2, (a + b + c + d) / 4
    area = right[:, 0] * down[:, 1] - right[:, 1] * down[:, 0]
    area = np.where(np.abs(area) < 1e-6, 1e-6, area)
    s = np.stack([down[:, 1], -down[:, 0]]) / area
    t = np.stack([-right[:, 1], right[:, 0]]) / area
    z = s * right[:, 2] + t * down[:, 2]
    planes = []
    for steps, centre in ((s, 0.5), (t, 0.5), (z, middle[:, 2])):
        planes.append(np.stack([centre - steps[0] * middle[:, 0] - steps[1] * middle[:, 1], *steps]))
    return np.stack(planes)


def _at(plane: Array, quad: Indices, x: npt.NDArray[np.floating], y: npt.NDArray[np.floating]) -> Array:
    """Returns the linear functions of the given quads at pixel coordinates x, y."""
    return plane[0].take(quad) + plane[1].take(quad) * x + plane[2].take(quad) * y


def _rows(corners: Array, size: int) -> tuple[Indices, Indices, Indices, Indices]:
    """Splits quads into rows of covered pixel centres: quad, row, first and last column, `[R]` each."""
    heights = corners[:, :, 1]
    top = np.clip(np.ceil(heights.min(0) - 0.5), 0, size).astype(np.int64)
    count = np.maximum(np.clip(np.floor(heights.max(0) - 0.5), -1, size - 1).astype(np.int64) - top + 1, 0)
    quad = np.repeat(np.arange(len(count)), count)
    row = np.arange(len(quad)) + (top - np.cumsum(count) + count).take(quad)
    middle = row + 0.5
    left, right = np.full(len(quad), np.inf), np.full(len(quad), -np.inf)
    for start, end in zip(corners, np.roll(corners, -1, axis=0), strict=True):
        rise = end[:, 1] - start[:, 1]
        lean = (end[:, 0] - start[:, 0]) / np.where(rise == 0, 1, rise)
        begin = start[:, 1].take(quad)
        crossed = (begin <= middle) != (end[:, 1].take(quad) <= middle)
        x = start[:, 0].take(quad) + (middle - begin) * lean.take(quad)
        left = np.where(crossed & (x < left), x, left)
        right = np.where(crossed & (x > right), x, right)
    first = np.clip(np.ceil(left - 0.5 - _SEAM), 0, size).astype(np.int64)
    last = np.clip(np.floor(right - 0.5 + _SEAM), -1, size - 1).astype(np.int64)
    some = np.flatnonzero(last >= first)
    return quad[some], row[some], first[some], last[some]
