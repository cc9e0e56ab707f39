"""Source `boxes`: photos with Pascal VOC boxes, cropped to one square image per object.

The layout of Stanford Dogs is supported: `Images/n02086240-Shih-Tzu/n02086240_1011.jpg` with its boxes in the XML file
`Annotation/n02086240-Shih-Tzu/n02086240_1011`; and any other folders with VOC boxes, such as `JPEGImages/1.jpg` and
`Annotations/1.xml`, in two folder trees or in one.
"""

import hashlib
import json
import os
from collections import Counter
from dataclasses import astuple, replace
from pathlib import Path, PurePath
from typing import Literal

from PIL import Image

from headstand import files, threads
from headstand.errors import HeadstandError
from headstand.images import DECODER, ImageError, read
from headstand.preparation.listing import Item, Listing
from headstand.preparation.manifest import natural
from headstand.preparation.sources import crop
from headstand.preparation.sources.annotated import AnnotatedPhoto, LeftOut, marked, photos_below
from headstand.preparation.sources.archive import unpacked
from headstand.recipe import Source

SIZE = 299
"""Default side of a crop in pixels: the input size that Xception was trained on."""

SMALLEST, LARGEST = 16, 2048
"""Smallest and largest side of a crop in pixels that a recipe may set."""

QUALITY = 95
"""JPEG quality of a crop, without chroma subsampling: a third of the bytes of a PNG, mean pixel error 0.6 of 255."""

DIGESTS = {
    "http://vision.stanford.edu/aditya86/ImageNetDogs/images.tar":
        "sha256:a443fc2f9a851aa1a7b8e4fa4af94b8459fce2c9f5a2f4dd4669cf9673a4ec58",
    "http://vision.stanford.edu/aditya86/ImageNetDogs/annotation.tar":
        "sha256:662ed36f707be6b195c2fda392d8e153e83af28cedc8e2134a649f198def30fd",
}  # fmt: skip
"""Digests of the archives of Stanford Dogs, as recorded by TensorFlow Datasets; their host offers no HTTPS."""

_LONGEST = 100
"""Maximum bytes of a photo's name in the names of its crops, so that these fit every file system's limit."""


class BoxesError(HeadstandError):
    """Raised if photos and annotations do not form a dataset, or crops cannot be written."""


def listing(source: Source, seed: int) -> Listing:
    """Crops the annotated objects of a recipe's photos into the cache folder and lists the crops.

    An object's class is its annotation's folder if the folders are classes (the WordNet name `n02086240-Shih-Tzu` gives
    `shih_tzu`; any folders are classes if all objects have the same name), else its `<name>`. The `source.most` classes
    with the most photos are kept; ties are resolved by name.

    Args:
        source: `images` and `annotations`, each a folder, an archive or a URL; `most`; `size` of a crop in pixels,
            default 299.
        seed: not used, nothing is sampled.

    Returns:
        JPEG files, one per object. Crops of one photo share a group, the photo's path. Crops that exist are kept, so an
        interrupted call can be resumed.

    Raises:
        BoxesError: no boxes for the photos, fewer than two classes, a size out of range, or a full disk.
        HeadstandError: an archive cannot be downloaded or unpacked.
    """
    size = source.size or SIZE
    if not SMALLEST <= size <= LARGEST:
        raise BoxesError(f"source.size is {size} pixels; it must be from {SMALLEST} to {LARGEST}")
    images, annotations = source.images or "", source.annotations or ""
    root = unpacked(images, digest=DIGESTS.get(images))
    photos, others, below = photos_below(root)
    found, left_out = marked(photos, unpacked(annotations, digest=DIGESTS.get(annotations)))
    if not found:
        why = f" ({left_out[0][0]}: {left_out[0][1]})" if left_out else ""
        raise BoxesError(f"{annotations} has no usable box for any of the {len(photos)} photos in {images}{why}")
    classes = _most(found, source.most)
    if len(classes) < 2:
        raise BoxesError(f"the boxes in {annotations} are of one class only, {classes[0]!r}: a classifier needs two")
    chosen = _only(found, classes)
    folder = files.cache().absolute() / "boxes" / _key(root, chosen, size)
    targets = _targets(chosen)
    try:
        left_out += _cut(root, chosen, folder, targets, size)
    except OSError as error:
        raise BoxesError(
            f"cannot write the crops to {folder}: {error.strerror or error}; HEADSTAND_CACHE can name another folder"
        ) from error
    items = [
        Item(crop_box.class_, folder / target, photo.photo.as_posix())
        for photo in chosen
        for crop_box, target in zip(photo.objects, targets[photo.photo], strict=True)
        if (folder / target).is_file()
    ]
    for name in sorted(set(classes) - {item.class_ for item in items}):
        own = {str(file) for photo in _only(chosen, (name,)) for file in (photo.photo, photo.annotation)}
        file, why = next((what, why) for what, why in left_out if what.partition(", object ")[0] in own)
        raise BoxesError(f"class {name!r} has no box that can be cut ({file}: {why}): mend it or lower source.most")
    items.sort(key=lambda item: (natural(item.class_), natural(str(item.path))))
    shown = tuple((_shown(what), _shown(why)) for what, why in left_out)
    return Listing(folder, classes, tuple(items), others, len(below.links), shown, tuple(below.lines()))


