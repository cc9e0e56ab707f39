"""Twins that `headstand.prepare.twins` misses: turned by some degrees, or with a tenth of a side cropped off.

Each photo is held against the few that are nearest by the coarse parts of their spectrum, also after trial crops, and
those pairs are fitted onto each other. A photo has a bounded number of candidates, so the fits grow with the number of
photos; the search for the nearest is one matrix product a crop.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.fft import dctn
from threadpoolctl import threadpool_limits

from headstand.prepare import alignment

FREQUENCIES = 7
"""Waves of less than this frequency describe a thumbnail for the search; turns and crops blur the finer ones first."""

CROPS = (
    (0.0, 0.0, 0.0, 0.0), (0.1, 0.1, 0.1, 0.1), (0.1, 0.0, 0.1, 0.0), (0.1, 0.0, 0.0, 0.1), (0.0, 0.1, 0.1, 0.0),
    (0.0, 0.1, 0.0, 0.1),
)  # fmt: skip
"""Shares cut off a photo's left, right, top and bottom before its nearest are searched."""

NEAREST = 4
"""Candidates of a photo, by its best crop."""

CANDIDATE = 0.6
"""Least correlation of the descriptions of two candidates."""

WHOLE, WORST = 0.9, 0.7
"""Least correlation after the fit, over all and in the worst block. Of 4,300 photos of yoga poses some 70 pairs
pass, all of one picture or of neighbouring frames; different people in one pose on white reach 0.92 and 0.69."""

ANGLE, SCALE = 8.0, 1.4
"""Largest turn in degrees, and largest change of scale, that count as the same picture."""

ROWS = 256
"""Photos searched at once: 256 by 20,000 correlations take 20 MB."""

MOST = 25_000
"""Photos among which probable twins are searched; with more the search, which grows with the square, takes minutes."""


@dataclass(frozen=True)
class Pair:
    """Two photos, by their places, that are probably the same picture, and how they agree."""

    first: int
    second: int
    likeness: float
    detail: str


def pairs(thumbnails: np.ndarray, groups: np.ndarray) -> list[Pair]:
    """Find probable twins that are not in one group yet.

    Args:
        thumbnails: `uint8 [N, 64, 64]`.
        groups: `int [N]`, the number that a photo shares with its known twins.

    Returns:
        The surest first.
    """
    if len(thumbnails) < 2:
        return []
    found: list[Pair] = []
    stack = alignment.Stack.of(thumbnails)
    with threadpool_limits(1):
        for mirrored in (False, True):
            i, j = _candidates(thumbnails, groups, mirrored)
            fit = alignment.align(stack, stack.mirrored if mirrored else stack, i, j)
            good = (fit.whole >= WHOLE) & (fit.worst >= WORST) & (np.abs(fit.angle) <= ANGLE)
            good &= (fit.scale <= SCALE) & (fit.scale >= 1 / SCALE)
            for k in np.flatnonzero(good).tolist():
                detail = _detail(float(fit.angle[k]), float(fit.scale[k]), mirrored)
                found.append(Pair(int(i[k]), int(j[k]), float(fit.whole[k]), detail))
    return sorted(found, key=lambda pair: (-pair.likeness, pair.first, pair.second))


def surest(pairs: Sequence[Pair], groups: np.ndarray) -> list[Pair]:
    """Of the pairs between the same two groups of twins (`int [N]`) only the surest; in their order."""
    between: dict[tuple[int, int], Pair] = {}
    for pair in sorted(pairs, key=lambda pair: -pair.likeness):
        low, high = sorted((int(groups[pair.first]), int(groups[pair.second])))
        between.setdefault((low, high), pair)
    return list(between.values())


def _detail(angle: float, scale: float, mirrored: bool) -> str:
    words = ["mirrored"] * mirrored
    if abs(angle) >= 0.5:
        words.append(f"turned by {abs(angle):.0f}°" if abs(angle) >= 1 else "turned by less than 1°")
    if abs(scale - 1) >= 0.02:
        words.append("cropped")
    return ", ".join(words) or "shifted or stretched"


def _candidates(thumbnails: np.ndarray, groups: np.ndarray, mirrored: bool) -> tuple[np.ndarray, np.ndarray]:
    """Places of pairs for a closer look, each unordered pair once."""
    whole = _described(thumbnails[:, :, ::-1] if mirrored else thumbnails, CROPS[0])
    cuts = [_described(thumbnails, crop) for crop in CROPS]
    count = len(thumbnails)
    most = min(NEAREST, count - 1)
    keys: set[int] = set()
    for start in range(0, count, ROWS):
        rows = slice(start, start + ROWS)
        likeness = cuts[0][rows] @ whole.T
        for cut in cuts[1:]:
            np.maximum(likeness, cut[rows] @ whole.T, out=likeness)
        likeness[groups[rows, None] == groups[None, :]] = -1
        near = np.argpartition(likeness, -most, axis=1)[:, -most:]
        row, column = np.nonzero(np.take_along_axis(likeness, near, 1) >= CANDIDATE)
        i, j = row + start, near[row, column]
        keys.update((np.minimum(i, j) * count + np.maximum(i, j)).tolist())
    both = np.array(sorted(keys), dtype=np.int64)
    return both // count, both % count


def _described(thumbnails: np.ndarray, crop: tuple[float, float, float, float]) -> np.ndarray:
    """Unit vectors `float32 [N, D]`: the coarse spectrum, each coefficient times the root of its frequency."""
    left, right, top, bottom = (round(share * alignment.SIDE) for share in crop)
    k = np.arange(FREQUENCIES)
    frequency = np.hypot(k[:, None], k[None, :])
    kept = (frequency > 0) & (frequency < FREQUENCIES)
    parts = []
    for start in range(0, len(thumbnails), ROWS):
        cut = thumbnails[start : start + ROWS, top : alignment.SIDE - bottom, left : alignment.SIDE - right]
        spectrum = dctn(cut.astype(np.float32), axes=(1, 2), norm="ortho")[:, :FREQUENCIES, :FREQUENCIES]
        vectors = (spectrum * np.sqrt(frequency))[:, kept]
        parts.append(vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-3))
    return np.concatenate(parts).astype(np.float32)
