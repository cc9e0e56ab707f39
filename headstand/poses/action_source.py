"""Data source `actions`: synthetic heatmaps of seventeen actions, so that their demo needs no download.

The joint positions of a generated person are known, so the heatmaps that a pose network would output are computed
directly. Each person has their own proportions and angle offsets; each file has its own camera, detection box, peak
heights and missing joints. File names start with the person, and no person is in two splits.
"""

import hashlib
import sys
from functools import lru_cache
from pathlib import Path

import numpy as np
import numpy.typing as npt
from tqdm import tqdm

from headstand import files
from headstand.errors import HeadstandError
from headstand.poses import heatmap_file, heatmap_source
from headstand.poses.figure import camera as cameras
from headstand.poses.figure import poses, skeleton
from headstand.poses.figure.actions import ACTIONS
from headstand.poses.figure.geometry import rotation
from headstand.poses.figure.proportions import Proportions, proportions
from headstand.poses.heatmap_file import HEIGHT, JOINTS, SHAPE, WIDTH
from headstand.preparation.listing import Listing
from headstand.recipe import Source

VERSION = "1"
"""Version of the generated heatmaps; a new value generates every file again."""

PER_CLASS, FILES = 100, 5
"""Default files per action, and how many of them belong to one person."""

PERSON = r"^(person\d+)_"
"""Regular expression whose group is the person in a file name: the default of the recipe's `source.groups`."""

SIGMA = 2.0
"""Standard deviation of a peak in pixels, as in ViTPose."""

MARGIN = 1.25
"""Width of the person's box relative to that of the joints, as in ViTPose."""

ANGLE_OFFSET, LOST = 4.0, 0.03
"""Standard deviation in degrees of a person's angle offsets; probability that a joint is not detected."""

examine = heatmap_source.examine


class ActionError(HeadstandError):
    """Raised if the heatmaps cannot be written."""


def draw(action: str, person: int, seed: int, index: int) -> npt.NDArray[np.float32]:
    """Generates the heatmaps of one file; the result depends only on the arguments.

    Args:
        action: one of `ACTIONS`.
        person: number of the person; 0 or more.
        seed: identifies a set of files; 0 or more.
        index: number of the file among those of this person and action; 0 or more.

    Returns:
        `float32 [17, 64, 48]`.
    """
    build, offsets = _person(person, seed)
    rng = _generator(f"{action}/{person}/{seed}/{index}")
    _, angles, _ = poses.drawn(ACTIONS[action], rng)
    for name, offset in offsets.items():
        low, high = poses.LIMITS[name.removeprefix("left_").removeprefix("right_")]
        angles[name] = min(max(angles[name] + offset, low), high)
    joints = skeleton.forward(angles, build).joints
    points = _projected(np.array([joints[name] for name in JOINTS]), rng)
    points += rng.normal(0, 0.5, points.shape)
    heights = rng.uniform(0.35, 0.95, len(JOINTS))
    lost = rng.random(len(JOINTS)) < LOST
    heights[lost] *= 0.1
    points[lost] += rng.normal(0, 8, (int(lost.sum()), 2))
    return _peaks(points, heights) + rng.normal(0, 0.003, SHAPE).astype(np.float32)


def listing(source: Source, seed: int) -> Listing:
    """Returns a recipe's files by action, generated if necessary, grouped by person. Raises the errors of `fetch`."""
    generated = {"folder": str(fetch(source, seed)), "groups": source.groups or PERSON}
    return heatmap_source.listing(source.model_copy(update=generated), seed)


def fetch(source: Source, seed: int) -> Path:
    """Writes the heatmaps of a recipe into the cache folder, except those that exist already.

    An interrupted call can be resumed.

    Args:
        source: files per action (`per_class`, by default `PER_CLASS`).
        seed: seed of the recipe.

    Returns:
        A folder with one subfolder of `.npy` files, `float32 [1, 17, 64, 48]`, for each action.

    Raises:
        ActionError: a folder that cannot be written.
    """
    per_class = source.per_class or PER_CLASS
    folder = files.cache() / "actions" / f"{VERSION}-{seed}-{per_class}"
    try:
        write(folder, dict.fromkeys(ACTIONS, per_class), seed)
    except OSError as error:
        raise ActionError(
            f"cannot write the heatmaps to {folder}: {error.strerror or error}; set HEADSTAND_CACHE to another folder"
        ) from error
    return folder


