"""From the bytes of a `.npy` file to heatmaps: what `headstand.images` is for photos.

Preparation, training, export and both services read heatmaps here. Files come from strangers: Python objects in them
are never loaded, and what is not exactly one person's heatmaps is refused.
"""

import math
import re
import struct
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from headstand.encoded import ImageError

DECODER = "1"
"""Version of the decoder; a new value makes every cached feature of heatmaps a miss."""

JOINTS = (
    "nose", "left_eye", "right_eye", "left_ear", "right_ear", "left_shoulder", "right_shoulder", "left_elbow",
    "right_elbow", "left_wrist", "right_wrist", "left_hip", "right_hip", "left_knee", "right_knee", "left_ankle",
    "right_ankle",
)  # fmt: skip
"""COCO's 17 keypoints in COCO's order, a heatmap each; left and right are the person's own."""

SHAPE = (17, 64, 48)
"""Keypoints, height and width: what ViTPose gives of a person (Xu et al. 2022, arXiv:2204.12484)."""

HEIGHT, WIDTH = SHAPE[1:]

MAX_BYTES = 2**20
"""Largest file that is opened; a person's heatmaps have 208,896 bytes and a header of 128."""

_MAGIC = b"\x93NUMPY"

_HEADER = re.compile(
    rb"\{'descr': '(?P<type>[<>|=]?[A-Za-z]\d{0,4})', 'fortran_order': (?P<order>True|False), "
    rb"'shape': \((?P<shape>(?:\d{1,9}L?(?:, ?|(?=\))))*)\),? ?\} *\n"
)
"""What NumPy writes of an array, as Python does with an L behind whole numbers if it was Python 2."""

_LEAST = 12
"""Bytes before the header in the longer of both versions."""


class HeatmapError(ImageError):
    """Bytes that are not one person's heatmaps. `code` is stable: `not_heatmaps`, `corrupt_heatmaps`, `too_large`."""


def decode(source: bytes | str | Path) -> npt.NDArray[np.float32]:
    """Decode one person's heatmaps.

    Args:
        source: the bytes of a `.npy` file of `float32 [17, 64, 48]` or `[1, 17, 64, 48]`, or the path of one.

    Returns:
        `float32 [17, 64, 48]`, read only.

    Raises:
        HeatmapError: no array file, of another shape or type, cut short, or with numbers that are infinite or none.
    """
    data = source if isinstance(source, bytes) else read(Path(source))
    if len(data) > MAX_BYTES:
        raise HeatmapError("too_large", f"it has over {MAX_BYTES:,} bytes; heatmaps have {_bytes():,} and a header")
    shape, fortran, dtype, start = _header(data)
    if dtype != "<f4":
        raise HeatmapError("not_heatmaps", f"its numbers are {dtype}, not <f4 (float32, little-endian)")
    if shape not in (SHAPE, (1, *SHAPE)):
        raise HeatmapError("not_heatmaps", f"its shape is {list(shape)!s:.80}, not {[1, *SHAPE]}")
    if len(data) - start != _bytes():
        raise HeatmapError(
            "corrupt_heatmaps",
            f"it has {len(data) - start:,} bytes of numbers, not {_bytes():,}: it is cut short or damaged",
        )
    return checked(np.frombuffer(data, "<f4", offset=start).reshape(SHAPE, order="F" if fortran else "C"))


def encode(maps: Any) -> bytes:
    """The `.npy` file of one person's heatmaps.

    Args:
        maps: an array, or lists in lists of finite numbers, as JSON has them: `[17, 64, 48]` or `[1, 17, 64, 48]`.

    Raises:
        HeatmapError: `not_heatmaps`, they are anything else.
    """
    try:
        with np.errstate(over="ignore"):  # too large for float32 becomes infinite, which is refused
            array = np.asarray(maps)
            if array.dtype.kind not in "iuf":
                raise ValueError(array.dtype)
            array = array.astype("<f4")
    except (ValueError, TypeError, OverflowError, RecursionError):
        raise HeatmapError("not_heatmaps", f"they are not numbers in lists of the shape {[1, *SHAPE]}") from None
    if array.shape not in (SHAPE, (1, *SHAPE)):
        raise HeatmapError("not_heatmaps", f"their shape is {list(array.shape)!s:.80}, not {[1, *SHAPE]}")
    stream = BytesIO()
    np.save(stream, checked(array).reshape(1, *SHAPE), allow_pickle=False)
    return stream.getvalue()


def checked(maps: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Heatmaps, `float32 [17, 64, 48]`, whose numbers are all finite.

    Raises:
        HeatmapError: some are not.
    """
    if strange := int(np.count_nonzero(~np.isfinite(maps))):
        raise HeatmapError("corrupt_heatmaps", f"{strange:,} of its numbers are infinite or not a number")
    return maps


def read(path: Path) -> bytes:
    """The bytes of a file, as long as it may be.

    Raises:
        HeatmapError: it cannot be read.
    """
    try:
        with path.open("rb") as file:
            return file.read(MAX_BYTES + 1)
    except OSError as error:
        raise HeatmapError("not_heatmaps", f"cannot read {path}: {error.strerror or error}") from error


def is_array(data: bytes) -> bool:
    """Whether bytes begin as a `.npy` file does."""
    return data.startswith(_MAGIC)


def _header(data: bytes) -> tuple[tuple[int, ...], bool, str, int]:
    """Shape, whether it is in Fortran's order, type as NumPy writes it, and where the numbers begin.

    The format is NumPy's (https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html). Its own reader
    parses the header as Python, which fails now and then where threads do so side by side (CPython 3.11).
    """
    found = None
    if data.startswith(_MAGIC) and data[6:8] in (b"\x01\x00", b"\x02\x00") and len(data) >= _LEAST:
        long = data[6] == 2
        start = 12 if long else 10
        (length,) = struct.unpack_from("<I" if long else "<H", data, 8)
        found = _HEADER.fullmatch(data, start, start + length) if start + length <= len(data) else None
    if found is None:
        raise HeatmapError("not_heatmaps", "it is not a NumPy array file, or its header is damaged")
    shape = tuple(int(side) for side in re.findall(rb"\d+", found["shape"]))
    return shape, found["order"] == b"True", found["type"].decode("ascii"), found.end()


def _bytes() -> int:
    return 4 * math.prod(SHAPE)