def _most(marked: list[AnnotatedPhoto], most: int | Literal["all"]) -> tuple[str, ...]:
    """Returns the `most` classes with the most photos, in natural order."""
    count = Counter(name for photo in marked for name in {crop_box.class_ for crop_box in photo.objects})
    ranked = sorted(count, key=lambda name: (-count[name], natural(name)))
    kept = ranked if most == "all" else ranked[:most]
    return tuple(sorted(kept, key=natural))


def _only(marked: list[AnnotatedPhoto], classes: tuple[str, ...]) -> list[AnnotatedPhoto]:
    """Returns the photos with objects of `classes`, without their other objects."""
    kept = [replace(m, objects=tuple(crop_box for crop_box in m.objects if crop_box.class_ in classes)) for m in marked]
    return [photo for photo in kept if photo.objects]


def _key(root: Path, chosen: list[AnnotatedPhoto], size: int) -> str:
    """Returns the cache key: a hash of all inputs of the crops (photo bytes, boxes, size, software versions)."""
    digests = threads.parallel(lambda photo: _digest(root / photo.photo), chosen, "checking")
    state = [
        (photo.photo.as_posix(), digest, photo.declared, [astuple(crop_box) for crop_box in photo.objects])
        for photo, digest in zip(chosen, digests, strict=True)
    ]
    text = json.dumps([crop.VERSION, DECODER, Image.__version__, QUALITY, size, state])
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _digest(path: Path) -> str:
    try:
        return files.digest(path)
    except OSError:
        return ""  # `_cut_photo` reports the error


def _targets(chosen: list[AnnotatedPhoto]) -> dict[PurePath, list[PurePath]]:
    """Returns the paths of each photo's crops in the cache folder: `class/name-number.jpg`."""
    stems = Counter(photo.photo.stem for photo in chosen)
    targets = {}
    for photo in chosen:
        name = photo.photo.stem
        if stems[name] > 1 or len(os.fsencode(name)) > _LONGEST:
            name = hashlib.sha256(os.fsencode(photo.photo)).hexdigest()[:16]
        targets[photo.photo] = [
            PurePath(crop_box.class_, f"{name}-{crop_box.number}.jpg") for crop_box in photo.objects
        ]
    return targets


def _cut(
    root: Path, chosen: list[AnnotatedPhoto], folder: Path, targets: dict[PurePath, list[PurePath]], size: int
) -> LeftOut:
    """Writes the missing crops, and returns those that cannot be written, each with the reason."""

    def cut(photo: AnnotatedPhoto) -> LeftOut:
        return _cut_photo(root, photo, folder, targets[photo.photo], size)

    return [fault for faults in threads.parallel(cut, chosen, "cropping") for fault in faults]


def _cut_photo(root: Path, photo: AnnotatedPhoto, folder: Path, targets: list[PurePath], size: int) -> LeftOut:
    todo = [
        (crop_box, folder / target)
        for crop_box, target in zip(photo.objects, targets, strict=True)
        if not (folder / target).is_file()
    ]
    if not todo:
        return []
    try:
        crops = crop.crops(read(root / photo.photo), [crop_box.box for crop_box, _ in todo], size, photo.declared)
    except ImageError as error:
        return [(str(photo.photo), str(error))]
    left_out = []
    for (crop_box, target), pixels in zip(todo, crops, strict=True):
        if isinstance(pixels, str):
            left_out.append((f"{photo.annotation}, object {crop_box.number}", pixels))
            continue
        with files.replacing(target) as part:
            Image.fromarray(pixels).save(part, "JPEG", quality=QUALITY, subsampling=0)
    return left_out


def _shown(text: str) -> str:
    """Returns `text` as valid UTF-8; bytes of file names that are not UTF-8 are escaped."""
    return text.encode("utf-8", "backslashreplace").decode()