def write(folder: Path, counts: dict[str, int], seed: int) -> None:
    """Writes heatmaps as `ACTION/personNNN_NN.npy`, except those that exist already.

    Args:
        folder: output folder, created if necessary.
        counts: files per action.
        seed: identifies the set of files.

    Raises:
        OSError: a file or folder cannot be written.
    """
    todo = []
    for action, count in counts.items():
        (folder / action).mkdir(parents=True, exist_ok=True)
        for number in range(count):
            person, index = divmod(number, FILES)
            path = folder / action / f"person{person:03d}_{index:02d}.npy"
            if not path.is_file():
                todo.append((path, action, person, index))
    for path, action, person, index in tqdm(
        todo, desc="drawing", unit="file", disable=not sys.stderr.isatty(), leave=False
    ):
        with files.replacing(path, folder.parent) as part:
            part.write_bytes(heatmap_file.encode(draw(action, person, seed, index)))


@lru_cache(maxsize=64)
def _person(person: int, seed: int) -> tuple[Proportions, dict[str, float]]:
    """Returns the proportions of a person, and the person's offset of each joint angle in degrees."""
    rng = _generator(f"{person}/{seed}")
    names = [*poses.TRUNK, *(f"{side}_{name}" for name in poses.LIMB for side in ("left", "right"))]
    return proportions(rng), {name: float(rng.normal(0, ANGLE_OFFSET)) for name in names}


def _generator(name: str) -> np.random.Generator:
    return np.random.default_rng(np.frombuffer(hashlib.sha256(name.encode()).digest(), np.uint32))


def _projected(joints: npt.NDArray[np.float64], rng: np.random.Generator) -> npt.NDArray[np.float64]:
    """Projects joints `[17, 3]` to heatmap coordinates, x and y in pixels `[17, 2]`, through a random camera and box.

    The box has the aspect ratio of the heatmap, as in ViTPose. Its size and position have random errors, as those of a
    person detector.
    """
    azimuth = rng.uniform(-50, 50) + (180 if rng.random() < 0.15 else 0)
    elevation = float(np.clip(rng.normal(8, 7), -5, 30))
    axes = rotation("z", rng.normal(0, 4)) @ rotation("x", elevation) @ rotation("y", -azimuth)
    middle = (joints.min(0) + joints.max(0)) / 2
    view = cameras.Projection(axes, middle, rng.uniform(2.4, 7.0), 1.0, np.zeros(2))
    x, y, _ = view(joints)
    low, high = np.array([x.min(), y.min()]), np.array([x.max(), y.max()])
    width = max(high[0] - low[0], (high[1] - low[1]) * WIDTH / HEIGHT) * MARGIN * rng.uniform(0.9, 1.35)
    centre = (low + high) / 2 + rng.normal(0, 0.05, 2) * width
    return (np.stack([x, y], 1) - centre) * (WIDTH / width) + (WIDTH / 2, HEIGHT / 2)


def _peaks(points: npt.NDArray[np.float64], heights: npt.NDArray[np.float64]) -> npt.NDArray[np.float32]:
    """Returns one Gaussian of standard deviation `SIGMA` for each joint, `float32 [17, 64, 48]`."""
    across = np.exp(-((np.arange(WIDTH) - points[:, :1]) ** 2) / (2 * SIGMA**2))
    down = np.exp(-((np.arange(HEIGHT) - points[:, 1:]) ** 2) / (2 * SIGMA**2)) * heights[:, None]
    return (down[:, :, None] * across[:, None, :]).astype(np.float32)
