"""Rotations, unit vectors and coordinate frames, in metres and degrees.

Coordinates: x to the person's left, y up, z forward; the floor is y = 0. A frame is a rotation matrix `[3, 3]` with the
columns left, up and front.
"""

from typing import TypeVar

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]
Float = TypeVar("Float", bound=np.floating)


def rotation(axis: str, degrees: float) -> Array:
    """Returns the right-handed rotation about one axis as a `[3, 3]` matrix."""
    angle = np.deg2rad(degrees)
    c, s = float(np.cos(angle)), float(np.sin(angle))
    if axis == "x":
        return np.array([[1, 0, 0], [0, c, -s], [0, s, c]])
    if axis == "y":
        return np.array([[c, 0, s], [0, 1, 0], [-s, 0, c]])
    return np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]])


def unit(vector: npt.NDArray[Float]) -> npt.NDArray[Float]:
    """Returns the vectors `[..., 3]` scaled to length 1."""
    x, y, z = vector[..., 0], vector[..., 1], vector[..., 2]  # np.sum over an axis of length 3 is slower
    return vector / np.maximum(np.sqrt(x * x + y * y + z * z), 1e-9)[..., None]


def between(start: Array, end: Array) -> Array:
    """Returns the smallest rotation `[3, 3]` that takes one unit vector to another (Rodrigues' formula)."""
    cross, dot = np.cross(start, end), float(start @ end)
    skew = np.array([[0, -cross[2], cross[1]], [cross[2], 0, -cross[0]], [-cross[1], cross[0], 0]])
    return np.eye(3) + skew + skew @ skew / max(1 + dot, 1e-6)


def frame(up: Array, front: Array) -> Array:
    """Returns the frame `[3, 3]` with the given up axis whose front is as close as possible to the given one."""
    front = unit(front - up * float(front @ up))
    return np.stack([np.cross(up, front), up, front], axis=1)
