"""Where the picture is taken from, and where in the frame the body stands. Neither knows of the pose."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from headstand.prepare.sources.figure.geometry import Array, rotation


@dataclass(frozen=True)
class Camera:
    """A pinhole camera aimed at the body's middle.

    `axes [3, 3]` has the rows right, up and towards the camera, `distance` metres from the body's middle. The focal
    length follows from the framing: the longer side of the body's bounding box takes `share` of the frame, its
    lowest point is at `bottom`, its middle at `middle` (fractions of the side).
    """

    axes: Array
    distance: float
    share: float
    bottom: float
    middle: float


def aim(rng: np.random.Generator) -> Camera:
    """Draw a camera: before the body four times in five, never quite beside it, from knee height to overhead."""
    azimuth = rng.uniform(-72, 72) + (0 if rng.random() < 0.8 else 180)
    elevation = float(np.clip(rng.normal(9, 7), -3, 32))
    # Turning the body by -azimuth is walking around it by azimuth.
    axes = rotation("z", rng.normal(0, 1.5)) @ rotation("x", elevation) @ rotation("y", -azimuth)
    share = rng.uniform(0.64, 0.92)
    if rng.random() < 0.1:  # too near: something is cut off
        share = rng.uniform(0.95, 1.15)
    slack = max(0.97 - share, 0.02)
    return Camera(
        axes=axes,
        distance=float(rng.uniform(2.4, 7.0)),
        share=float(share),
        bottom=float(0.975 - rng.uniform(0, 1) * slack * 0.85),
        middle=float(0.5 + rng.uniform(-0.5, 0.5) * slack),
    )


@dataclass(frozen=True)
class Projection:
    """A camera framed on one body: maps metres to pixels."""

    axes: Array
    origin: Array
    distance: float
    scale: float
    shift: Array

    def __call__(self, points: Array) -> tuple[Array, Array, Array]:
        """Points `[N, 3]` to pixels from the left, pixels from the top, and metres from the camera, `[N]` each."""
        seen = (points - self.origin) @ self.axes.T
        depth = np.maximum(self.distance - seen[:, 2], 0.3)
        return (
            seen[:, 0] / depth * self.scale + self.shift[0],
            -seen[:, 1] / depth * self.scale + self.shift[1],
            depth,
        )


def frame(camera: Camera, vertices: npt.NDArray[np.float64], size: float) -> Projection:
    """Fit a body into a frame of `size` pixels as the camera wants it."""
    origin = (vertices.min(0) + vertices.max(0)) / 2
    bare = Projection(camera.axes, origin, camera.distance, 1.0, np.zeros(2))
    x, y, _ = bare(vertices)
    scale = camera.share * size / max(np.ptp(x), np.ptp(y))
    shift = np.array([camera.middle * size - (x.min() + x.max()) / 2 * scale, camera.bottom * size - y.max() * scale])
    return Projection(camera.axes, origin, camera.distance, scale, shift)
