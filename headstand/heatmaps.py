"""From the bytes of a `.npy` file to heatmaps: what `headstand.images` is for photos.

Preparation, training, export and both services read heatmaps here. Files come from strangers: Python objects in them
are never loaded, and what is not exactly one person's heatmaps is refused.
"""

import ast
import math
import re
import struct
from pathlib import Path

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

_MAX_HEADER = 4096
"""Longest header in bytes; what `numpy.save` writes has 128."""


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
    shape, dtype, fortran, start = _header(data)
    if dtype not in ("<f4", "=f4"):
        raise HeatmapError("not_heatmaps", f"its numbers are {dtype!r:.40}, not float32 (little-endian)")
    if shape not in (SHAPE, (1, *SHAPE)):
        raise HeatmapError("not_heatmaps", f"its shape is {list(shape)!s:.80}, not {[1, *SHAPE]}")
    if len(data) - start != _bytes():
        raise HeatmapError(
            "corrupt_heatmaps",
            f"it has {len(data) - start:,} bytes of numbers, not {_bytes():,}: it is cut short or damaged",
        )
    return checked(np.frombuffer(data, "<f4", offset=start).reshape(SHAPE, order="F" if fortran else "C"))


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


def _header(data: bytes) -> tuple[tuple[int, ...], str, bool, int]:
    """Shape, type, whether it is in Fortran's order, and where the numbers begin (NEP 1, versions 1.0 to 3.0).

    Read here and not by NumPy, whose own reader hands the header to `ast.literal_eval` at whatever length it has.
    """
    wrong = HeatmapError("not_heatmaps", "it is not a NumPy array file, or its header is damaged")
    if not is_array(data) or len(data) < 12 or data[6] not in (1, 2, 3):
        raise wrong
    form = "<H" if data[6] == 1 else "<I"
    begin = 8 + struct.calcsize(form)
    (length,) = struct.unpack_from(form, data, 8)
    if length > _MAX_HEADER:
        raise wrong
    try:
        text = data[begin : begin + length].decode("latin-1").strip()
        # Python 2 wrote long integers with an L.
        fields = ast.literal_eval(re.sub(r"(\d)L\b", r"\1", text))
        shape, dtype, fortran = fields["shape"], fields["descr"], fields["fortran_order"]
        if not isinstance(shape, tuple) or not all(type(side) is int for side in shape):
            raise ValueError(shape)
    # The text of a stranger: literal_eval alone raises five kinds.
    except (ValueError, SyntaxError, TypeError, KeyError, MemoryError, RecursionError) as error:
        raise wrong from error
    return shape, str(dtype), bool(fortran), begin + length


def _bytes() -> int:
    return 4 * math.prod(SHAPE)
