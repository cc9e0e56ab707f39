"""Affine image registration: aligns pairs of thumbnails and measures how well they correlate after the alignment.

The fit is Gauss-Newton over the six parameters of an affine map, from coarse to fine (Lucas and Kanade 1981, in the
inverse compositional form of Baker and Matthews 2004, Int. J. Computer Vision 56), for many pairs at once.
"""

from dataclasses import dataclass

import numpy as np
from scipy.ndimage import binary_dilation, label, uniform_filter

from headstand import threads

SIDE = 64
"""Side of the grayscale thumbnails that are compared, in pixels."""

LEVELS = ((16, 8, 3, 0.65), (32, 6, 5, 0.8), (64, 5, 9, 0.0))
"""Side in pixels, Gauss-Newton steps, window and minimum correlation to continue, for each level of the image pyramid.

At 16 pixels the first step can correct a shift of 10 % of a side. The window is the side in pixels of the square whose
mean is subtracted before the correlation, so that shapes count and not areas. Of rotated or cropped copies 97 of 100
pass both bounds, of unrelated photos 1 in 50."""

OVERLAP = 0.5
"""Minimum fraction of the first thumbnail that must fall inside the second."""

BLOCKS = 4
"""Number of blocks along each side; thumbnails are also compared in each of 4 x 4 blocks.

Photos of two poses in the same studio differ in some of the blocks."""

BLACK, WHITE = 12, 250
"""Brightness bounds, 0..255, of the corners that a rotation fills with black or white, with a margin for JPEG noise."""

FILLED = 0.15
"""Maximum fraction of a thumbnail that filled corners cover: 5 degrees make 0.05. A larger area is background."""

MARGIN = 4
"""Width in pixels of the margin around filled corners, and along the sides, that is also masked out.

It is half of the largest window."""

CHUNK = 256
"""Number of pairs fitted at once; their gradients take 25 MB."""


_CROSS = np.zeros((3, 3, 3), dtype=bool)
_CROSS[1, 1, :] = _CROSS[1, :, 1] = True
"""Structuring element for `[N, height, width]` arrays: the 4-neighbourhood of a pixel within its own picture."""


@dataclass(frozen=True)
class Alignment:
    """Results of the alignment, arrays with one value per pair.

    Attributes:
        whole: correlation over the overlap after the fit, -1..1; 0 where a coarse level has rejected the pair.
        worst: correlation of the worst block with structure, likewise.
        angle: rotation in degrees.
        scale: square root of the change of area.
    """

    whole: np.ndarray
    worst: np.ndarray
    angle: np.ndarray
    scale: np.ndarray


@dataclass(frozen=True)
class Stack:
    """Image pyramid of N thumbnails.

    Attributes:
        images: `[N, side, side]` for each level, `float32`, the finest `uint8`.
        valid: masks of the same shapes, `bool`: False in corners that a rotation has filled.
    """

    images: tuple[np.ndarray, ...]
    valid: tuple[np.ndarray, ...]

    @classmethod
    def of(cls, thumbnails: np.ndarray) -> "Stack":
        """Builds the pyramid of thumbnails `uint8 [N, 64, 64]`."""
        sides = [level[0] for level in LEVELS]
        chunks = [thumbnails[start : start + CHUNK] for start in range(0, len(thumbnails), CHUNK)]
        valid = np.concatenate([_valid(chunk) for chunk in chunks])
        return cls(
            (*(np.concatenate([_reduced(chunk, side) for chunk in chunks]) for side in sides[:-1]), thumbnails),
            (*(_reduced(valid, side) == 1 for side in sides[:-1]), valid),
        )

    @property
    def mirrored(self) -> "Stack":
        """The pyramid of the horizontally mirrored thumbnails."""
        return Stack(*(tuple(level[:, :, ::-1] for level in levels) for levels in (self.images, self.valid)))


def align(first: Stack, second: Stack, i: np.ndarray, j: np.ndarray) -> Alignment:
    """Aligns each `second[j]` with its `first[i]`, with as many threads as cores.

    Args:
        first: pyramid of the reference thumbnails.
        second: pyramid of the thumbnails that are warped.
        i: `int [P]`, indices into `first`.
        j: `int [P]`, indices into `second`.
    """
    chunks = [(i[start : start + CHUNK], j[start : start + CHUNK]) for start in range(0, len(i), CHUNK)]
    parts = list(threads.parallel(lambda indices: _align(first, second, *indices), chunks))
    parts = parts or [Alignment(*np.empty((4, 0), np.float32))]
    return Alignment(*(np.concatenate([getattr(part, name) for part in parts]) for name in Alignment.__annotations__))


