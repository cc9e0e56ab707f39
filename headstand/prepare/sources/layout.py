"""Recognise how a folder of photos is laid out: which folders are classes, splits, copies or wrappers.

Everything here works on relative paths and reads nothing. A layout that could mean two things is refused, and the
message prints the option that decides.
"""

import re
import shlex
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import NoReturn

from headstand.errors import HeadstandError
from headstand.prepare.listing import SPLIT_NAMES
from headstand.prepare.manifest import SPLITS, natural, nfc

Labelled = tuple[str, str, str]
"""A photo's path, its class and its split; the split is empty where Headstand is to choose."""

_FILLERS = frozenset({
    "set", "sets", "image", "images", "imgs", "img", "data", "dataset", "datasets", "photo", "photos",
    "picture", "pictures", "pics", "split", "splits", "sample", "samples", "folder", "folders", "file", "files",
    "jpg", "jpeg", "png", "seg", "the",
})  # fmt: skip
"""Words that may stand beside the word of a split in a folder's name, as in `training_set` and `Test images`."""

_UNLABELLED = frozenset({
    "pred", "predict", "prediction", "predictions", "unlabeled", "unlabelled", "unlabel", "unknown",
    "submission", "inference",
})  # fmt: skip

_PARTS = frozenset({
    "fold", "part", "batch", "subset", "chunk", "shard", "set", "split", "session", "volume", "vol", "data",
    "dataset", "images", "archive",
})  # fmt: skip
"""What the numbered parts of one dataset are called, as in `fold1`, `fold2`."""

_GENERIC = frozenset({
    "img", "image", "images", "dsc", "dscn", "dscf", "pic", "pics", "pict", "photo", "photos", "picture", "p",
    "file", "frame", "scan", "screenshot", "snapshot", "capture", "video", "vid", "train", "test", "val",
    "valid", "validation", "sample", "data", "untitled", "mvimg", "pxl", "wp", "gopr",
})  # fmt: skip
"""First words of photos' names that say nothing of a class: what cameras and programs write."""

_MOST = 5
"""Names in a message."""


class FolderError(HeadstandError):
    """A folder whose layout is not one that classes can be read from, or that is ambiguous."""


@dataclass(frozen=True)
class Layout:
    """What was recognised.

    Attributes:
        root: the folder that holds classes or splits, relative to the source; empty for the source itself.
        photos: every photo that has a class, by path.
        lines: the layout in one line, then what was left out.
        copies: photos that are left out as copies, each with the photo that it must be a copy of.
    """

    root: str
    photos: tuple[Labelled, ...]
    lines: tuple[str, ...]
    copies: tuple[tuple[str, str], ...] = ()


def recognise(
    photos: Iterable[str],
    others: Iterable[str] = (),
    folders: Iterable[str] = (),
    layout: str = "auto",
    where: str = ".",
    sequences: bool = False,
    least: int = 2,
) -> Layout:
    """Give each photo its class and its split.

    Args:
        photos: paths relative to the source, with slashes, without hidden and system folders.
        others: the other files; tables among them are mentioned where the photos have no labels.
        folders: all folders, also empty ones.
        layout: `auto`, or what the user has decided. `classes`: each outer folder is a class. `splits`: folders that
            are named as splits are splits, others are left out. `inner`: each innermost folder is a class. `names`: the
            class is the photo's name without its number.
        where: the source, for messages.
        sequences: folders in class folders are sequences of one recording, and so no classes.
        least: fewest classes.

    Raises:
        FolderError: fewer classes than `least`, an empty class folder, or an ambiguous layout.
    """
    root = _descend(_tree(photos, folders))
    copies: list[tuple[str, str]] = []
    left: list[str] = []
    while layout == "auto" and (found := _copy(root, where)):
        pairs, line, root = found
        copies, left, root = [*copies, *pairs], [*left, line], _descend(root)
    recognition = _Recognition(root, tuple(others), layout, where, sequences)
    lines, labelled = recognition.run()
    if len(classes := {class_ for _, class_, _ in labelled}) < least:
        recognition.refuse(classes)
    return Layout(root.path, tuple(sorted(labelled)), (*lines, *left), tuple(sorted(copies)))


