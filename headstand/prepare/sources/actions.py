"""The source `actions`: heatmaps of seventeen actions, made here, so that their demo needs no download.

The people of the demo's photos are known joint by joint, so that the heatmaps which a network would make of them can be
written without one. Each person has a build and habits; each file its own view, box, sureness and lost joints. Files
are named after the person, and no person is in two splits.
"""

import hashlib
import sys
from functools import lru_cache
from pathlib import Path

import numpy as np
import numpy.typing as npt
from tqdm import tqdm

from headstand import files, heatmaps
from headstand.errors import HeadstandError
from headstand.heatmaps import HEIGHT, JOINTS, SHAPE, WIDTH
from headstand.prepare.listing import Listing
from headstand.prepare.sources import heatmaps as arrays
from headstand.prepare.sources.figure import camera as cameras
from headstand.prepare.sources.figure import poses, skeleton
from headstand.prepare.sources.figure.actions import ACTIONS
from headstand.prepare.sources.figure.geometry import rotation
from headstand.prepare.sources.figure.proportions import Proportions, proportions
from headstand.recipe import Source

VERSION = "1"
"""Of the heatmaps; a new value makes every file anew."""

PER_CLASS, FILES = 100, 5
"""Files of an action, where a recipe does not say, and how many of them one person has."""

PERSON = r"^(person\d+)_"
"""What in a file's name tells the person: the recipe's `source.groups`."""

SIGMA = 2.0
"""Deviation of a peak in pixels, as ViTPose has it."""

MARGIN = 1.25
"""Width of the person's box beside the joints', as ViTPose has it."""

HABIT, LOST = 4.0, 0.03
"""Deviation in degrees of a person's own way from the common one; share of the joints that are not found."""

examine = arrays.examine


class ActionError(HeadstandError):
    """Heatmaps that cannot be made."""


def draw(action: str, person: int, seed: int, index: int) -> npt.NDArray[np.float32]:
    """Make one file's heatmaps; the same arguments give the same numbers, whatever was made before.

    Args:
        action: one of `ACTIONS`.
        person: who does it; 0 or more.
        seed: names a set of files; 0 or more.
        index: which of the person's files of that action; 0 or more.

    Returns:
        `float32 [17, 64, 48]`.
    """
    build, habits = _person(person, seed)
    rng = _chance(f"{action}/{person}/{seed}/{index}")
    _, angles, _ = poses.drawn(ACTIONS[action], rng)
    for name, habit in habits.items():
        low, high = poses.LIMITS[name.removeprefix("left_").removeprefix("right_")]
        angles[name] = min(max(angles[name] + habit, low), high)
    joints = skeleton.forward(angles, build).joints
    places = _seen(np.array([joints[name] for name in JOINTS]), rng)
    places += rng.normal(0, 0.5, places.shape)
    heights = rng.uniform(0.35, 0.95, len(JOINTS))
    lost = rng.random(len(JOINTS)) < LOST
    heights[lost] *= 0.1
    places[lost] += rng.normal(0, 8, (int(lost.sum()), 2))
    return _peaks(places, heights) + rng.normal(0, 0.003, SHAPE).astype(np.float32)


def listing(source: Source, seed: int) -> Listing:
    """The recipe's files by action, made if need be, each with its person as its group; errors as `fetch`."""
    named = source.model_copy(update={"folder": str(fetch(source, seed)), "groups": source.groups or PERSON})
    return arrays.listing(named, seed)


def fetch(source: Source, seed: int) -> Path:
    """Write a recipe's heatmaps into the cache folder, unless they are there already.

    Args:
        source: how many files an action (`per_class`, else `PER_CLASS`).
        seed: the recipe's.

    Returns:
        A folder with one folder of `.npy` files, `float32 [1, 17, 64, 48]`, for each action. An interrupted call goes
        on where it stopped.

    Raises:
        ActionError: a folder that cannot be written.
    """
    per_class = source.per_class or PER_CLASS
    folder = files.cache() / "actions" / f"{VERSION}-{seed}-{per_class}"
    try:
        write(folder, dict.fromkeys(ACTIONS, per_class), seed)
    except OSError as error:
        raise ActionError(
            f"cannot write the heatmaps to {folder}: {error.strerror or error}; HEADSTAND_CACHE can name another folder"
        ) from error
    return folder


def write(folder: Path, counts: dict[str, int], seed: int) -> None:
    """Write heatmaps as `ACTION/personNNN_NN.npy`, those that are not there yet.

    Args:
        folder: made if need be.
        counts: how many files of each action.
        seed: names the set.

    Raises:
        OSError: the disk refuses.
    """
    todo = []
    for action, count in counts.items():
        (folder / action).mkdir(parents=True, exist_ok=True)
        for place in range(count):
            person, index = divmod(place, FILES)
            path = folder / action / f"person{person:03d}_{index:02d}.npy"
            if not path.is_file():
                todo.append((path, action, person, index))
    for path, action, person, index in tqdm(
        todo, desc="drawing", unit="file", disable=not sys.stderr.isatty(), leave=False
    ):
        with files.replacing(path, folder.parent) as part:
            part.write_bytes(heatmaps.encode(draw(action, person, seed, index)))


@lru_cache(maxsize=64)
def _person(person: int, seed: int) -> tuple[Proportions, dict[str, float]]:
    """A person's build, and by how many degrees each joint is held otherwise than by most."""
    rng = _chance(f"{person}/{seed}")
    names = [*poses.TRUNK, *(f"{side}_{name}" for name in poses.LIMB for side in ("left", "right"))]
    return proportions(rng), {name: float(rng.normal(0, HABIT)) for name in names}


def _chance(name: str) -> np.random.Generator:
    return np.random.default_rng(np.frombuffer(hashlib.sha256(name.encode()).digest(), np.uint32))


def _seen(joints: npt.NDArray[np.float64], rng: np.random.Generator) -> npt.NDArray[np.float64]:
    """Joints `[17, 3]` as places on the map, x and y in pixels `[17, 2]`: a camera around the person, then a box.

    As ViTPose's, the box has the map's shape; it is a detector's, and so neither quite as large as it should be nor
    quite where.
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


def _peaks(places: npt.NDArray[np.float64], heights: npt.NDArray[np.float64]) -> npt.NDArray[np.float32]:
    """A Gaussian of deviation `SIGMA` for each joint, `float32 [17, 64, 48]`."""
    across = np.exp(-((np.arange(WIDTH) - places[:, :1]) ** 2) / (2 * SIGMA**2))
    down = np.exp(-((np.arange(HEIGHT) - places[:, 1:]) ** 2) / (2 * SIGMA**2)) * heights[:, None]
    return (down[:, :, None] * across[:, None, :]).astype(np.float32)
