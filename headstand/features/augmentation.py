"""Data augmentation: random views of a training photo by crop, flip, rotation, zoom, shift and colour changes."""

import hashlib
import math
from collections.abc import Callable

import numpy as np
from PIL import Image, ImageEnhance

from headstand import images
from headstand.inputs import InputKind, PhotoInput
from headstand.recipe import Augmentation

VERSION = "1"
"""Version of the augmentation code; a new value invalidates all cached views."""

# Aspect ratios of a crop, as in Szegedy et al. 2015 ("Going deeper with convolutions").
_RATIO = (3 / 4, 4 / 3)

# Photos are decoded this much larger than the view, so that a crop need not be scaled up much.
_MARGIN = 8 / 7


def view_key(photo: bytes, settings: Augmentation, seed: int, number: int) -> bytes:
    """Returns the cache key of one view, a SHA-256 digest of photo, settings, seed and index of the view.

    Args:
        photo: digest of the file's bytes.
        settings: all settings but `views` enter the key, so that a larger number of views keeps the cached ones.
        seed: seed of the recipe.
        number: index of the view, from 0.
    """
    return hashlib.sha256(photo + f"view {VERSION}|{settings.settings}|{seed}|{number}".encode()).digest()


def view_rng(key: bytes) -> np.random.Generator:
    """Returns the random generator of the view with this key (see `view_key`), seeded with the key."""
    return np.random.default_rng(np.frombuffer(key, np.uint32))


def view_sampler(data: bytes, kind: InputKind, settings: Augmentation) -> Callable[[np.random.Generator], np.ndarray]:
    """Returns a function that draws views of an encoded file, which is decoded once for all of them.

    Args:
        data: bytes of the file.
        kind: input of the model.
        settings: augmentation settings.

    Returns:
        A function of a random generator; its result has shape and dtype of the model's input.

    Raises:
        ImageError: the file cannot be decoded.
    """
    if isinstance(kind, PhotoInput):
        size = kind.size
        # Squashed to a square somewhat larger than a view; a rotation needs the proportions before that.
        pixels = images.decode(data, round(size * _MARGIN), large=True)
        width, height = images.dimensions(data, large=True) if settings.rotation else (1, 1)
        return lambda rng: view(pixels, size, settings, rng, width / height)
    decoded, augment = kind.decode(data), kind.augment
    return lambda rng: augment(decoded, settings, rng)


def view(
    pixels: np.ndarray, size: int, settings: Augmentation, rng: np.random.Generator, aspect: float = 1.0
) -> np.ndarray:
    """Returns one random view of a photo.

    Args:
        pixels: `uint8 [H, W, 3]`, a decoded photo somewhat larger than `size`.
        size: side of the view in pixels.
        settings: largest change of each kind.
        rng: random generator; the same state gives the same view.
        aspect: width / height of the photo before it was squashed to `pixels`. The rotation is computed in these
            proportions, so that right angles in the photo stay right angles.

    Returns:
        `uint8 [size, size, 3]`. Beyond the photo's edge the view shows the photo mirrored at that edge.
    """
    height, width = pixels.shape[:2]
    share = rng.uniform(settings.smallest_crop, 1.0)
    ratio = np.exp(rng.uniform(*np.log(_RATIO))) if settings.smallest_crop < 1 else 1.0
    crop_width = min(width, width * np.sqrt(share * ratio))
    crop_height = min(height, height * np.sqrt(share / ratio))
    left = rng.uniform(0, width - crop_width)
    top = rng.uniform(0, height - crop_height)
    box = (left, top, left + crop_width, top + crop_height)
    if settings.rotation or settings.zoom or settings.shift:
        image = _resampled(pixels, size, _corners(box, settings, rng, aspect * height / width))
    else:
        image = Image.fromarray(pixels).resize((size, size), Image.Resampling.BILINEAR, box=box)
    if settings.flip in ("horizontal", "both") and rng.random() < 0.5:
        image = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    if settings.flip in ("vertical", "both") and rng.random() < 0.5:
        image = image.transpose(Image.Transpose.FLIP_TOP_BOTTOM)
    for enhancer, largest in (
        (ImageEnhance.Brightness, settings.brightness),
        (ImageEnhance.Contrast, settings.contrast),
        (ImageEnhance.Color, settings.saturation),
    ):
        if largest:
            image = enhancer(image).enhance(rng.uniform(1 - largest, 1 + largest))
    return np.asarray(image)


def _corners(
    box: tuple[float, float, float, float], settings: Augmentation, rng: np.random.Generator, stretch: float
) -> np.ndarray:
    """Returns the view's upper left, upper right and lower left corner in `pixels`, `float64 [3, 2]` as (x, y).

    `stretch` is width / height of a pixel in the photo before it was squashed.
    """
    angle = math.radians(rng.uniform(-settings.rotation, settings.rotation))
    zoom = rng.uniform(1 - settings.zoom, 1 + settings.zoom)
    width, height = box[2] - box[0], box[3] - box[1]
    shift = rng.uniform(-settings.shift, settings.shift, 2) * (width, height)
    center = np.array([box[0] + box[2], box[1] + box[3]]) / 2 + shift
    corners = np.array([[-width, -height], [width, -height], [-width, height]]) / 2 / zoom
    rotation = np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
    to_photo = np.diag([stretch, 1.0])
    return corners @ to_photo @ rotation @ np.linalg.inv(to_photo) + center


def _resampled(pixels: np.ndarray, size: int, corners: np.ndarray) -> Image.Image:
    """Returns the parallelogram with these corners as a square image of side `size`, in one resampling.

    Pillow's `transform` samples one point per pixel, which aliases when the image is reduced. Several points per pixel
    are therefore sampled and averaged.
    """
    across, down = (corners[1] - corners[0]) / size, (corners[2] - corners[0]) / size
    points = max(2, math.ceil(max(np.hypot(*across), np.hypot(*down))))
    all_corners = np.array([*corners, corners[1] + corners[2] - corners[0]])
    height, width = pixels.shape[:2]
    before = np.maximum(0, np.ceil(1 - all_corners.min(axis=0))).astype(int)
    after = np.maximum(0, np.ceil(all_corners.max(axis=0) + 1 - (width, height))).astype(int)
    padded = np.pad(pixels, ((before[1], after[1]), (before[0], after[0]), (0, 0)), mode="symmetric")
    origin = corners[0] + before
    across, down = across / points, down / points
    coefficients = (across[0], down[0], origin[0], across[1], down[1], origin[1])
    fine = Image.fromarray(padded).transform(
        (size * points, size * points), Image.Transform.AFFINE, coefficients, Image.Resampling.BILINEAR
    )
    return fine.reduce(points)