def split_of(name: str) -> str:
    """The split that a folder's name means by itself, in any case; empty for none: `Training_set` is `train`."""
    template, split = _parsed(name)
    return split if set(template) <= _FILLERS else ""


def roles(names: Collection[str]) -> dict[str, str]:
    """The split of each of some sibling folders, `unlabelled` for photos without labels, or empty.

    Beside names that mean a split by themselves, names of one pattern do: `asl_alphabet_train`, `asl_alphabet_test`.
    """
    found = {name: split_of(name) for name in names}
    patterns: dict[tuple[str, ...], set[str]] = defaultdict(set)
    for name in names:
        template, split = _parsed(name)
        if split:
            patterns[template].add(split)
    for name in names:
        template, split = _parsed(name)
        if split and patterns[template] > {"train"}:
            found[name] = split
        elif not found[name] and set(_words(name)) & _UNLABELLED and set(_words(name)) <= _UNLABELLED | _FILLERS:
            found[name] = "unlabelled"
    return found


def _words(name: str) -> list[str]:
    """The words of a name in lower case, without digits: `asl_alphabetTrain1` is asl, alphabet, train."""
    text = re.sub(r"(?<=[a-z])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", " ", nfc(name))
    words: list[str] = []
    for word in re.findall(r"[^\W\d_]+", text.casefold()):
        end = next((filler for filler in ("set", "images", "imgs", "data") if word.endswith(filler)), "")
        joined = bool(end) and word.removesuffix(end) in SPLIT_NAMES  # as in `trainset`
        words += [word.removesuffix(end), end] if joined else [word]
    return words


def _parsed(name: str) -> tuple[tuple[str, ...], str]:
    """A folder's words without that of a split, and the split; empty where there is none, or more than one."""
    words = _words(name)
    splits = [word for word in words if word in SPLIT_NAMES]
    if len(splits) != 1:
        return tuple(words), ""
    place = words.index(splits[0])
    return (*words[:place], *words[place + 1 :]), SPLIT_NAMES[splits[0]]


