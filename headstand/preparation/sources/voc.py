"""Parser of untrusted Pascal VOC annotations: the objects in a photo and their bounding boxes.

The format is that of the VOC challenges (Everingham et al. 2010, Int. J. Comput. Vis. 88), which ImageNet, Stanford
Dogs and the usual labelling tools also use.
"""

import math
import xml.etree.ElementTree as ET
from dataclasses import dataclass

from headstand.errors import HeadstandError

MAX_BYTES = 2**20
"""Maximum size of an annotation in bytes: enough for 3,000 objects; a crowd has 200."""


class VocError(HeadstandError):
    """Raised for a file that is not a VOC annotation, or is unsafe to read."""


@dataclass(frozen=True)
class Box:
    """Bounding box: edges in pixels from the photo's left and top edge; `left < right` and `top < bottom`."""

    left: float
    top: float
    right: float
    bottom: float


@dataclass(frozen=True)
class AnnotatedObject:
    """One annotated object: its name as stated, and its box, or in `fault` the reason why it has no usable box."""

    name: str
    box: Box | None
    fault: str = ""


@dataclass(frozen=True)
class Annotation:
    """One annotation file: the photo's stated name (may be empty) and `(width, height)` (may be None), and objects."""

    filename: str
    size: tuple[int, int] | None
    objects: tuple[AnnotatedObject, ...]


def parse(data: bytes) -> Annotation:
    """Parses one annotation.

    Edges are read as written by labelling tools and ImageNet, as distances from the edges of the photo. The VOC
    challenges count pixels from 1, so their boxes become one pixel smaller at the left and top.

    Raises:
        VocError: too large, not XML, with a document type declaration (whose entities can expand without bound and
            refer to other files), or not an annotation.
    """
    if len(data) > MAX_BYTES:
        raise VocError(f"the annotation has more than {MAX_BYTES:,} bytes")
    # Encodings that are supersets of ASCII contain these bytes for the declaration; the others contain zero bytes.
    if b"<!DOCTYPE" in data or b"\0" in data:
        raise VocError("the annotation declares a document type or is not in UTF-8; such files are not read")
    try:
        root = ET.fromstring(data)  # noqa: S314 - no document type, so no entities
    except (ET.ParseError, ValueError, LookupError) as error:  # the latter two: an unknown or non-text encoding
        raise VocError(f"the annotation is not XML ({str(error)[:120]})") from error
    if root.tag != "annotation":
        raise VocError(f"the file is XML, but no VOC annotation: its root is <{str(root.tag)[:40]}>")
    size = _number(root, "size/width"), _number(root, "size/height")
    stated = (int(size[0]), int(size[1])) if size[0] >= 1 and size[1] >= 1 else None
    # Only direct children of the root: the body parts of an object have boxes of their own.
    return Annotation(_text(root, "filename"), stated, tuple(_object(item) for item in root.findall("object")))


def _object(item: ET.Element) -> AnnotatedObject:
    edges = [_number(item, f"bndbox/{edge}") for edge in ("xmin", "ymin", "xmax", "ymax")]
    name = _text(item, "name")
    if not all(math.isfinite(edge) for edge in edges):
        return AnnotatedObject(name, None, "an object without a box")
    box = Box(*edges)
    shown = ", ".join(f"{edge:g}" for edge in edges)
    if box.right < box.left or box.bottom < box.top:
        return AnnotatedObject(name, None, f"an inverted box ({shown})")
    if box.right == box.left or box.bottom == box.top:
        return AnnotatedObject(name, None, f"an empty box ({shown})")
    return AnnotatedObject(name, box)


def _text(element: ET.Element, path: str) -> str:
    return (element.findtext(path) or "").strip()


def _number(element: ET.Element, path: str) -> float:
    """Returns the number at `path`; NaN if there is none, or if its magnitude is 1e9 or more."""
    try:
        value = float(_text(element, path))
    except ValueError:
        return math.nan
    return value if abs(value) < 1e9 else math.nan
