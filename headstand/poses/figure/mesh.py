"""Quad mesh of the body, assembled from closed tubes with elliptical cross-sections."""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from headstand.poses.figure.geometry import Array, unit

Indices = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Mesh:
    """Quad mesh.

    Attributes:
        vertices: `[V, 3]` in metres.
        normals: outward unit normals `[V, 3]`.
        uv: texture coordinates `[V, 2]` in 0..1.
        quads: vertex indices of the corners `[Q, 4]`.
        parts: body part of each quad `[Q]`, an index into `Outfit.parts`.
    """

    vertices: Array
    normals: Array
    uv: Array
    quads: Indices
    parts: Indices


class MeshBuilder:
    """Mesh builder: collects tubes and merges them into one mesh."""

    def __init__(self) -> None:
        self.meshes: list[tuple[Array, Array, Array, Indices, Indices]] = []
        self.count = 0

    def tube(
        self,
        part: int,
        centres: Array,
        sides: Array,
        fronts: Array,
        rings: Array,
        around: int,
        keep: npt.NDArray[np.bool_] | None = None,
    ) -> None:
        """Adds a tube of `n` elliptical rings.

        Args:
            part: index into `Outfit.parts`.
            centres: ring centres `[n, 3]`.
            sides: width axis of each ring `[n, 3]`, unit vectors.
            fronts: depth axis of each ring `[n, 3]`, unit vectors. The rings run along side x front.
            rings: half-width, half-depth at the front and half-depth at the back, `[n, 3]`.
            around: quads in each ring.
            keep: `[n - 1, around]`; quads where it is False are left out.
        """
        n = len(centres)
        cos, sin, corner, uv = _grid(n, around)
        depth = np.where(sin >= 0, rings[:, 1:2], rings[:, 2:3]) * sin
        points = (
            centres[:, None] + sides[:, None] * (rings[:, 0:1] * cos)[..., None] + fronts[:, None] * depth[..., None]
        )
        along = np.zeros_like(points)  # zeros: the end rows are multiplied below, before they are overwritten
        along[1:-1] = points[2:] - points[:-2]
        across = np.empty_like(points)
        across[:, 1:-1] = points[:, 2:] - points[:, :-2]
        across[:, 0] = across[:, -1] = points[:, 1] - points[:, -2]
        # Cross product written out: np.cross is slow on small arrays.
        normal = np.empty_like(points)
        for i, j, k in ((0, 1, 2), (1, 2, 0), (2, 0, 1)):
            normal[..., i] = across[..., j] * along[..., k] - across[..., k] * along[..., j]
        normal[0], normal[-1] = normal[1], normal[-2]
        if keep is not None:
            corner = corner[keep.ravel()]
        quads = corner + self.count
        self.meshes.append((points.reshape(-1, 3), normal.reshape(-1, 3), uv, quads, np.full(len(quads), part)))
        self.count += points.shape[0] * points.shape[1]

    def blob(self, part: int, centre: Array, frame: Array, radii: tuple[float, float, float], n: int = 8) -> None:
        """Adds an ellipsoid with its half-axes along the columns of `frame`."""
        angle = np.linspace(0.02, np.pi - 0.02, n)
        centres = centre + frame[:, 1] * (radii[1] * np.cos(angle))[:, None]
        rings = np.sin(angle)[:, None] * np.array([[radii[0], radii[2], radii[2]]])
        ones = np.ones((n, 1))
        self.tube(part, centres, ones * frame[:, 0], ones * frame[:, 2], rings, 12)

    def rod(self, part: int, path: Array, side: Array, rings: Array, around: int = 8) -> None:
        """Adds a tube along a path `[n, 3]` whose width axis stays as close as possible to `side`."""
        direction = np.empty_like(path)
        direction[1:-1] = path[2:] - path[:-2]
        direction[0], direction[-1] = path[1] - path[0], path[-1] - path[-2]
        direction = unit(direction)
        sides = unit(side - direction * (direction @ side)[:, None])
        self.tube(part, path, sides, np.cross(direction, sides), rings, around)

    def mesh(self) -> Mesh:
        vertices, normals, uv, quads, parts = (np.concatenate(column) for column in zip(*self.meshes, strict=True))
        return Mesh(vertices, unit(normals), uv, quads, parts)


@lru_cache(maxsize=64)
def _grid(n: int, around: int) -> tuple[Array, Array, Indices, Array]:
    """Returns the arrays shared by all tubes of one size: cosine and sine around, quad corners `[Q, 4]`, and `uv`."""
    angle = np.linspace(0, 2 * np.pi, around + 1)
    u, v = np.broadcast_arrays(np.linspace(0, 1, n)[:, None], np.linspace(0, 1, around + 1)[None])
    corner = (np.arange(n - 1)[:, None] * (around + 1) + np.arange(around)[None]).ravel()
    quads = np.stack([corner, corner + 1, corner + around + 2, corner + around + 1], 1)
    return np.cos(angle), np.sin(angle), quads, np.stack([u, v], -1).reshape(-1, 2)