class _Folder:
    """A folder with its own photos, its folders by name, and how many photos lie below it."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.name = path.rpartition("/")[2]
        self.photos: list[str] = []
        self.folders: dict[str, _Folder] = {}
        self.total = 0

    @property
    def filled(self) -> list["_Folder"]:
        """The folders with photos, in natural order."""
        return sorted((one for one in self.folders.values() if one.total), key=_order)

    @property
    def empty(self) -> list["_Folder"]:
        return sorted((one for one in self.folders.values() if not one.total), key=_order)

    def folders_below(self) -> list["_Folder"]:
        """The folders that hold photos themselves, among this one and all below it."""
        found, waiting = [], [self]
        while waiting:
            one = waiting.pop()
            waiting += one.folders.values()
            if one.photos:
                found.append(one)
        return found

    def below(self) -> list[str]:
        """The paths of all photos below."""
        return [path for one in self.folders_below() for path in one.photos]


def _tree(photos: Iterable[str], folders: Iterable[str]) -> _Folder:
    """The folders of some paths."""
    top = _Folder("")
    for path in folders:
        _reach(top, path.split("/"))
    for path in photos:
        along = _reach(top, path.split("/")[:-1])
        along[-1].photos.append(path)
        for one in along:
            one.total += 1
    return top


def _reach(top: _Folder, parts: Sequence[str]) -> list[_Folder]:
    """The folders on a path from the top, made where they are not there."""
    found = [top]
    for part in parts:
        one = found[-1]
        if part not in one.folders:
            one.folders[part] = _Folder(f"{one.path}/{part}" if one.path else part)
        found.append(one.folders[part])
    return found


def _descend(folder: _Folder) -> _Folder:
    """Go down while one folder only holds photos, and these in further folders."""
    while not folder.photos and len(folder.filled) == 1:
        (inner,) = folder.filled
        if inner.photos or not inner.filled:
            break
        folder = inner
    return folder


def _copy(root: _Folder, where: str) -> tuple[list[tuple[str, str]], str, _Folder] | None:
    """A folder in `root` that holds the same folders and photos as the rest of `root`.

    Returns:
        Pairs of a photo that is left out and its original, the line that reports it, and the folder that is left; None
        where there is no such folder.

    Raises:
        FolderError: folders of the same names with other photos.
    """
    tops = root.filled
    for one in tops:
        inner = _descend(one)
        names = {folder.name for folder in tops if folder is not one}
        if len(names) < 2 or {folder.name for folder in inner.filled} != names:
            continue
        inside = {_relative(path, inner): path for path in inner.below()}
        outside = {_relative(path, root): path for folder in tops if folder is not one for path in folder.below()}
        if inside.keys() <= outside.keys():
            left = _Folder(root.path)
            left.photos = root.photos
            left.folders = {name: folder for name, folder in root.folders.items() if folder is not one}
            left.total = root.total - one.total
            line = f"left out: {_photos(len(inside))} in {inner.path}, a copy of the folders beside it"
            return [(path, outside[name]) for name, path in inside.items()], line, left
        if outside.keys() < inside.keys():
            line = f"left out: {_photos(len(outside))} beside {inner.path}, which holds copies of them"
            return [(path, inside[name]) for name, path in outside.items()], line, inner
        raise FolderError(
            f"{_join(where, root.path)} holds {_some(sorted(names, key=_natural))} and {one.name}, which holds folders "
            f"of the same names with other photos: use one of them, as in {_source(where, inner.path)}, or take "
            f"{one.name} for a class with --source.layout classes"
        )
    return None


@dataclass(frozen=True)
class _Recognition:
    """One folder of classes or splits on its way to labels; errors as `recognise`."""

    root: _Folder
    others: tuple[str, ...]
    layout: str
    where: str
    sequences: bool

    def run(self) -> tuple[list[str], list[Labelled]]:
        """The layout's line with what was left out, and the labelled photos."""
        if self.layout == "classes":
            return self._classes()
        if found := self._classes_and_splits():
            return found
        if splits := self._splits():
            return self._divided(*splits)
        if self.layout == "names":
            return self._named([("", self.root)], [])
        if found := self._divided_classes():
            return found
        if self.layout == "splits":
            raise FolderError(
                f"{self.place()} holds no folders that are named as splits ({', '.join(SPLIT_NAMES)}), train among "
                "them: leave --source.layout out"
            )
        if self.layout == "inner":
            return self._inner()
        return (None if self.sequences else self._parts()) or self._classes()

    def place(self, folder: _Folder | None = None) -> str:
        """A folder for a message."""
        return _join(self.where, (folder or self.root).path)

    def refuse(self, classes: set[str]) -> NoReturn:
        """Raise the error of a folder with one class or none."""
        if not classes:
            raise FolderError(self._without_classes())
        raise FolderError(
            f"there is one class only in {self.place()}, {min(classes)!r}: a classifier needs two or more"
            f"{self._names_as_classes(self.root.below())}{self._table()}"
        )

    def _classes_and_splits(self) -> tuple[list[str], list[Labelled]] | None:
        """Folders whose names hold class and split: `cats_train`, `cats_test`, `dogs_train`, `dogs_test`."""
        tops = self.root.filled
        parsed = {one.path: _parsed(one.name) for one in tops}
        classes: dict[tuple[str, ...], set[str]] = defaultdict(set)
        for template, split in parsed.values():
            classes[template].add(split)
        plain = any(not split or set(template) <= _FILLERS for template, split in parsed.values())
        nested = any(one.filled for one in tops)
        if plain or nested or len(classes) < 2 or not all(splits > {"train"} for splits in classes.values()):
            return None
        labelled = [(path, "_".join(parsed[one.path][0]), parsed[one.path][1]) for one in tops for path in one.below()]
        line = f"layout: each folder is a class in a split, by its name ({_names(tops)})"
        return [line, *self._loose()], labelled

    def _splits(self) -> tuple[dict[str, list[_Folder]], list[_Folder]] | None:
        """The folders of each split, and those to leave out; None where the folders are no splits."""
        tops = self.root.filled
        role = roles([one.name for one in tops])
        named = [one for one in tops if role[one.name]]
        rest = [one for one in tops if not role[one.name]]
        found: dict[str, list[_Folder]] = defaultdict(list)
        for one in named:
            found[role[one.name]].append(one)
        forced = self.layout == "splits"
        if not named or (rest and not forced and not self._divided_beside(found)):
            return None
        within = any(_descend(one).filled for one in named)
        if "train" not in found or len(found) == 1:
            if forced and "train" in found:
                return found, rest
            if rest or not (within or len(named) > 1):
                return None
            if len(found) == 1 and len(named) > 1 and "train" in found:
                self._check_single(found)
            raise FolderError(
                f"{self.place()} holds {_names(named)} only: a divided dataset needs train, and validation or test; "
                "name the folder itself with --source to have it split, or take them for classes with "
                "--source.layout classes"
            )
        if rest and not forced:
            raise FolderError(
                f"{self.place()} holds {_names(named)} and beside them {_names(rest)}: if it is split already, leave "
                "the others out with --source.layout splits; if these are classes, take them all with "
                "--source.layout classes"
            )
        if not forced:
            self._check_single(found)
        return found, rest

    def _divided_beside(self, found: dict[str, list[_Folder]]) -> bool:
        """Whether train and another split hold folders of the same names: then they are splits, whatever is beside."""
        classes = {split: {c.name for one in folders for c in _descend(one).filled} for split, folders in found.items()}
        return any(classes.get("train", set()) & names for split, names in classes.items() if split != "train")

    def _check_single(self, found: dict[str, list[_Folder]]) -> None:
        for split, named in found.items():
            # Photos without class folders beside those of train have no labels, and are left out.
            folders = named if split == "train" else [one for one in named if _descend(one).filled]
            if split != "unlabelled" and len(folders) > 1:
                raise FolderError(
                    f"{self.place()} holds two folders for {split}, {_names(folders)}: join them into one, leave one "
                    "out, or have them joined with --source.layout splits"
                )

    def _divided(self, found: dict[str, list[_Folder]], rest: list[_Folder]) -> tuple[list[str], list[Labelled]]:
        """Labels in split folders."""
        pairs = [(split, _descend(one)) for split in SPLITS for one in found.get(split, [])]
        left = [f"left out: {_photos(one.total)} in {one.path}" for one in rest]
        unlabelled = list(found.get("unlabelled", []))
        known = {nfc(one.name) for split, folder in pairs if split == "train" for one in folder.filled}
        if not known or self.layout == "names":
            left += [_without_labels(one) for one in unlabelled]
            return self._named(pairs, left)
        labelled: list[Labelled] = []
        kept: list[tuple[str, _Folder]] = []
        for split, folder in pairs:
            self._check_filled(folder.empty if split == "train" else [])
            names = {nfc(one.name) for one in folder.filled}
            if split != "train" and not names & known and (len(names) < 2 and not _depth(folder)):
                unlabelled.append(folder)
                continue
            kept.append((split, folder))
            if folder.photos:
                left.append(f"left out: {_photos(len(folder.photos))} beside the class folders in {folder.path}")
            labelled += [(path, class_, split) for one in folder.filled for path, class_ in self._of_class(one)]
        left += [_without_labels(one) for one in unlabelled]
        if {split for split, _ in kept} == {"train"}:  # nothing else is left: Headstand divides it
            labelled = [(path, class_, "") for path, class_, _ in labelled]
        line = "layout: splits " + ", ".join(f"{split} ({folder.path})" for split, folder in kept)
        nested = [] if self.layout == "inner" else [one for _, folder in kept for one in folder.filled]
        return [f"{line}; one folder per class in each{_nested(nested)}", *left], labelled

    def _of_class(self, folder: _Folder) -> list[tuple[str, str]]:
        """The photos of a class folder with their class: the folder's name, or that of the innermost."""
        if self.layout == "inner":
            return [(path, nfc(one.name)) for one in folder.folders_below() for path in one.photos]
        return [(path, nfc(folder.name)) for path in folder.below()]

    def _divided_classes(self) -> tuple[list[str], list[Labelled]] | None:
        """Class folders that hold split folders each: `cat/train`, `cat/val`."""
        tops = self.root.filled
        named = {one.path: {split_of(inner.name) for inner in one.filled} for one in tops if not one.photos}
        divided = [one for one in tops if named.get(one.path) and "" not in named[one.path]]
        several = any(named[one.path] > {"train"} for one in divided)
        if len(tops) < 2 or not divided or not (several or self.layout == "splits"):
            return None
        if any(inner.filled for one in divided for inner in one.filled):
            raise FolderError(
                f"{self.place()} holds {_names(divided)}, each with splits that hold folders themselves: use one of "
                f"them, as in {_source(self.where, divided[0].path)}, or take the outer folders for classes with "
                "--source.layout classes"
            )
        rest = [one for one in tops if one not in divided]
        if rest and self.layout != "splits":
            raise FolderError(
                f"{self.place()} holds {_names(divided)}, each with folders for splits in it, and {_names(rest)} "
                "without: keep the splits with --source.layout splits, or have all photos divided anew with "
                "--source.layout classes"
            )
        labelled = [
            (path, nfc(one.name), split_of(inner.name))
            for one in divided
            for inner in one.filled
            for path in inner.below()
        ]
        labelled += [(path, nfc(one.name), "") for one in rest for path in one.below()]
        splits = ", ".join(split for split in SPLITS if any(split == given for _, _, given in labelled))
        line = f"layout: one folder per class, with folders for {splits} in each; --source.layout classes divides them"
        return [f"{line} anew"], labelled

    def _parts(self) -> tuple[list[str], list[Labelled]] | None:
        """Parts of one dataset, each with the same class folders: `fold1`, `fold2`; None where there are none.

        Raises:
            FolderError: folders that hold the same folders, and are not named as parts.
        """
        tops = self.root.filled
        inner = [_descend(one) for one in tops]
        sets = [{nfc(one.name) for one in folder.filled} for folder in inner]
        if len(tops) < 2 or any(folder.photos for folder in inner):
            return None
        shared, every = set.intersection(*sets), set.union(*sets)
        if len(shared) < 2 or 2 * len(shared) < len(every):
            return None
        words = {tuple(_words(one.name)) for one in tops}
        if len(words) == 1 and words != {()} and set(*words) <= _PARTS:
            labelled = [(path, nfc(one.name), "") for folder in inner for one in folder.filled for path in one.below()]
            return [f"layout: {len(tops)} parts ({_names(tops)}), joined; one folder per class in each"], labelled
        raise FolderError(
            f"{self.place()} holds {_names(tops)}, and each of them the folders {_some(sorted(shared, key=_natural))}. "
            "If the inner folders are the classes: --source.layout inner joins them, "
            f"{_source(self.where, tops[0].path)} takes one part. If the outer folders are the classes: "
            "--source.layout classes"
        )

    def _inner(self) -> tuple[list[str], list[Labelled]]:
        """Each innermost folder is a class; folders of one name are joined."""
        folders = [one for one in self.root.folders_below() if one is not self.root]
        labelled = [(path, nfc(one.name), "") for one in folders for path in one.photos]
        count = len({class_ for _, class_, _ in labelled})
        line = f"layout: each innermost folder is a class; {len(folders)} folders, {count} classes"
        return [line, *self._loose()], labelled

    def _classes(self) -> tuple[list[str], list[Labelled]]:
        """Each outer folder is a class."""
        tops = self.root.filled
        self._check_filled(self.root.empty)
        if not tops:
            raise FolderError(self._without_classes())
        labelled = [(path, nfc(one.name), "") for one in tops for path in one.below()]
        nested = tops if self.layout == "auto" and not self.sequences else []
        return [f"layout: one folder per class{_nested(nested)}", *self._loose()], labelled

    def _named(self, pairs: list[tuple[str, _Folder]], left: list[str]) -> tuple[list[str], list[Labelled]]:
        """The class is the first part of the photo's name: `train/cat.1.jpg`.

        In a split beside train that is so only where all its photos are called by classes of train.
        """
        labelled: list[Labelled] = []
        known: set[str] = set()
        used: list[str] = []
        for split, folder in pairs:
            words = {path: _word(path) for path in folder.below()}
            if split in ("", "train"):
                if self.layout != "names" and not _tell_classes(words.values()):
                    raise FolderError(self._without_labels(folder))
                known |= {word for word in words.values() if word}
            elif not set(words.values()) <= known:
                left.append(_without_labels(folder))
                continue
            if without := sum(not word for word in words.values()):
                left.append(f"left out: {_photos(without)} in {folder.path or self.where} whose names have no number")
            used.append(f"{split} ({folder.path})")
            labelled += [(path, word, split) for path, word in words.items() if word]
        if {split for _, _, split in labelled} <= {"train"}:
            labelled = [(path, class_, "") for path, class_, _ in labelled]
        line = f"layout: the photos' names are their classes ({_some(sorted(known, key=_natural))})"
        return [line + ("" if pairs[0][0] == "" else f"; splits {', '.join(used)}"), *left], labelled

    def _loose(self) -> list[str]:
        count = len(self.root.photos)
        return [f"left out: {_photos(count)} beside the class folders"] if count else []

    def _check_filled(self, empty: list[_Folder]) -> None:
        if empty:
            raise FolderError(f"the class folder {self.place(empty[0])} holds no photos: fill or remove it")

    def _without_labels(self, folder: _Folder) -> str:
        """What to do about a folder named train whose photos lie loose in it."""
        return (
            f"the photos in {self.place(folder)} lie in no class folders{self._table()}. If their names are the "
            "classes: --source.layout names; if the folders are classes and no splits: --source.layout classes"
        )

    def _without_classes(self) -> str:
        hint = "its photos lie loose in it" if self.root.photos else "it holds no folders"
        return (
            f"there are no class folders in {self.place()} ({hint}): make one folder of photos for each class"
            f"{self._names_as_classes(self.root.photos)}{self._table()}"
        )

    def _names_as_classes(self, photos: Iterable[str]) -> str:
        names = sorted(_tell_classes(map(_word, photos)), key=_natural)
        return f"; the photos' names seem to be classes ({_some(names)}): --source.layout names" if names else ""

    def _table(self) -> str:
        """The table that is most likely to hold the labels."""
        tables = [path for path in self.others if path.lower().endswith(".csv")]
        tables.sort(key=lambda path: (not re.search("train|label|class", path.casefold()), _natural(path)))
        return f"; if a table holds the labels: {_source(self.where, tables[0])}" if tables else ""


