"""Photos with their objects: which annotation belongs to which photo, and of what class its objects are."""

import re
import sys
from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path, PurePath

from tqdm import tqdm

from headstand import formats
from headstand.images import EXTENSIONS
from headstand.prepare.manifest import natural, nfc
from headstand.prepare.sources import voc
from headstand.prepare.sources.layout import split_of
from headstand.prepare.sources.walk import Walk, walk

_WORDNET = re.compile(r"n\d{8}(-|$)")

_LONGEST = 100
"""Bytes of a class name: with more it could not be a folder's name everywhere."""

LeftOut = list[tuple[str, str]]
"""File, or object in a file, and the reason why it is not used."""


@dataclass(frozen=True)
class Object:
    """One box to cut: its number in the annotation from 1, its class and its edges."""

    number: int
    class_: str
    box: voc.Box


@dataclass(frozen=True)
class Marked:
    """A photo, relative to the images' folder, its annotation, the size that its boxes refer to, and its objects."""

    photo: PurePath
    annotation: PurePath
    declared: tuple[int, int] | None
    objects: tuple[Object, ...]


def photos_below(root: Path) -> tuple[list[PurePath], int, Walk]:
    """The photos below `root`, relative to it, in natural order; how many other files; all that was found there.

    Raises:
        WalkError: a folder cannot be read.
    """
    found = walk(root)
    photos = _sorted(path for path in found.files if formats.is_listed(root / path, EXTENSIONS))
    return photos, len(found.files) - len(photos), found


def marked(photos: list[PurePath], place: Path) -> tuple[list[Marked], LeftOut]:
    """Read all annotations, find their photos, and name their objects' classes.

    Args:
        photos: relative to the images' folder.
        place: the annotations' folder: `.xml` files, or files without an extension that are no images.

    Returns:
        The photos that have usable boxes, in natural order of their annotations, and what was left out.
    """
    files = _sorted(path for path in walk(place).files if _is_annotation(place / path))
    left_out: LeftOut = []
    known = _Photos(photos)
    read: list[tuple[PurePath, PurePath, voc.Annotation]] = []
    taken: dict[PurePath, PurePath] = {}
    for file in tqdm(files, "reading boxes", unit="file", leave=False, disable=not sys.stderr.isatty()):
        try:
            with (place / file).open("rb") as stream:
                annotation = voc.parse(stream.read(voc.MAX_BYTES + 1))
        except (voc.VocError, OSError) as error:
            left_out.append((str(file), str(error)))
            continue
        photo = known.find(file, annotation.filename)
        if isinstance(photo, str):
            left_out.append((str(file), photo))
        elif photo in taken:
            left_out.append((str(file), f"its photo has the boxes of {taken[photo]}"))
        else:
            taken[photo] = file
            read.append((file, photo, annotation))
    left_out += [(str(photo), "a photo without boxes") for photo in photos if photo not in taken]
    folders = _folder_classes(read)
    found = []
    for file, photo, annotation in read:
        objects = []
        if not annotation.things:
            left_out.append((str(photo), "a photo without boxes"))
        for number, thing in enumerate(annotation.things, 1):
            class_ = folders[file.parent.name] if folders else class_name(thing.name)
            fault = thing.fault or ("an object without a name" if not class_ else "")
            fault = fault or (f"a name of more than {_LONGEST} bytes" if len(class_.encode()) > _LONGEST else "")
            if thing.box is None or fault:
                left_out.append((f"{file}, object {number}", fault))
            else:
                objects.append(Object(number, class_, thing.box))
        if objects:
            found.append(Marked(photo, file, annotation.size, tuple(objects)))
    return found, left_out


def _is_annotation(path: Path) -> bool:
    return path.suffix.lower() == ".xml" or ("." not in path.name and not formats.is_image_file(path))


def class_name(text: str) -> str:
    """A folder's or object's name as a class: `n02086240-Shih-Tzu` and `Shih Tzu` are `shih_tzu`.

    Small letters and digits of any script, everything else an underscore; WordNet's number is dropped. Empty where
    nothing is left.
    """
    return _plain(re.sub(r"^n\d{8}-(?=.)", "", nfc(text)))


def _plain(text: str) -> str:
    return re.sub(r"[\W_]+", "_", text.lower()).strip("_")


def _sorted(paths: Iterable[str]) -> list[PurePath]:
    return [PurePath(path) for path in sorted(paths, key=lambda path: (natural(path), path))]


class _Photos:
    """Photos by what their annotations may call them."""

    def __init__(self, photos: list[PurePath]) -> None:
        self._stems: dict[str, list[PurePath]] = defaultdict(list)
        for photo in photos:
            self._stems[nfc(photo.stem)].append(photo)

    def find(self, annotation: PurePath, said: str) -> PurePath | str:
        """The photo of an annotation, or why there is none.

        It has the annotation's name but for the extension; failing that, the one that the annotation states (Stanford
        Dogs has `%s` there now and then, so it comes second). Among several the one in the folders of the same names.
        """
        own = annotation.name[:-4] if annotation.name.lower().endswith(".xml") else annotation.name
        own, said = nfc(own), nfc(said)
        found = self._stems.get(own) or self._stems.get(said) or self._stems.get(PurePath(said).stem) or []
        folders = set(map(nfc, annotation.parts[:-1]))
        shared = [len(set(map(nfc, photo.parts[:-1])) & folders) for photo in found]
        best = [photo for photo, count in zip(found, shared, strict=True) if count == max(shared)]
        exact = [photo for photo in best if nfc(photo.name) == said]
        best = exact or best
        if len(best) == 1:
            return best[0]
        return "more than one photo has its name" if best else "no photo has its name"


def _folder_classes(read: list[tuple[PurePath, PurePath, voc.Annotation]]) -> dict[str, str]:
    """The class of each annotation folder, by its name; none where the folders do not tell."""
    folders = sorted({file.parent.name for file, _, _ in read})
    names = {class_name(thing.name) for _, _, annotation in read for thing in annotation.things}
    divided = len(folders) > 1 and len(names) == 1 and not any(map(split_of, folders))
    if not (all(_WORDNET.match(name) for name in folders) or (divided and all(map(class_name, folders)))):
        return {}
    count = Counter(class_name(name) for name in folders)
    # WordNet has two cranes: then its numbers stay.
    return {name: class_name(name) if count[class_name(name)] == 1 else _plain(name) for name in folders}