def _align(first: Stack, second: Stack, i: np.ndarray, j: np.ndarray) -> Alignment:
    warp = np.tile(np.eye(3, dtype=np.float32), (len(i), 1, 1))
    whole, worst = np.zeros((2, len(i)), np.float32)
    left = np.arange(len(i))
    for level, (_, steps, window, least) in enumerate(LEVELS):
        one, two = first.images[level][i[left]].astype(np.float32), second.images[level][j[left]].astype(np.float32)
        valid = [first.valid[level][i[left]], second.valid[level][j[left]]]
        warp[left] = _fit(one, two, valid, warp[left], steps)
        moved, inside = _sample(_detail(two, window), valid, warp[left])
        whole[left], worst[left] = _correlation(_detail(one, window), moved, inside)
        out = whole[left] < least
        whole[left[out]] = worst[left[out]] = 0
        left = left[~out]
        if not len(left):
            break
    linear = warp[:, :2, :2]
    area = linear[:, 0, 0] * linear[:, 1, 1] - linear[:, 0, 1] * linear[:, 1, 0]
    angle = np.degrees(np.arctan2(linear[:, 1, 0] - linear[:, 0, 1], linear[:, 0, 0] + linear[:, 1, 1]))
    return Alignment(whole, worst, angle, np.sqrt(np.maximum(area, 0)))


def _reduced(images: np.ndarray, side: int) -> np.ndarray:
    """Returns thumbnails reduced to `side` pixels by averaging squares, `float32 [P, side, side]`."""
    step = SIDE // side
    average = np.kron(np.eye(side), np.full(step, 1 / step)).astype(np.float32)  # a product is quicker than `mean`
    return average @ images.astype(np.float32) @ average.T


def _valid(images: np.ndarray) -> np.ndarray:
    """Returns a mask that is False in the corners that a rotation has filled, `bool [P, 64, 64]`."""
    blank = np.zeros(images.shape, dtype=bool)
    for fill in (images <= BLACK, images >= WHITE):
        corners = fill[:, [0, 0, -1, -1], [0, -1, 0, -1]]
        if corners.any():
            parts, _ = label(fill, _CROSS)
            at_corners = np.unique(parts[:, [0, 0, -1, -1], [0, -1, 0, -1]])
            blank |= np.isin(parts, at_corners[at_corners > 0])
    blank &= blank.mean((1, 2), keepdims=True) <= FILLED
    if blank.any():
        # Between the corners the filled wedges along the sides are too thin to be pure black or white in a thumbnail.
        turned = blank.any((1, 2))
        frame = np.ones((SIDE, SIDE), dtype=bool)
        frame[MARGIN:-MARGIN, MARGIN:-MARGIN] = False
        blank[turned] = binary_dilation(blank[turned], _CROSS, MARGIN) | frame
    return ~blank


def _detail(images: np.ndarray, window: int) -> np.ndarray:
    return images - uniform_filter(images, (0, window, window), mode="nearest")


def _grid(side: int) -> np.ndarray:
    """Returns pixel centres from -1 to 1 in homogeneous coordinates, `float32 [3, side * side]`: x, y, 1."""
    line = (np.arange(side, dtype=np.float32) + 0.5) * 2 / side - 1
    y, x = np.meshgrid(line, line, indexing="ij")
    return np.stack([x.ravel(), y.ravel(), np.ones(side * side, np.float32)])


