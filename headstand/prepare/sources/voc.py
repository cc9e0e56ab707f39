"""Pascal VOC annotations: which objects a photo shows, and the box around each.

The form is that of the VOC challenges (Everingham et al. 2010, Int. J. Comput. Vis. 88), which ImageNet, Stanford Dogs
and the usual labelling tools write too. The files come from strangers and are read as such.
"""

import math
import xml.etree.ElementTree as ET
from dataclasses import dataclass

from headstand.errors import HeadstandError

MAX_BYTES = 2**20
"""Largest annotation, in bytes: room for 3,000 objects, where a crowd has 200."""


class VocError(HeadstandError):
    """A file that is not a VOC annotation, or one that is not safe to read."""


@dataclass(frozen=True)
class Box:
    """Edges in pixels from the photo's left and top edge; `left < right` and `top < bottom`."""

    left: float
    top: float
    right: float
    bottom: float


@dataclass(frozen=True)
class Thing:
    """One annotated object: its name as it stands there, and its box, or why it has none that can be used."""

    name: str
    box: Box | None
    fault: str = ""


@dataclass(frozen=True)
class Annotation:
    """One file: the photo's name and `(width, height)` as they stand there, empty and None if not, and the objects."""

    filename: str
    size: tuple[int, int] | None
    things: tuple[Thing, ...]


def parse(data: bytes) -> Annotation:
    """Read one annotation.

    Edges are taken as labelling tools and ImageNet write them: distances from the edges of the photo. The VOC
    challenges count pixels from 1, which makes their boxes one pixel smaller at the left and top.

    Raises:
        VocError: too large, not XML, with a document type (its entities grow without bound and can name other files),
            or not an annotation.
    """
    if len(data) > MAX_BYTES:
        raise VocError(f"the annotation has more than {MAX_BYTES:,} bytes")
    # The declaration reads so in every encoding that is a superset of ASCII; the others have zero bytes in it.
    if b"<!DOCTYPE" in data or b"\0" in data:
        raise VocError("the annotation declares a document type or is not in UTF-8; such files are not read")
    try:
        root = ET.fromstring(data)  # noqa: S314 - no document type, so no entities
    except (ET.ParseError, ValueError, LookupError) as error:  # the latter two: an encoding that is unknown or no text
        raise VocError(f"the annotation is not XML ({str(error)[:120]})") from error
    if root.tag != "annotation":
        raise VocError(f"the file is XML, but no VOC annotation: its root is <{str(root.tag)[:40]}>")
    size = _number(root, "size/width"), _number(root, "size/height")
    whole = (int(size[0]), int(size[1])) if size[0] >= 1 and size[1] >= 1 else None
    # Only direct children: the parts of a body have boxes of their own.
    return Annotation(_text(root, "filename"), whole, tuple(_thing(item) for item in root.findall("object")))


def _thing(item: ET.Element) -> Thing:
    edges = [_number(item, f"bndbox/{edge}") for edge in ("xmin", "ymin", "xmax", "ymax")]
    name = _text(item, "name")
    if not all(math.isfinite(edge) for edge in edges):
        return Thing(name, None, "an object without a box")
    box = Box(*edges)
    shown = ", ".join(f"{edge:g}" for edge in edges)
    if box.right < box.left or box.bottom < box.top:
        return Thing(name, None, f"an inverted box ({shown})")
    if box.right == box.left or box.bottom == box.top:
        return Thing(name, None, f"an empty box ({shown})")
    return Thing(name, box)


def _text(element: ET.Element, path: str) -> str:
    return (element.findtext(path) or "").strip()


def _number(element: ET.Element, path: str) -> float:
    """The number at `path`; NaN where there is none, and for those no picture reaches."""
    try:
        value = float(_text(element, path))
    except ValueError:
        return math.nan
    return value if abs(value) < 1e9 else math.nan
