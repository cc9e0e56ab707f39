"""The source `rendered`: photos of six yoga poses, drawn here, so that the demo needs no download.

A person is an articulated body with clothes (`figure/`); where the camera stands, what is worn and what lies around
is drawn independently of the pose, so that nothing but the body tells the class.
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
from headstand.heatmaps import JOINTS
from headstand.prepare.listing import Listing
from headstand.prepare.manifest import natural
from headstand.prepare.sources.figure import body as bodies
from headstand.prepare.sources.figure import camera as cameras
from headstand.prepare.sources.figure import contact, light, poses, raster, scene, skeleton, wardrobe
from headstand.prepare.sources.figure.canvas import overlay
from headstand.prepare.sources.figure.proportions import Proportions, proportions
from headstand.prepare.sources.folder import class_folders
from headstand.recipe import Source

RENDERER = "1"
"""Version of the drawings; a new value draws every photo anew."""

POSES: tuple[str, ...] = tuple(sorted(poses.VARIANTS, key=natural))
"""The poses that can be drawn, in natural order."""

KEYPOINTS = JOINTS
"""COCO's 17 keypoints in COCO's order; left and right are the person's own."""

SMALLEST, LARGEST = 16, 2048
"""Sides of a drawing in pixels that make sense."""

PER_CLASS, SIZE = 100, 256
"""Photos a pose and their sides in pixels, where a recipe does not say."""

_FINER = 2  # the body is drawn this much finer than the photo and then averaged


class RenderError(HeadstandError):
    """A drawing that cannot be made: an unknown pose, or a number out of range."""


@dataclass(frozen=True)
class Drawing:
    """One drawn photo.

    `image` is `uint8 [size, size, 3]`; `mask`, `bool [size, size]`, is where the body is seen; `keypoints`,
    `float32 [17, 3]` in the order of `KEYPOINTS`, holds x and y in pixels and 1 if that joint is in the frame and
    nothing but its own flesh hides it, else 0. Without a body the mask is empty and all keypoints are 0.
    """

    image: npt.NDArray[np.uint8]
    mask: npt.NDArray[np.bool_]
    keypoints: npt.NDArray[np.float32]


def draw(pose: str, seed: int, index: int, size: int = 256, body: bool = True) -> Drawing:
    """Draw one photo; the same arguments give the same pixels, whatever was drawn before.

    Args:
        pose: one of `POSES`.
        seed: names a set of photos; 0 or more.
        index: which photo of the pose in that set; 0 or more.
        size: side in pixels.
        body: False leaves the person and the shadow out and changes nothing else.

    Raises:
        RenderError: an unknown pose, or a number out of range.
    """
    _check(pose, seed, index, size)
    # A stream each, so that what one draws never shifts another.
    entropy = int.from_bytes(hashlib.sha256(f"{pose}/{seed}/{index}".encode()).digest()[:16], "big")
    for_pose, for_body, for_looks, for_camera, for_scene = (
        np.random.default_rng(child) for child in np.random.SeedSequence(entropy).spawn(5)
    )
    camera = cameras.aim(for_camera)
    place = scene.build(camera, for_scene, size)
    pixels, mask, keypoints = place.background, np.zeros((size, size), bool), np.zeros((17, 3), np.float32)
    if body:
        variant, angles, mirrored = poses.sample(pose, for_pose)
        build = proportions(for_body)
        bones = skeleton.forward(angles, build)
        contact.rest(bones, variant, mirrored, build)
        pixels, mask, keypoints = _person(bones, build, wardrobe.dress(for_looks), camera, place, size)
    if place.front:
        overlay(pixels, place.front)
        hidden = np.asarray(place.front.getchannel("a")) > 127
        mask &= ~hidden
        column, row = (np.clip(keypoints[:, i].astype(np.int64), 0, size - 1) for i in (0, 1))
        keypoints[:, 2] *= ~hidden[row, column]
    return Drawing(_develop(pixels, place), mask, keypoints)


