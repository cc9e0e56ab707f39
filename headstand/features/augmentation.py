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


def identity(photo: bytes, settings: Augmentation, seed: int, number: int) -> bytes:
    """Returns the cache key of one view, a SHA-256 digest of photo, settings, seed and index of the view.

    Args:
        photo: digest of the file's bytes.
        settings: all settings but `views` enter the key, so that a larger number of views keeps the cached ones.
        seed: seed of the recipe.
        number: index of the view, from 0.
    """
    words = f"view {VERSION}|{settings.settings}|{seed}|{number}".encode()
    return hashlib.sha256(photo + words).digest()


class DecodedPhoto:
    """A decoded photo from which views are drawn.

    `pixels`, `uint8 [S, S, 3]`, is the photo squashed to a square somewhat larger than a view. `aspect` is the photo's
    width / height before that, or 1 if the settings have no rotation.
    """

    def __init__(self, data: bytes, size: int, settings: Augmentation) -> None:
        """Decodes the photo.

        Args:
            data: the encoded image.
            size: side of the views in pixels.
            settings: augmentation settings.

        Raises:
            ImageError: the image cannot be decoded.
        """
        self.pixels = images.decode(data, round(size * _MARGIN), large=True)
        width, height = images.dimensions(data, large=True) if settings.rotation else (1, 1)
        self.aspect = width / height


def named_view(photo: DecodedPhoto, size: int, settings: Augmentation, name: bytes) -> np.ndarray:
    """Returns the view with the key `name` (see `identity`), which seeds it, as `uint8 [size, size, 3]`."""
    return view(photo.pixels, size, settings, chance(name), photo.aspect)


def chance(name: bytes) -> np.random.Generator:
    """Returns the random generator of the view with the key `name` (see `identity`), seeded with that key."""
    return np.random.default_rng(np.frombuffer(name, np.uint32))


Draw = Callable[[np.random.Generator], np.ndarray]
"""Function that draws a view with a random generator, in shape and dtype of the model's input."""


def drawing(data: bytes, kind: InputKind, settings: Augmentation) -> Draw:
    """Returns a function that draws views of an encoded file, which is decoded once for all of them.

    Args:
        data: bytes of the file.
        kind: input of the model.
        settings: augmentation settings.

    Raises:
        ImageError: the file cannot be decoded.
    """
    if isinstance(kind, PhotoInput):
        photo, size = DecodedPhoto(data, kind.size, settings), kind.size
        return lambda rng: view(photo.pixels, size, settings, rng, photo.aspect)
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
    for kind, most in (
        (ImageEnhance.Brightness, settings.brightness),
        (ImageEnhance.Contrast, settings.contrast),
        (ImageEnhance.Color, settings.saturation),
    ):
        if most:
            image = kind(image).enhance(rng.uniform(1 - most, 1 + most))
    return np.asarray(image)


def _corners(
    box: tuple[float, float, float, float], settings: Augmentation, rng: np.random.Generator, stretch: float
) -> np.ndarray:
    """Returns the view's upper left, upper right and lower left corner in `pixels`, `float64 [3, 2]` as (x, y).

    `stretch` is width / height of a pixel in the photo before it was squashed.
    """
    turn = math.radians(rng.uniform(-settings.rotation, settings.rotation))
    larger = rng.uniform(1 - settings.zoom, 1 + settings.zoom)
    width, height = box[2] - box[0], box[3] - box[1]
    moved = rng.uniform(-settings.shift, settings.shift, 2) * (width, height)
    middle = np.array([box[0] + box[2], box[1] + box[3]]) / 2 + moved
    corners = np.array([[-width, -height], [width, -height], [-width, height]]) / 2 / larger
    turned = np.array([[math.cos(turn), -math.sin(turn)], [math.sin(turn), math.cos(turn)]])
    upright = np.diag([stretch, 1.0])
    return corners @ upright @ turned @ np.linalg.inv(upright) + middle


def _resampled(pixels: np.ndarray, size: int, corners: np.ndarray) -> Image.Image:
    """Returns the parallelogram with these corners as a square image of side `size`, in one resampling.

    Pillow's `transform` samples one point per pixel, which aliases when the image is reduced. Several points per pixel
    are therefore sampled and averaged.
    """
    across, down = (corners[1] - corners[0]) / size, (corners[2] - corners[0]) / size
    points = max(2, math.ceil(max(np.hypot(*across), np.hypot(*down))))
    everywhere = np.array([*corners, corners[1] + corners[2] - corners[0]])
    height, width = pixels.shape[:2]
    before = np.maximum(0, np.ceil(1 - everywhere.min(axis=0))).astype(int)
    after = np.maximum(0, np.ceil(everywhere.max(axis=0) + 1 - (width, height))).astype(int)
    padded = np.pad(pixels, ((before[1], after[1]), (before[0], after[0]), (0, 0)), mode="symmetric")
    origin = corners[0] + before
    across, down = across / points, down / points
    numbers = (across[0], down[0], origin[0], across[1], down[1], origin[1])
    fine = Image.fromarray(padded).transform(
        (size * points, size * points), Image.Transform.AFFINE, numbers, Image.Resampling.BILINEAR
    )
    return fine.reduce(points)
