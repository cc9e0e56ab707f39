"""Camera position and framing of the body, drawn independently of the pose."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from headstand.poses.figure.geometry import Array, rotation


@dataclass(frozen=True)
class Camera:
    """Pinhole camera aimed at the centre of the body's bounding box.

    Attributes:
        axes: camera axes `[3, 3]` with the rows right, up and towards the camera.
        distance: metres from the centre of the body.
        share: part of the frame that the longer side of the body's bounding box takes; it determines the focal length.
        bottom: vertical position of the body's lowest point, as a fraction of the frame.
        middle: horizontal position of the body's centre, as a fraction of the frame.
    """

    axes: Array
    distance: float
    share: float
    bottom: float
    middle: float


def aim(rng: np.random.Generator) -> Camera:
    """Draws a random camera, in 80% of cases in front of the body, otherwise behind it.

    The azimuth is within 72 degrees of the front or the back, the elevation between -3 and 32 degrees.
    """
    azimuth = rng.uniform(-72, 72) + (0 if rng.random() < 0.8 else 180)
    elevation = float(np.clip(rng.normal(9, 7), -3, 32))
    # Rotating the body by -azimuth is equivalent to moving the camera around it by azimuth.
    axes = rotation("z", rng.normal(0, 1.5)) @ rotation("x", elevation) @ rotation("y", -azimuth)
    share = rng.uniform(0.64, 0.92)
    if rng.random() < 0.1:  # close-up: part of the body can be cut off
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
    """Perspective projection of a camera framed on one body, from metres to pixels."""

    axes: Array
    origin: Array
    distance: float
    scale: float
    shift: Array

    def __call__(self, points: Array) -> tuple[Array, Array, Array]:
        """Projects points `[N, 3]`: pixels from the left, pixels from the top, and depth in metres, `[N]` each."""
        seen = (points - self.origin) @ self.axes.T
        depth = np.maximum(self.distance - seen[:, 2], 0.3)
        return (
            seen[:, 0] / depth * self.scale + self.shift[0],
            -seen[:, 1] / depth * self.scale + self.shift[1],
            depth,
        )


def frame(camera: Camera, vertices: npt.NDArray[np.float64], size: float) -> Projection:
    """Returns the projection that fits a body into a square frame of `size` pixels with the camera's framing."""
    origin = (vertices.min(0) + vertices.max(0)) / 2
    bare = Projection(camera.axes, origin, camera.distance, 1.0, np.zeros(2))
    x, y, _ = bare(vertices)
    scale = camera.share * size / max(np.ptp(x), np.ptp(y))
    shift = np.array([camera.middle * size - (x.min() + x.max()) / 2 * scale, camera.bottom * size - y.max() * scale])
    return Projection(camera.axes, origin, camera.distance, scale, shift)
