"""Search for geometric matches: photos that show the same picture rotated by some degrees or cropped by up to a tenth.

These are the copies that the module `near_duplicates` misses. For each photo, the search takes a few nearest
neighbours by the low frequencies of their cosine spectra, also after trial crops, and aligns each pair (`alignment`).
The number of candidates per photo is bounded, so the number of alignments is linear in the number of photos; the
nearest-neighbour search is one matrix product per crop.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.fft import dct
from threadpoolctl import threadpool_limits

from headstand import threads
from headstand.preparation import alignment

FREQUENCIES = 7
"""Upper bound of the frequencies in a descriptor; rotations and crops change higher frequencies more."""

_FREQUENCY = np.hypot(*np.indices((FREQUENCIES, FREQUENCIES)))
"""Frequency of each coefficient of a spectrum; `_KEPT` tells which of them are part of a descriptor."""

_KEPT = (_FREQUENCY > 0) & (_FREQUENCY < FREQUENCIES)

CROPS = (
    (0.0, 0.0, 0.0, 0.0), (0.1, 0.1, 0.1, 0.1), (0.1, 0.0, 0.1, 0.0), (0.1, 0.0, 0.0, 0.1), (0.0, 0.1, 0.1, 0.0),
    (0.0, 0.1, 0.0, 0.1),
)  # fmt: skip
"""Trial crops: fractions cut off the left, right, top and bottom of a photo before the nearest-neighbour search."""

NEAREST = 4
"""Number of nearest neighbours of a photo that are aligned with it, ranked by the best trial crop."""

CANDIDATE = 0.6
"""Minimum correlation of the descriptors of a candidate pair."""

WHOLE, WORST = 0.9, 0.7
"""Minimum correlation after the alignment, over the overlap and in the worst block.

Of 4,300 photos of yoga poses some 70 pairs pass, all of one picture or of neighbouring frames; different people in one
pose on white reach 0.92 and 0.69."""

ANGLE, SCALE = 8.0, 1.4
"""Maximum rotation in degrees, and maximum scale factor, of a geometric match."""

ROWS = 256
"""Number of photos searched at once: 256 by 20,000 correlations take 20 MB."""

MOST = 25_000
"""Maximum number of photos among which geometric matches are searched.

With more photos the search, which is quadratic, takes minutes."""


@dataclass(frozen=True)
class MatchedPair:
    """Two photos that probably show the same picture.

    Attributes:
        first, second: indices of the photos.
        correlation: correlation after the alignment, -1..1.
        detail: description of the transformation, such as "mirrored, turned by 3°".
    """

    first: int
    second: int
    correlation: float
    detail: str


def matches(thumbnails: np.ndarray, groups: np.ndarray) -> list[MatchedPair]:
    """Returns the geometric matches among thumbnails that are not in the same group yet, the highest correlation first.

    Args:
        thumbnails: grayscale, `uint8 [N, 64, 64]`.
        groups: `int [N]`, group numbers; known near duplicates share one.
    """
    if len(thumbnails) < 2:
        return []
    found: list[MatchedPair] = []
    stack = alignment.Stack.of(thumbnails)
    with threadpool_limits(1):
        cuts = [_descriptors(thumbnails, crop) for crop in CROPS]
        for mirrored in (False, True):
            i, j = _candidates(cuts, groups, mirrored)
            fit = alignment.align(stack, stack.mirrored if mirrored else stack, i, j)
            good = (fit.whole >= WHOLE) & (fit.worst >= WORST) & (np.abs(fit.angle) <= ANGLE)
            good &= (fit.scale <= SCALE) & (fit.scale >= 1 / SCALE)
            for k in np.flatnonzero(good).tolist():
                detail = _detail(float(fit.angle[k]), float(fit.scale[k]), mirrored)
                found.append(MatchedPair(int(i[k]), int(j[k]), float(fit.whole[k]), detail))
    return sorted(found, key=lambda pair: (-pair.correlation, pair.first, pair.second))


def most_certain(matches: Sequence[MatchedPair], groups: np.ndarray) -> list[MatchedPair]:
    """Returns the pair with the highest correlation for each two groups, in descending order of correlation.

    Args:
        matches: geometric matches, as indices of photos.
        groups: `int [N]`, group numbers; near duplicates share one.
    """
    between: dict[tuple[int, int], MatchedPair] = {}
    for pair in sorted(matches, key=lambda pair: -pair.correlation):
        low, high = sorted((int(groups[pair.first]), int(groups[pair.second])))
        between.setdefault((low, high), pair)
    return list(between.values())


def _detail(angle: float, scale: float, mirrored: bool) -> str:
    steps = ["mirrored"] * mirrored
    if abs(angle) >= 0.5:
        steps.append(f"turned by {abs(angle):.0f}°" if abs(angle) >= 1 else "turned by less than 1°")
    if abs(scale - 1) >= 0.02:
        steps.append("cropped")
    return ", ".join(steps) or "shifted or stretched"


def _candidates(cuts: list[np.ndarray], groups: np.ndarray, mirrored: bool) -> tuple[np.ndarray, np.ndarray]:
    """Returns the indices of candidate pairs, two `int64 [P]` with first < second, each unordered pair once.

    Args:
        cuts: descriptors of the trial crops, in the order of `CROPS`.
        groups: `int [N]`, group numbers; pairs within one are not searched.
        mirrored: whether one photo of a pair is mirrored.
    """
    # A mirror image has the same spectrum with the signs of the odd horizontal frequencies flipped.
    whole = (cuts[0] * (-1.0) ** np.nonzero(_KEPT)[1]).astype(np.float32) if mirrored else cuts[0]
    count = len(whole)
    most = min(NEAREST, count - 1)

    def nearest(start: int) -> np.ndarray:
        rows = slice(start, start + ROWS)
        correlation = cuts[0][rows] @ whole.T
        for cut in cuts[1:]:
            np.maximum(correlation, cut[rows] @ whole.T, out=correlation)
        correlation[groups[rows, None] == groups[None, :]] = -1
        near = np.argpartition(correlation, -most, axis=1)[:, -most:]
        row, column = np.nonzero(np.take_along_axis(correlation, near, 1) >= CANDIDATE)
        i, j = row + start, near[row, column]
        keys: np.ndarray = np.minimum(i, j) * count + np.maximum(i, j)
        return keys

    both = np.unique(np.concatenate(list(threads.parallel(nearest, range(0, count, ROWS)))))
    return both // count, both % count


def _descriptors(thumbnails: np.ndarray, crop: tuple[float, float, float, float]) -> np.ndarray:
    """Returns descriptors of cropped thumbnails, unit vectors `float32 [N, D]`.

    A descriptor is the low end of the DCT-II spectrum, each coefficient times the square root of its frequency.
    """
    left, right, top, bottom = (round(share * alignment.SIDE) for share in crop)
    cut = thumbnails[:, top : alignment.SIDE - bottom, left : alignment.SIDE - right]
    vertical, horizontal = (
        dct(np.eye(side, dtype=np.float32), axis=0, norm="ortho")[:FREQUENCIES] for side in cut.shape[1:]
    )
    parts = []
    for start in range(0, len(cut), ROWS):
        spectrum = vertical @ (cut[start : start + ROWS].astype(np.float32) @ horizontal.T)
        vectors = (spectrum * np.sqrt(_FREQUENCY))[:, _KEPT]
        parts.append(vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-3))
    return np.concatenate(parts).astype(np.float32)