def _depth(folder: _Folder) -> bool:
    """Whether a folder's folders hold further ones with photos."""
    return any(one.filled for one in folder.filled)


def _word(path: str) -> str:
    """What stands before the number in a photo's name, `cat` of `cat.17.jpg`; empty where there is no number."""
    stem = path.rpartition("/")[2].rpartition(".")[0]
    match = re.fullmatch(r"(.*[^\W\d_])[\W_]*\d+", stem)
    return nfc(match[1]) if match else ""


def _tell_classes(words: Iterable[str]) -> set[str]:
    """The words that photos' names begin with, where they look like classes: two or more, each of several photos."""
    count = Counter(words)
    generic = any(not word or word.casefold() in _GENERIC for word in count)
    return set() if generic or len(count) < 2 or min(count.values()) < 2 else set(count)


def _nested(tops: Sequence[_Folder]) -> str:
    """The note on class folders that hold further folders, which might be the classes."""
    folders = [one for one in tops if {inner.name for inner in one.filled} - {one.name}]
    inner = sorted({nfc(one.name) for folder in folders for one in folder.filled}, key=_natural)
    if not folders or (len(inner) == 1 and len(folders) == len(tops) and not any(one.photos for one in tops)):
        return ""
    names = list(dict.fromkeys(one.name for one in folders))
    return (
        f"; {_some(names)} hold{'s' * (len(names) == 1)} further folders ({_some(inner)}), whose photos count for "
        "the outer class: --source.layout inner makes each innermost folder a class"
    )


def _without_labels(folder: _Folder) -> str:
    return f"left out: {_photos(folder.total)} in {folder.path} without labels"


def _photos(count: int) -> str:
    return f"{count} photo{'s' * (count != 1)}"


def _relative(path: str, folder: _Folder) -> str:
    return path[len(folder.path) + 1 :] if folder.path else path


def _source(where: str, path: str) -> str:
    """The option that names a part of the source."""
    return f"--source {shlex.quote(_join(where, path))}"


def _join(where: str, path: str) -> str:
    return f"{where}/{path}" if path else where


def _names(folders: Sequence[_Folder]) -> str:
    return _some([one.name for one in folders])


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:_MOST]) + (f" and {len(names) - _MOST} more" if len(names) > _MOST else "")


def _natural(name: str) -> tuple[tuple[tuple[int, int | str], ...], str]:
    return natural(name), name


def _order(folder: _Folder) -> tuple[tuple[tuple[int, int | str], ...], str]:
    return _natural(folder.name)
