"""Closed tubes of quads with elliptical rings: what the body's surface is made of."""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from headstand.prepare.sources.figure.geometry import Array, unit

Indices = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Mesh:
    """Quads.

    `vertices` and outward unit `normals` `[V, 3]`, places in the texture `uv [V, 2]` in 0..1, corner indices
    `quads [Q, 4]`, and each quad's part `[Q]`, an index into `Outfit.parts`.
    """

    vertices: Array
    normals: Array
    uv: Array
    quads: Indices
    parts: Indices


class Sculptor:
    """Gathers tubes and makes one mesh of them."""

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
        """Add a tube: ring centres and axes `[n, 3]`, half-width, front and back half-depth `[n, 3]`.

        The rings run along side x front. `keep [n - 1, around]` leaves quads out.
        """
        n = len(centres)
        cos, sin, corner, uv = _grid(n, around)
        depth = np.where(sin >= 0, rings[:, 1:2], rings[:, 2:3]) * sin
        points = (
            centres[:, None] + sides[:, None] * (rings[:, 0:1] * cos)[..., None] + fronts[:, None] * depth[..., None]
        )
        along = np.zeros_like(points)  # at both ends too, which are multiplied before they are replaced
        along[1:-1] = points[2:] - points[:-2]
        across = np.empty_like(points)
        across[:, 1:-1] = points[:, 2:] - points[:, :-2]
        across[:, 0] = across[:, -1] = points[:, 1] - points[:, -2]
        # np.cross is slow on small arrays; written out.
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
        """An ellipsoid with half-axes along the frame's columns."""
        angle = np.linspace(0.02, np.pi - 0.02, n)
        centres = centre + frame[:, 1] * (radii[1] * np.cos(angle))[:, None]
        rings = np.sin(angle)[:, None] * np.array([[radii[0], radii[2], radii[2]]])
        ones = np.ones((n, 1))
        self.tube(part, centres, ones * frame[:, 0], ones * frame[:, 2], rings, 12)

    def rod(self, part: int, path: Array, side: Array, rings: Array, around: int = 8) -> None:
        """A tube along a path `[n, 3]` whose width axis stays as near to `side` as it can."""
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
    """What tubes of the same size share: cosine and sine around, the quads' corners `[Q, 4]`, and `uv`."""
    angle = np.linspace(0, 2 * np.pi, around + 1)
    u, v = np.broadcast_arrays(np.linspace(0, 1, n)[:, None], np.linspace(0, 1, around + 1)[None])
    corner = (np.arange(n - 1)[:, None] * (around + 1) + np.arange(around)[None]).ravel()
    quads = np.stack([corner, corner + 1, corner + around + 2, corner + around + 1], 1)
    return np.cos(angle), np.sin(angle), quads, np.stack([u, v], -1).reshape(-1, 2)