def _sample(images: np.ndarray, valid: list[np.ndarray], warp: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Resamples images at the warped pixel centres with bilinear interpolation.

    Returns:
        The values, `float32 [P, side * side]`, and where both pictures are valid, `bool [P, side * side]`.
    """
    side = images.shape[1]
    positions = (warp[:, :2] @ _grid(side) + 1) * (side / 2) - 0.5
    inside = ((positions >= -0.5) & (positions <= side - 0.5)).all(1)
    positions = np.clip(positions, 0, side - 1.001)
    corner = positions.astype(np.int32)
    x, y = np.moveaxis(positions - corner, 1, 0)
    start = corner[:, 1] * side + corner[:, 0]
    flat = images.reshape(len(images), -1)
    a, b, c, d = (np.take_along_axis(flat, start + step, 1) for step in (0, 1, side, side + 1))
    nearest = start + (x >= 0.5) + side * (y >= 0.5)
    inside &= valid[0].reshape(len(images), -1) & np.take_along_axis(valid[1].reshape(len(images), -1), nearest, 1)
    return (a * (1 - x) + b * x) * (1 - y) + (c * (1 - x) + d * x) * y, inside


def _standard(values: np.ndarray, inside: np.ndarray) -> np.ndarray:
    """Returns values standardized to mean 0 and standard deviation 1 over the pixels in the mask, 0 elsewhere."""
    count = np.maximum(inside.sum(1, keepdims=True), 1)
    centred = np.where(inside, values - (values * inside).sum(1, keepdims=True) / count, 0)
    return centred / np.sqrt(np.maximum((centred**2).sum(1, keepdims=True) / count, 1e-3))


def _fit(first: np.ndarray, second: np.ndarray, valid: list[np.ndarray], warp: np.ndarray, steps: int) -> np.ndarray:
    """Returns the affine warps after `steps` Gauss-Newton steps, `float32 [P, 3, 3]`."""
    side = first.shape[1]
    flat = first.reshape(len(first), -1)
    everywhere = np.ones_like(flat, dtype=bool)
    target = _standard(flat, everywhere)
    down, across = np.gradient(target.reshape(first.shape), 2 / side, axis=(1, 2))
    x, y, one = _grid(side)
    across, down = across.reshape(flat.shape), down.reshape(flat.shape)
    slopes = np.stack([across * x, across * y, across * one, down * x, down * y, down * one], 1).astype(np.float32)
    for _ in range(steps):
        moved, inside = _sample(second, valid, warp)
        weighted = slopes * inside[:, None]
        normal = weighted @ slopes.transpose(0, 2, 1)
        # Without damping the system is singular for pictures that have no structure in one direction.
        damping = 1e-2 * np.trace(normal, axis1=1, axis2=2)[:, None, None] / 6 + 1e-3
        error = _standard(moved, inside) - _standard(flat, inside)
        change = np.linalg.solve(normal + damping * np.eye(6, dtype=np.float32), weighted @ error[:, :, None])[:, :, 0]
        step = np.tile(np.eye(3, dtype=np.float32), (len(first), 1, 1))
        step[:, :2] += np.clip(change, -0.25, 0.25).reshape(-1, 2, 3)
        warp = warp @ np.linalg.inv(step)
        # A diverged warp is reset to the identity; such a pair fails the correlation thresholds afterwards.
        away = ~np.isfinite(warp).all((1, 2)) | (np.abs(warp - np.eye(3)) > 0.6).any((1, 2))
        warp[away] = np.eye(3)
    return warp.astype(np.float32)


def _correlation(first: np.ndarray, moved: np.ndarray, inside: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns the correlation over the overlap and that of the worst block, each `[P]`."""
    flat = first.reshape(len(first), -1)
    a, b = _standard(flat, inside), _standard(moved, inside)
    count = np.maximum(inside.sum(1), 1)
    whole = np.where(inside.mean(1) >= OVERLAP, (a * b).sum(1) / count, 0)
    product, one, other, filled = (_blocked(values, first.shape[1]) for values in (a * b, a * a, b * b, inside))
    energy = np.sqrt(one * other)
    # The larger energy decides: a block has structure also where only one of the two pictures shows a limb.
    full = np.maximum(one, other)
    usable = (filled >= 0.5 * (first.shape[1] // BLOCKS) ** 2) & (full >= 0.25 * full.mean(1, keepdims=True))
    worst = np.where(usable, product / np.maximum(np.maximum(energy, 0.5 * full), 1e-6), 1).min(1)
    return whole, worst


def _blocked(values: np.ndarray, side: int) -> np.ndarray:
    """Returns sums over `BLOCKS` x `BLOCKS` blocks, `float32 [P, 16]`."""
    step = side // BLOCKS
    return (
        values.reshape(len(values), BLOCKS, step, BLOCKS, step).astype(np.float32).sum((2, 4)).reshape(len(values), -1)
    )