def listing(source: Source, seed: int) -> Listing:
    """The recipe's photos by pose, drawn if need be; errors as `fetch`."""
    return class_folders(fetch(source, seed))


def fetch(source: Source, seed: int) -> Path:
    """Draw a recipe's photos into the cache folder, unless they are there already.

    Args:
        source: how many photos a pose (`per_class`, else `PER_CLASS`) and how large (`size`, else `SIZE`).
        seed: the recipe's.

    Returns:
        A folder with one folder of JPEG files for each pose. An interrupted call goes on where it stopped.

    Raises:
        RenderError: a number out of range, or a folder that cannot be written.
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
            # Temporary files lie outside of the class folders: a killed run leaves only photos there.
            with files.replacing(path, folder.parent) as part:
                image = Image.fromarray(draw(pose, seed, index, size).image)
                image.save(part, "JPEG", quality=92, subsampling=0)
    except OSError as error:
        raise RenderError(
            f"cannot write the drawn photos to {folder}: {error.strerror or error}; "
            "HEADSTAND_CACHE can name another folder"
        ) from error
    return folder


def _check(pose: str, seed: int, index: int, size: int) -> None:
    if pose not in POSES:
        raise RenderError(f"there is no pose {pose!r} to draw; there are {', '.join(POSES)}")
    for name, value in (("seed", seed), ("index", index)):
        if value < 0:
            raise RenderError(f"the {name} of a drawing is {value}; it must be 0 or more")
    if not SMALLEST <= size <= LARGEST:
        raise RenderError(f"the size of a drawing is {size} pixels; it must be from {SMALLEST} to {LARGEST}")


def _person(
    bones: skeleton.Skeleton,
    build: Proportions,
    outfit: wardrobe.Outfit,
    camera: cameras.Camera,
    place: scene.Scene,
    size: int,
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.bool_], npt.NDArray[np.float32]]:
    """The background with the person and the shadow on it, the person's mask, and the keypoints."""
    mesh = bodies.sculpt(bones, build, outfit)
    view = cameras.frame(camera, mesh.vertices, size)
    x, y, depth = view(mesh.vertices)
    fine = size * _FINER
    seen = raster.rasterise(mesh, x * _FINER, y * _FINER, depth, fine)
    colour = light.shade(seen, outfit, camera, place, fine)
    # Each photo pixel is the mean of its finer ones.
    row, column = np.divmod(seen.pixel, fine)
    coarse = row // _FINER * size + column // _FINER
    count = np.bincount(coarse, minlength=size * size)
    some = np.flatnonzero(count)
    cover = (count[some] / _FINER**2).astype(np.float32)
    layer = np.stack([np.bincount(coarse, channel, size * size)[some] for channel in colour], 1).astype(np.float32)
    pixels = place.background
    pixels *= 1 - light.shadow(mesh.vertices, view, camera, place, size)
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
    # Flesh over a joint is at most this thick, in metres: nothing on the face, most on the hips.
    flesh = np.array([0.04] * 3 + [0.06] * 2 + [0.10] * 2 + [0.09] * 4 + [0.16] * 2 + [0.11] * 2 + [0.09] * 2)
    shown = (x >= 0) & (x < size) & (y >= 0) & (y < size)
    shown &= depth - surface[row * fine + column] < np.where(surface[row * fine + column] > 0, flesh, np.inf)
    return np.stack([x, y, shown], 1).astype(np.float32)


def _develop(pixels: npt.NDArray[np.float32], place: scene.Scene) -> npt.NDArray[np.uint8]:
    """White balance, contrast, grain, and sometimes a soft lens."""
    pixels *= place.cast * np.float32(place.contrast * 255)
    pixels += (place.grain + np.float32(0.5 - 0.5 * place.contrast)) * np.float32(255) + np.float32(0.5)
    image = np.clip(pixels, 0, 255, out=pixels).astype(np.uint8)
    if place.blur:
        image = np.asarray(Image.fromarray(image).filter(ImageFilter.GaussianBlur(place.blur * len(image) / 256)))
    return image
