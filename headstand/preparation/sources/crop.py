"""Square crops of photos around bounding boxes."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from PIL import Image

from headstand.images import decode, open_image, orientation
from headstand.preparation.sources.voc import Box

VERSION = 1
"""Version of the cropping algorithm, part of the cache key; a new value recreates every crop."""

OUTSIDE = "a box outside of its photo"
OTHER_SIZE = "a box for a photo of another shape"


def crops(
    data: bytes, boxes: Sequence[Box], size: int, declared: tuple[int, int] | None
) -> list[npt.NDArray[np.uint8] | str]:
    """Returns a square crop around each box, scaled to `size` pixels.

    A box is clamped to the photo. Its shorter side is then extended to the length of the longer one: equally at both
    ends if the photo is large enough there, else more at the other end. So proportions are kept, and the added pixels
    are real. If the photo is narrower than the square, its edge pixels are repeated, so that a network can learn
    neither a frame nor mirrored limbs.

    Args:
        data: the encoded photo.
        boxes: in pixels of the photo as stored, before EXIF rotation, as in VOC. If `declared` shows that the boxes
            refer to the upright photo, or to a larger or smaller one, they are converted.
        size: side of the crops in pixels.
        declared: width and height of the photo that the boxes refer to, if the annotation states them.

    Returns:
        For each box `uint8 [size, size, 3]`, upright, or the reason why it cannot be cropped.

    Raises:
        ImageError: as `headstand.images.decode`.
    """
    picture = decode(data)
    with open_image(data) as image:
        turn, stored = orientation(image), image.size
    placed = [_upright(box, declared, stored, turn) for box in boxes]
    return [_cut(picture, box, size) if box else OTHER_SIZE for box in placed]


def _upright(box: Box, declared: tuple[int, int] | None, stored: tuple[int, int], turn: int) -> Box | None:
    """Returns the box in pixels of the upright photo; None if it refers to a photo of another aspect ratio."""
    width, height = stored
    frames = [stored, (height, width)] if turn >= 5 else [stored]
    declared = declared or stored
    # An exact match is preferred: a nearly square photo has nearly the same aspect ratio in both orientations.
    frame = (
        declared
        if declared in frames
        else next((frame for frame in frames if _same_aspect_ratio(declared, frame)), None)
    )
    if frame is None:
        return None
    x, y = frame[0] / declared[0], frame[1] / declared[1]
    box = Box(box.left * x, box.top * y, box.right * x, box.bottom * y)
    if frame != stored:
        return box
    # The corners are transformed like the pixels (Exif 2.3, tag 0x0112): mirrored first, then transposed.
    if turn in (2, 3, 7, 8):
        box = Box(width - box.right, box.top, width - box.left, box.bottom)
    if turn in (3, 4, 6, 7):
        box = Box(box.left, height - box.bottom, box.right, height - box.top)
    return Box(box.top, box.left, box.bottom, box.right) if turn >= 5 else box


def _same_aspect_ratio(one: tuple[int, int], other: tuple[int, int]) -> bool:
    """Returns whether two sizes have the same aspect ratio, within the rounding of sides to whole pixels."""
    return abs(one[0] * other[1] - one[1] * other[0]) <= sum(other)


def _cut(picture: npt.NDArray[np.uint8], box: Box, size: int) -> npt.NDArray[np.uint8] | str:
    height, width = picture.shape[:2]
    left, right = (round(min(max(edge, 0), width)) for edge in (box.left, box.right))
    top, bottom = (round(min(max(edge, 0), height)) for edge in (box.top, box.bottom))
    if right <= left or bottom <= top:
        return OUTSIDE
    side = max(right - left, bottom - top)
    x, y = _start(left, right, side, width), _start(top, bottom, side, height)
    # Scaled before padding: a padded square around a box in a very elongated photo could exceed the memory.
    part = picture[max(y, 0) : y + side, max(x, 0) : x + side]
    inner = [max(1, round(length * size / side)) for length in part.shape[:2]]
    if inner != list(part.shape[:2]):
        part = np.asarray(Image.fromarray(part).resize((inner[1], inner[0]), Image.Resampling.BILINEAR))
    before = [min(round(-start * size / side), size - length) for start, length in zip((y, x), inner, strict=True)]
    margins = [(max(b, 0), size - length - max(b, 0)) for b, length in zip(before, inner, strict=True)]
    return np.pad(part, [*margins, (0, 0)], mode="edge")


def _start(low: int, high: int, side: int, length: int) -> int:
    """Returns the start of `side` pixels centred on `low`..`high`, shifted into 0..`length` as far as possible."""
    room = length - side
    return min(max((low + high - side) // 2, min(0, room)), max(0, room))
