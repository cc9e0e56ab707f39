"""Data source `rendered`: synthetic photos of six yoga poses, so that the demo needs no download.

A person is an articulated body with clothes (`figure/`). Camera, clothes and surroundings are drawn independently of
the pose, so that only the body predicts the class.
"""

import hashlib
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageFilter
from tqdm import tqdm

from headstand import files
from headstand.errors import HeadstandError
from headstand.poses.figure import body as bodies
from headstand.poses.figure import camera as cameras
from headstand.poses.figure import contact, light, outfit, poses, raster, scene, skeleton
from headstand.poses.figure.canvas import overlay
from headstand.poses.figure.proportions import Proportions, proportions
from headstand.poses.heatmap_file import JOINTS
from headstand.preparation.listing import Listing
from headstand.preparation.manifest import natural
from headstand.preparation.sources.folder import class_folders
from headstand.recipe import Source

RENDERER = "1"
"""Version of the renderer; a new value renders every photo again."""

POSES: tuple[str, ...] = tuple(sorted(poses.VARIANTS, key=natural))
"""Available poses in natural sort order."""

KEYPOINTS = JOINTS
"""The 17 COCO keypoints in COCO's order; left and right are those of the person."""

SMALLEST, LARGEST = 16, 2048
"""Range of the image side in pixels."""

PER_CLASS, SIZE = 100, 256
"""Default photos per pose and default image side in pixels."""

_FINER = 2  # supersampling factor of the body: it is rendered at this multiple of the resolution, then averaged


class RenderError(HeadstandError):
    """Raised for an unknown pose, an argument out of range, or a cache folder that cannot be written."""


@dataclass(frozen=True)
class Drawing:
    """One rendered photo with its annotations.

    Attributes:
        image: `uint8 [size, size, 3]`.
        mask: visible pixels of the body, `bool [size, size]`; empty without a body.
        keypoints: `float32 [17, 3]` in the order of `KEYPOINTS`: x and y in pixels, and 1 if the joint is inside the
            frame and not occluded (except by the tissue around it), else 0. All 0 without a body.
    """

    image: npt.NDArray[np.uint8]
    mask: npt.NDArray[np.bool_]
    keypoints: npt.NDArray[np.float32]


def draw(pose: str, seed: int, index: int, size: int = 256, body: bool = True) -> Drawing:
    """Renders one photo; the result depends only on the arguments.

    Args:
        pose: one of `POSES`.
        seed: identifies a set of photos; 0 or more.
        index: number of the photo of that pose in the set; 0 or more.
        size: side in pixels.
        body: False leaves out the person and the shadow and changes nothing else.

    Raises:
        RenderError: an unknown pose, or an argument out of range.
    """
    _check(pose, seed, index, size)
    # One random stream per aspect, so that additional draws in one do not change the others.
    entropy = int.from_bytes(hashlib.sha256(f"{pose}/{seed}/{index}".encode()).digest()[:16], "big")
    for_pose, for_body, for_outfit, for_camera, for_scene = (
        np.random.default_rng(child) for child in np.random.SeedSequence(entropy).spawn(5)
    )
    camera = cameras.aim(for_camera)
    surroundings = scene.build(camera, for_scene, size)
    pixels, mask, keypoints = surroundings.background, np.zeros((size, size), bool), np.zeros((17, 3), np.float32)
    if body:
        variant, angles, mirrored = poses.sample(pose, for_pose)
        build = proportions(for_body)
        bones = skeleton.forward(angles, build)
        contact.rest(bones, variant, mirrored, build)
        pixels, mask, keypoints = _person(bones, build, outfit.dress(for_outfit), camera, surroundings, size)
    if surroundings.front:
        overlay(pixels, surroundings.front)
        hidden = np.asarray(surroundings.front.getchannel("a")) > 127
        mask &= ~hidden
        column, row = (np.clip(keypoints[:, i].astype(np.int64), 0, size - 1) for i in (0, 1))
        keypoints[:, 2] *= ~hidden[row, column]
    return Drawing(_develop(pixels, surroundings), mask, keypoints)


def listing(source: Source, seed: int) -> Listing:
    """Returns the photos of a recipe by pose, rendered if necessary. Raises the errors of `fetch`."""
    return class_folders(fetch(source, seed))


