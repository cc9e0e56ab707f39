"""Random views of a training photo: another crop, mirrored, turned, moved, brighter or more colourful."""

import hashlib
import math
from collections.abc import Callable

import numpy as np
from PIL import Image, ImageEnhance

from headstand import images
from headstand.inputs import Input, Photos
from headstand.learn import joints
from headstand.recipe import Augmentation

VERSION = "1"
"""Of what the settings mean; a new value makes every kept view a miss."""

# Aspect ratios of a crop, as in Szegedy et al. 2015 ("Going deeper with convolutions").
_RATIO = (3 / 4, 4 / 3)

# Photos are decoded this much larger than the view, so that a crop need not be scaled up much.
_MARGIN = 8 / 7


def identity(photo: bytes, settings: Augmentation, seed: int, number: int) -> bytes:
    """The name of one view, a SHA-256 digest: another photo, setting, seed or number is another view.

    Args:
        photo: the digest of the file's bytes.
        settings: all but `views` count, so that more views leave those that there are as they are.
        seed: the recipe's.
        number: of the view, from 0.
    """
    words = f"view {VERSION}|{settings.settings}|{seed}|{number}".encode()
    return hashlib.sha256(photo + words).digest()


class Source:
    """A photo that views are made of, decoded once: `pixels`, squashed to a square somewhat larger than a view."""

    def __init__(self, data: bytes, size: int, settings: Augmentation) -> None:
        """Decode.

        Args:
            data: the encoded image.
            size: side of the views in pixels.
            settings: of the views.

        Raises:
            ImageError: the image cannot be decoded.
        """
        self.pixels = images.decode(data, round(size * _MARGIN), large=True)
        width, height = images.dimensions(data, large=True) if settings.rotation else (1, 1)
        self.aspect = width / height


def named_view(photo: Source, size: int, settings: Augmentation, name: bytes) -> np.ndarray:
    """The view with this `identity`: the name is where its chance comes from. `uint8 [size, size, 3]`."""
    return view(photo.pixels, size, settings, chance(name), photo.aspect)


def chance(name: bytes) -> np.random.Generator:
    """Where the chance of the view with this `identity` comes from."""
    return np.random.default_rng(np.frombuffer(name, np.uint32))


Draw = Callable[[np.random.Generator], np.ndarray]
"""Makes a view, as the model's input has it."""


def drawing(data: bytes, kind: Input, settings: Augmentation) -> Draw:
    """What draws views of an encoded file, which is decoded once for all of them.

    Args:
        data: the file's bytes.
        kind: what the model takes.
        settings: of the views.

    Raises:
        ImageError: it cannot be decoded.
    """
    if isinstance(kind, Photos):
        photo, size = Source(data, kind.size, settings), kind.size
        return lambda rng: view(photo.pixels, size, settings, rng, photo.aspect)
    maps = kind.decode(data)
    return lambda rng: joints.view(maps, settings, rng)


def view(
    pixels: np.ndarray, size: int, settings: Augmentation, rng: np.random.Generator, aspect: float = 1.0
) -> np.ndarray:
    """One random view.

    Args:
        pixels: `uint8 [H, W, 3]`, a decoded photo somewhat larger than `size`.
        size: side of the view in pixels.
        settings: how far a view may differ from its photo.
        rng: where the view's chance comes from; the same state gives the same view.
        aspect: width by height of the photo before it was squashed to `pixels`: a turn is one of the photo, whose
            right angles stay right angles.

    Returns:
        `uint8 [size, size, 3]`. Where it reaches over the photo's edge it shows the photo mirrored there.
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
    """Where the view's upper left, upper right and lower left corner lie in the photo: `float64 [3, 2]`, x and y.

    `stretch` is how many times wider than high a pixel is in the photo as it was taken.
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
    """The parallelogram with these corners as a square, in one resampling.

    Pillow's `transform` takes single points, which aliases where the picture shrinks: so several points are taken for
    each pixel and averaged.
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
