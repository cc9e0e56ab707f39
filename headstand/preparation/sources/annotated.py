"""Matching of Pascal VOC annotations to photos, and the class of each annotated object."""

import re
from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path, PurePath

from tqdm import tqdm

from headstand.images import EXTENSIONS, formats
from headstand.preparation.manifest import natural, nfc
from headstand.preparation.sources import voc
from headstand.preparation.sources.split_names import split_of
from headstand.preparation.sources.walk import Walk, walk

_WORDNET = re.compile(r"n\d{8}(-|$)")

_LONGEST = 100
"""Maximum length of a class name in UTF-8 bytes, so that it is a valid folder name on every file system."""

LeftOut = list[tuple[str, str]]
"""Unused files, or objects in a file, each with the reason."""


@dataclass(frozen=True)
class CropBox:
    """One box to crop: its number in the annotation, counted from 1, its class and its edges."""

    number: int
    class_: str
    box: voc.Box


@dataclass(frozen=True)
class AnnotatedPhoto:
    """A photo with its annotation file and usable objects.

    Attributes:
        photo: path relative to the images' folder.
        annotation: path relative to the annotations' folder.
        declared: width and height in pixels that the boxes refer to, if the annotation states them.
        objects: the boxes to crop.
    """

    photo: PurePath
    annotation: PurePath
    declared: tuple[int, int] | None
    objects: tuple[CropBox, ...]


def photos_below(root: Path) -> tuple[list[PurePath], int, Walk]:
    """Returns the photos below `root`, the number of other files, and the result of walking `root`.

    The photos' paths are relative to `root`, in natural order.

    Raises:
        WalkError: a folder cannot be read.
    """
    found = walk(root)
    photos = _sorted(path for path in found.files if formats.is_listed(root / path, EXTENSIONS))
    return photos, len(found.files) - len(photos), found


def marked(photos: list[PurePath], folder: Path) -> tuple[list[AnnotatedPhoto], LeftOut]:
    """Reads all annotations, matches them to photos, and assigns a class to each object.

    Args:
        photos: paths relative to the images' folder.
        folder: the annotations' folder: `.xml` files, or files without an extension that are not images.

    Returns:
        The photos that have usable boxes, in natural order of their annotations; and the files and objects that are
        not used, each with the reason.
    """
    files = _sorted(path for path in walk(folder).files if _is_annotation(folder / path))
    left_out: LeftOut = []
    known = _PhotoIndex(photos)
    read: list[tuple[PurePath, PurePath, voc.Annotation]] = []
    taken: dict[PurePath, PurePath] = {}
    for file in tqdm(files, "reading boxes", unit="file", leave=False, disable=None):
        try:
            with (folder / file).open("rb") as stream:
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
        if not annotation.objects:
            left_out.append((str(photo), "a photo without boxes"))
        for number, object_ in enumerate(annotation.objects, 1):
            class_ = folders[file.parent.name] if folders else class_name(object_.name)
            fault = object_.fault or ("an object without a name" if not class_ else "")
            fault = fault or (f"a name of more than {_LONGEST} bytes" if len(class_.encode()) > _LONGEST else "")
            if object_.box is None or fault:
                left_out.append((f"{file}, object {number}", fault))
            else:
                objects.append(CropBox(number, class_, object_.box))
        if objects:
            found.append(AnnotatedPhoto(photo, file, annotation.size, tuple(objects)))
    return found, left_out


def _is_annotation(path: Path) -> bool:
    return path.suffix.lower() == ".xml" or ("." not in path.name and not formats.is_image_file(path))


def class_name(text: str) -> str:
    """Returns the class name for a folder's or object's name: `n02086240-Shih-Tzu` and `Shih Tzu` give `shih_tzu`.

    The text is lowercased; every run of characters other than letters and digits (of any script) becomes one
    underscore. The WordNet ID is removed. The result is empty if nothing is left.
    """
    return _plain(re.sub(r"^n\d{8}-(?=.)", "", nfc(text)))


def _plain(text: str) -> str:
    return re.sub(r"[\W_]+", "_", text.lower()).strip("_")


def _sorted(paths: Iterable[str]) -> list[PurePath]:
    return [PurePath(path) for path in sorted(paths, key=natural)]


class _PhotoIndex:
    """Index of photos by file name without extension, to find the photo of an annotation."""

    def __init__(self, photos: list[PurePath]) -> None:
        self._stems: dict[str, list[PurePath]] = defaultdict(list)
        for photo in photos:
            self._stems[nfc(photo.stem)].append(photo)

    def find(self, annotation: PurePath, said: str) -> PurePath | str:
        """Returns the photo of an annotation, or the reason why there is none.

        The annotation's own file name is compared first, without extension; then the `<filename>` that it states
        (`said`), which comes second because Stanford Dogs has `%s` there in some files. Among several photos, the one
        that has the most folder names in common with the annotation is used, then the one whose name equals `said`.
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
    """Returns the class of each annotation folder by folder name; empty if the folders are not classes.

    Folders are classes if all their names start with a WordNet ID; or if there are several, none named as a split,
    and all objects have the same name.
    """
    folders = sorted({file.parent.name for file, _, _ in read})
    names = {class_name(object_.name) for _, _, annotation in read for object_ in annotation.objects}
    divided = len(folders) > 1 and len(names) == 1 and not any(map(split_of, folders))
    if not (all(_WORDNET.match(name) for name in folders) or (divided and all(map(class_name, folders)))):
        return {}
    count = Counter(class_name(name) for name in folders)
    # WordNet has two classes named `crane`: such names keep their WordNet ID.
    return {name: class_name(name) if count[class_name(name)] == 1 else _plain(name) for name in folders}