def fetch(source: Source, seed: int) -> Path:
    """Renders the photos of a recipe into the cache folder, except those that exist already.

    An interrupted call can be resumed.

    Args:
        source: photos per pose (`per_class`, by default `PER_CLASS`) and image side (`size`, by default `SIZE`).
        seed: seed of the recipe.

    Returns:
        A folder with one subfolder of JPEG files for each pose.

    Raises:
        RenderError: an argument out of range, or a folder that cannot be written.
    """
    per_class, size = source.per_class or PER_CLASS, source.size or SIZE
    _check(POSES[0], seed, 0, size)
    folder = files.cache() / "rendered" / f"{RENDERER}-{seed}-{per_class}-{size}"
    todo = [(pose, index) for pose in POSES for index in range(per_class)]
    paths = {(pose, index): folder / pose / f"{pose}{index:04d}.jpg" for pose, index in todo}
    todo = [key for key in todo if not paths[key].is_file()]
    try:
        for pose in POSES:
            (folder / pose).mkdir(parents=True, exist_ok=True)
        for pose, index in tqdm(todo, desc="drawing", unit="photo", disable=not sys.stderr.isatty(), leave=False):
            path = paths[pose, index]
            # Temporary files are outside the class folders, so that a killed process leaves only photos there.
            with files.replacing(path, folder.parent) as part:
                image = Image.fromarray(draw(pose, seed, index, size).image)
                image.save(part, "JPEG", quality=92, subsampling=0)
    except OSError as error:
        raise RenderError(
            f"cannot write the rendered photos to {folder}: {error.strerror or error}; "
            "set HEADSTAND_CACHE to another folder"
        ) from error
    return folder


def _check(pose: str, seed: int, index: int, size: int) -> None:
    if pose not in POSES:
        raise RenderError(f"unknown pose {pose!r}; allowed: {', '.join(POSES)}")
    for name, value in (("seed", seed), ("index", index)):
        if value < 0:
            raise RenderError(f"{name} = {value}: it must be 0 or more")
    if not SMALLEST <= size <= LARGEST:
        raise RenderError(f"size = {size}: it must be from {SMALLEST} to {LARGEST} pixels")


def _person(
    bones: skeleton.Skeleton,
    build: Proportions,
    outfit: outfit.Outfit,
    camera: cameras.Camera,
    surroundings: scene.Scene,
    size: int,
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.bool_], npt.NDArray[np.float32]]:
    """Returns the background with person and shadow, the mask of the person, and the keypoints."""
    mesh = bodies.build_mesh(bones, build, outfit)
    view = cameras.frame(camera, mesh.vertices, size)
    x, y, depth = view(mesh.vertices)
    fine = size * _FINER
    seen = raster.rasterise(mesh, x * _FINER, y * _FINER, depth, fine)
    colour = light.shade(seen, outfit, camera, surroundings, fine)
    # Box filter: each photo pixel is the mean of its `_FINER`^2 subpixels.
    row, column = np.divmod(seen.pixel, fine)
    coarse = row // _FINER * size + column // _FINER
    count = np.bincount(coarse, minlength=size * size)
    some = np.flatnonzero(count)
    cover = (count[some] / _FINER**2).astype(np.float32)
    layer = np.stack([np.bincount(coarse, channel, size * size)[some] for channel in colour], 1).astype(np.float32)
    pixels = surroundings.background
    pixels *= 1 - light.shadow(mesh.vertices, view, camera, surroundings, size)
    flat = pixels.reshape(-1, 3)
    flat[some] = flat[some] * (1 - cover[:, None]) + layer * (cover / count[some])[:, None]
    mask = np.zeros(size * size, bool)
    mask[some] = cover > 0.5
    return pixels, mask.reshape(size, size), _keypoints(bones, view, seen, fine, size)


def _keypoints(
    bones: skeleton.Skeleton, view: cameras.Projection, seen: raster.Fragments, fine: int, size: int
) -> npt.NDArray[np.float32]:
    x, y, depth = view(np.array([bones.joints[name] for name in KEYPOINTS]))
    surface = np.zeros(fine * fine, np.float32)
    surface[seen.pixel] = seen.depth
    column, row = (np.clip((v * _FINER).astype(np.int64), 0, fine - 1) for v in (x, y))
    # Tolerance in metres for the tissue between a joint and the skin: smallest on the face, largest on the hips.
    flesh = np.array([0.04] * 3 + [0.06] * 2 + [0.10] * 2 + [0.09] * 4 + [0.16] * 2 + [0.11] * 2 + [0.09] * 2)
    shown = (x >= 0) & (x < size) & (y >= 0) & (y < size)
    shown &= depth - surface[row * fine + column] < np.where(surface[row * fine + column] > 0, flesh, np.inf)
    return np.stack([x, y, shown], 1).astype(np.float32)


def _develop(pixels: npt.NDArray[np.float32], surroundings: scene.Scene) -> npt.NDArray[np.uint8]:
    """Applies white balance, contrast, grain and sometimes blur; returns `uint8 [size, size, 3]`."""
    pixels *= surroundings.cast * np.float32(surroundings.contrast * 255)
    pixels += (surroundings.grain + np.float32(0.5 - 0.5 * surroundings.contrast)) * np.float32(255) + np.float32(0.5)
    image = np.clip(pixels, 0, 255, out=pixels).astype(np.uint8)
    if surroundings.blur:
        image = np.asarray(
            Image.fromarray(image).filter(ImageFilter.GaussianBlur(surroundings.blur * len(image) / 256))
        )
    return image
