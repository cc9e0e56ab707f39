"""Decoder of pose heatmaps in `.npy` files, the same for preparation, training, export and both services.

It corresponds to `headstand.images` for photos. Files come from untrusted clients: Python objects in them are never
loaded, and any array other than one person's heatmaps is refused.
"""

import math
import re
import struct
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from headstand.errors import ImageError

DECODER = "1"
"""Version of the decoder; a new value invalidates all cached features of heatmaps."""

JOINTS = (
    "nose", "left_eye", "right_eye", "left_ear", "right_ear", "left_shoulder", "right_shoulder", "left_elbow",
    "right_elbow", "left_wrist", "right_wrist", "left_hip", "right_hip", "left_knee", "right_knee", "left_ankle",
    "right_ankle",
)  # fmt: skip
"""COCO's 17 keypoints in COCO's order, one heatmap each; left and right are from the person's view."""

SHAPE = (17, 64, 48)
"""Keypoints, height and width of one person's heatmaps from ViTPose (Xu et al. 2022, arXiv:2204.12484)."""

HEIGHT, WIDTH = SHAPE[1:]

MAX_BYTES = 2**20
"""Maximum size of a file in bytes; one person's heatmaps have 208,896 bytes and a header of 128."""

_MAGIC = b"\x93NUMPY"

_HEADER = re.compile(
    rb"\{'descr': '(?P<type>[<>|=]?[A-Za-z]\d{0,4})', 'fortran_order': (?P<order>True|False), "
    rb"'shape': \((?P<shape>(?:\d{1,9}L?(?:, ?|(?=\))))*)\),? ?\} *\n"
)
"""Matches the header that NumPy writes into a `.npy` file; Python 2 wrote an L after integers."""

_LEAST = 12
"""Minimum file size in bytes: the bytes before the header in version 2.0 of the format."""


class HeatmapError(ImageError):
    """Error for invalid heatmaps. `code` is stable: `not_heatmaps`, `corrupt_heatmaps`, `too_large`."""


def decode(source: bytes | str | Path) -> npt.NDArray[np.float32]:
    """Decodes one person's heatmaps from a `.npy` file.

    Args:
        source: the bytes of a `.npy` file of `float32 [17, 64, 48]` or `[1, 17, 64, 48]`, or its path.

    Returns:
        `float32 [17, 64, 48]`, read-only.

    Raises:
        HeatmapError: the file is not a `.npy` file, has another shape or dtype, is truncated, or has values that are
            not finite.
    """
    data = source if isinstance(source, bytes) else read(Path(source))
    if len(data) > MAX_BYTES:
        raise HeatmapError(
            "too_large", f"it has over {MAX_BYTES:,} bytes; heatmaps have {_bytes():,} bytes and a header"
        )
    shape, fortran, dtype, start = _header(data)
    if dtype != "<f4":
        raise HeatmapError("not_heatmaps", f"its dtype is {dtype}, not <f4 (float32, little-endian)")
    if shape not in (SHAPE, (1, *SHAPE)):
        raise HeatmapError("not_heatmaps", f"its shape is {list(shape)!s:.80}, not {[1, *SHAPE]}")
    if len(data) - start != _bytes():
        raise HeatmapError(
            "corrupt_heatmaps",
            f"it has {len(data) - start:,} bytes of values, not {_bytes():,}: it is truncated or damaged",
        )
    return checked(np.frombuffer(data, "<f4", offset=start).reshape(SHAPE, order="F" if fortran else "C"))


def encode(maps: Any) -> bytes:
    """Returns the bytes of a `.npy` file, `float32 [1, 17, 64, 48]`, of one person's heatmaps.

    Args:
        maps: an array or nested lists of finite numbers, as from JSON: `[17, 64, 48]` or `[1, 17, 64, 48]`.

    Raises:
        HeatmapError: `not_heatmaps` for another shape or type; `corrupt_heatmaps` for values that are not finite.
    """
    try:
        with np.errstate(over="ignore"):  # values too large for float32 become infinite, which `checked` refuses
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
    """Returns heatmaps unchanged if all values are finite.

    Args:
        maps: `float32`, of any shape.

    Raises:
        HeatmapError: `corrupt_heatmaps`, some values are NaN or infinite.
    """
    if invalid := int(np.count_nonzero(~np.isfinite(maps))):
        raise HeatmapError("corrupt_heatmaps", f"{invalid:,} of its values are not finite")
    return maps


def read(path: Path) -> bytes:
    """Returns the bytes of a file, at most `MAX_BYTES` + 1, so that `decode` refuses larger files.

    Raises:
        HeatmapError: `not_heatmaps`, the file cannot be read.
    """
    try:
        with path.open("rb") as file:
            return file.read(MAX_BYTES + 1)
    except OSError as error:
        raise HeatmapError("not_heatmaps", f"cannot read {path}: {error.strerror or error}") from error


def _header(data: bytes) -> tuple[tuple[int, ...], bool, str, int]:
    """Returns the shape, whether it is in Fortran order, NumPy's dtype string, and the offset of the values.

    The format is NumPy's (https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html). NumPy's own reader
    parses the header as Python, which sometimes fails if several threads do so at the same time (CPython 3.11).
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
