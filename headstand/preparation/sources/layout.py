"""Recognition of a photo folder's layout: which folders are classes, splits, copies or wrappers.

The functions work on relative paths and read no files. An ambiguous layout is refused with a message that names the
options to resolve it.
"""

import re
import shlex
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NoReturn

from headstand.errors import HeadstandError
from headstand.preparation.listing import SPLIT_NAMES, counted, enumeration
from headstand.preparation.manifest import SPLITS, natural, nfc
from headstand.preparation.sources.folder_tree import Folder, build_tree, relative_path, skip_wrappers
from headstand.preparation.sources.split_names import beside_train, parse, roles, split_of, words_of

Labelled = tuple[str, str, str]
"""A photo's path, its class and its split; the split is empty if Headstand assigns it."""

_PARTS = frozenset({
    "fold", "part", "batch", "subset", "chunk", "shard", "set", "split", "session", "volume", "vol", "data",
    "dataset", "images", "archive",
})  # fmt: skip
"""Words in the names of numbered parts of one dataset, as in `fold1`, `fold2`."""

_GENERIC = frozenset({
    "img", "image", "images", "dsc", "dscn", "dscf", "pic", "pics", "pict", "photo", "photos", "picture", "p",
    "file", "frame", "scan", "screenshot", "snapshot", "capture", "video", "vid", "train", "test", "val",
    "valid", "validation", "sample", "data", "untitled", "mvimg", "pxl", "wp", "gopr",
})  # fmt: skip
"""First words of photo names that are not classes: default names of cameras and programs."""


class FolderError(HeadstandError):
    """Raised for a folder whose layout is ambiguous, or from which no classes can be derived."""


@dataclass(frozen=True)
class Layout:
    """Recognised layout of a photo folder.

    Attributes:
        root: the folder that holds classes or splits, relative to the source; empty for the source itself.
        photos: all photos that have a class, sorted by path.
        lines: one line that describes the layout, then lines about photos that are left out.
        copies: photos that are left out as copies, each with its original; the caller must compare the files.
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
    """Returns the layout of a photo folder, with the class and the split of each photo.

    Args:
        photos: paths relative to the source, with slashes, without hidden and system folders.
        others: paths of the other files; error messages mention CSV tables among them that may hold labels.
        folders: paths of all folders, also empty ones.
        layout: `auto`, or the user's choice. `classes`: each outer folder is a class. `splits`: folders that are named
            as splits are splits, others are left out. `inner`: each innermost folder is a class. `names`: the class is
            the photo's name without its number.
        where: path of the source in messages.
        sequences: folders in class folders are sequences of one recording, not classes.
        least: minimum number of classes.

    Raises:
        FolderError: fewer classes than `least`, an empty class folder, or an ambiguous layout.
    """
    root = skip_wrappers(build_tree(photos, folders))
    copies: list[tuple[str, str]] = []
    left: list[str] = []
    while layout == "auto" and (found := _copy(root, where)):
        pairs, line, root = found
        copies, left, root = [*copies, *pairs], [*left, line], skip_wrappers(root)
    recognition = _Recognition(root, tuple(others), layout, where, sequences)
    lines, labelled = recognition.run()
    if len(classes := {class_ for _, class_, _ in labelled}) < least:
        recognition.refuse(classes)
    return Layout(root.path, tuple(sorted(labelled)), (*lines, *left), tuple(sorted(copies)))


def _copy(root: Folder, where: str) -> tuple[list[tuple[str, str]], str, Folder] | None:
    """Finds a folder in `root` that holds the same folders and photos as the rest of `root`.

    Returns:
        Pairs of a photo that is left out and its original, a line that reports the copy, and the remaining folder; None
        if there is no such folder.

    Raises:
        FolderError: a folder holds folders of the same names as the rest of `root`, with other photos.
    """
    tops = root.filled
    for one in tops:
        inner = skip_wrappers(one)
        if len(tops) < 3 or len(inner.filled) != len(tops) - 1:
            continue
        names = {folder.name for folder in tops if folder is not one}
        if {folder.name for folder in inner.filled} != names:
            continue
        inside = {relative_path(path, inner): path for path in inner.below()}
        outside = {relative_path(path, root): path for folder in tops if folder is not one for path in folder.below()}
        if inside.keys() <= outside.keys():
            left = Folder(root.path)
            left.photos = root.photos
            left.folders = {name: folder for name, folder in root.folders.items() if folder is not one}
            left.total = root.total - one.total
            line = f"left out: {counted(len(inside), 'photo')} in {inner.path}, a copy of the folders beside it"
            return [(path, outside[name]) for name, path in inside.items()], line, left
        if outside.keys() < inside.keys():
            line = f"left out: {counted(len(outside), 'photo')} beside {inner.path}, which holds copies of them"
            return [(path, inside[name]) for name, path in outside.items()], line, inner
        raise FolderError(
            f"{_join(where, root.path)} holds {enumeration(sorted(names, key=natural))} and {one.name}, which holds "
            "folders of the same names with other photos: use one of them, as in "
            f"{_source(where, inner.path)}, or take {one.name} for a class with --source.layout classes"
        )
    return None


@dataclass(frozen=True)
class _Recognition:
    """Recognition of the layout of one folder; arguments and errors as `recognise`."""

    root: Folder
    others: tuple[str, ...]
    layout: str
    where: str
    sequences: bool

    def run(self) -> tuple[list[str], list[Labelled]]:
        """Returns the line that describes the layout, lines about photos that are left out, and the labelled photos."""
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
                f"{self.path_of()} holds no folders that are named as splits ({', '.join(SPLIT_NAMES)}), train among "
                "them: leave --source.layout out"
            )
        if self.layout == "inner":
            return self._inner()
        return (None if self.sequences else self._parts()) or self._classes()

    def path_of(self, folder: Folder | None = None) -> str:
        """Returns the path of a folder (default `root`) for a message."""
        return _join(self.where, (folder or self.root).path)

    def refuse(self, classes: set[str]) -> NoReturn:
        """Raises `FolderError` for a folder with one class or none."""
        if not classes:
            raise FolderError(self._without_classes())
        raise FolderError(
            f"there is one class only in {self.path_of()}, {min(classes)!r}: a classifier needs two or more"
            f"{self._names_as_classes(self.root.below())}{self._table()}"
        )

    def _classes_and_splits(self) -> tuple[list[str], list[Labelled]] | None:
        """Labels photos by folder names with class and split: `cats_train`, `cats_test`, `dogs_train`, `dogs_test`.

        Returns None if the folders are not named so.
        """
        tops = self.root.filled
        parsed = {one.path: parse(one.name) for one in tops}
        classes: dict[tuple[str, ...], set[str]] = defaultdict(set)
        for template, split in parsed.values():
            classes[template].add(split)
        plain = any(not parsed[one.path][1] or split_of(one.name) for one in tops)
        nested = any(one.filled for one in tops)
        if plain or nested or len(classes) < 2 or not all(splits > {"train"} for splits in classes.values()):
            return None
        labelled = [(path, "_".join(parsed[one.path][0]), parsed[one.path][1]) for one in tops for path in one.below()]
        line = f"layout: each folder is a class in a split, by its name ({_names(tops)})"
        return [line, *self._beside_classes()], labelled

    def _splits(self) -> tuple[dict[str, list[Folder]], list[Folder]] | None:
        """Returns the folders of each split, and those to leave out; None if the folders are not splits.

        Raises:
            FolderError: splits without train or without a second split, splits beside other folders, or two folders
                for one split.
        """
        tops = self.root.filled
        role = self._beside_train(tops) or roles([one.name for one in tops])
        named = [one for one in tops if role[one.name]]
        rest = [one for one in tops if not role[one.name]]
        found: dict[str, list[Folder]] = defaultdict(list)
        for one in named:
            found[role[one.name]].append(one)
        forced = self.layout == "splits"
        if not named or (rest and not forced and not self._divided_beside(found)):
            return None
        within = any(skip_wrappers(one).filled for one in named)
        if "train" not in found or len(found) == 1:
            if forced and "train" in found:
                return found, rest
            if rest or not (within or len(named) > 1):
                return None
            if len(found) == 1 and len(named) > 1 and "train" in found:
                self._check_single(found)
            raise FolderError(
                f"{self.path_of()} holds {_names(named)} only: a divided dataset needs train, and validation or test; "
                "name the folder itself with --source to have it split, or take them for classes with "
                "--source.layout classes"
            )
        if rest and not forced:
            raise FolderError(
                f"{self.path_of()} holds {_names(named)} and beside them {_names(rest)}: if it is split already, leave "
                "the others out with --source.layout splits; if these are classes, take them all with "
                "--source.layout classes"
            )
        if not forced:
            self._check_single(found)
        return found, rest

    def _beside_train(self, tops: list[Folder]) -> dict[str, str]:
        """Returns the splits of `split_names.beside_train` if one has two class folders or more, all also in train."""
        role = beside_train([one.name for one in tops])
        classes = {one.name: {nfc(c.name) for c in skip_wrappers(one).filled} for one in tops if one.name in role}
        train = {name for one, names in classes.items() if role[one] == "train" for name in names}
        evaluated = [names for one, names in classes.items() if role[one] != "train"]
        return role if any(len(names) > 1 and names <= train for names in evaluated) else {}

    def _divided_beside(self, found: dict[str, list[Folder]]) -> bool:
        """Returns whether train and another split have class folders of the same name, so that they must be splits."""
        classes = {
            split: {c.name for one in folders for c in skip_wrappers(one).filled} for split, folders in found.items()
        }
        return any(classes.get("train", set()) & names for split, names in classes.items() if split != "train")

    def _check_single(self, found: dict[str, list[Folder]]) -> None:
        """Raises `FolderError` if a split has more than one folder with labels."""
        for split, named in found.items():
            # Folders of other splits without class folders hold photos without labels, which are left out.
            folders = named if split == "train" else [one for one in named if skip_wrappers(one).filled]
            if split != "unlabelled" and len(folders) > 1:
                raise FolderError(
                    f"{self.path_of()} holds two folders for {split}, {_names(folders)}: join them into one, leave one "
                    "out, or have them joined with --source.layout splits"
                )

    def _divided(self, found: dict[str, list[Folder]], rest: list[Folder]) -> tuple[list[str], list[Labelled]]:
        """Labels the photos in split folders; `found` and `rest` as returned by `_splits`."""
        pairs = [(split, skip_wrappers(one)) for split in SPLITS for one in found.get(split, [])]
        left = [f"left out: {counted(one.total, 'photo')} in {one.path}" for one in rest]
        unlabelled = list(found.get("unlabelled", []))
        known = {nfc(one.name) for split, folder in pairs if split == "train" for one in folder.filled}
        if not known or self.layout == "names":
            left += [_unlabelled(one) for one in unlabelled]
            return self._named(pairs, left)
        labelled: list[Labelled] = []
        kept: list[tuple[str, Folder]] = []
        for split, folder in pairs:
            self._check_filled(folder.empty if split == "train" else [])
            names = {nfc(one.name) for one in folder.filled}
            if split != "train" and not names & known and (len(names) < 2 and not _depth(folder)):
                unlabelled.append(folder)
                continue
            kept.append((split, folder))
            if folder.photos:
                left.append(
                    f"left out: {counted(len(folder.photos), 'photo')} beside the class folders in {folder.path}"
                )
            labelled += [(path, class_, split) for one in folder.filled for path, class_ in self._of_class(one)]
        left += [_unlabelled(one) for one in unlabelled]
        if {split for split, _ in kept} == {"train"}:  # no other split has labels: Headstand splits the photos
            labelled = [(path, class_, "") for path, class_, _ in labelled]
        line = "layout: splits " + ", ".join(f"{split} ({folder.path})" for split, folder in kept)
        nested = [] if self.layout == "inner" else [one for _, folder in kept for one in folder.filled]
        return [f"{line}; one folder per class in each{_nested(nested)}", *left], labelled

    def _of_class(self, folder: Folder) -> list[tuple[str, str]]:
        """Returns the photos below a class folder with their class: its name, or that of the innermost folder."""
        if self.layout == "inner":
            return [(path, nfc(one.name)) for one in folder.folders_below() for path in one.photos]
        return [(path, nfc(folder.name)) for path in folder.below()]

    def _divided_classes(self) -> tuple[list[str], list[Labelled]] | None:
        """Labels photos in class folders with split folders in each, `cat/train`, `cat/val`; None if not so.

        Raises:
            FolderError: folders in the split folders, or class folders without splits beside those with splits.
        """
        tops = self.root.filled
        named = {one.path: {split_of(inner.name) for inner in one.filled} for one in tops if not one.photos}
        divided = [one for one in tops if named.get(one.path) and "" not in named[one.path]]
        several = any(named[one.path] > {"train"} for one in divided)
        if len(tops) < 2 or not divided or not (several or self.layout == "splits"):
            return None
        if any(inner.filled for one in divided for inner in one.filled):
            raise FolderError(
                f"{self.path_of()} holds {_names(divided)}, each with splits that hold folders themselves: use one of "
                f"them, as in {_source(self.where, divided[0].path)}, or take the outer folders for classes with "
                "--source.layout classes"
            )
        rest = [one for one in tops if one not in divided]
        if rest and self.layout != "splits":
            raise FolderError(
                f"{self.path_of()} holds {_names(divided)}, each with folders for splits in it, and {_names(rest)} "
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
        """Labels photos in numbered parts with the same class folders in each, `fold1`, `fold2`; None if not so.

        Raises:
            FolderError: the outer folders hold the same folders, but are not named as parts.
        """
        tops = self.root.filled
        inner = [skip_wrappers(one) for one in tops]
        sets = [{nfc(one.name) for one in folder.filled} for folder in inner]
        if len(tops) < 2 or any(folder.photos for folder in inner):
            return None
        shared, every = set.intersection(*sets), set.union(*sets)
        if len(shared) < 2 or 2 * len(shared) < len(every):
            return None
        words = {tuple(words_of(one.name)) for one in tops}
        if len(words) == 1 and words != {()} and set(*words) <= _PARTS:
            labelled = [(path, nfc(one.name), "") for folder in inner for one in folder.filled for path in one.below()]
            return [f"layout: {len(tops)} parts ({_names(tops)}), joined; one folder per class in each"], labelled
        raise FolderError(
            f"{self.path_of()} holds {_names(tops)}, and each of them the folders "
            f"{enumeration(sorted(shared, key=natural))}. If the inner folders are the classes: "
            f"--source.layout inner joins them, {_source(self.where, tops[0].path)} takes one part. "
            "If the outer folders are the classes: --source.layout classes"
        )

    def _inner(self) -> tuple[list[str], list[Labelled]]:
        """Labels photos by their innermost folder; folders of the same name are one class."""
        folders = [one for one in self.root.folders_below() if one is not self.root]
        labelled = [(path, nfc(one.name), "") for one in folders for path in one.photos]
        count = len({class_ for _, class_, _ in labelled})
        line = f"layout: each innermost folder is a class; {len(folders)} folders, {count} classes"
        return [line, *self._beside_classes()], labelled

    def _classes(self) -> tuple[list[str], list[Labelled]]:
        """Labels photos by their outermost folder."""
        tops = self.root.filled
        self._check_filled(self.root.empty)
        labelled = [(path, nfc(one.name), "") for one in tops for path in one.below()]
        nested = tops if self.layout == "auto" and not self.sequences else []
        return [f"layout: one folder per class{_nested(nested)}", *self._beside_classes()], labelled

    def _named(self, pairs: list[tuple[str, Folder]], left: list[str]) -> tuple[list[str], list[Labelled]]:
        """Labels photos by their names without the number: `cat` for `train/cat.1.jpg`.

        A split other than train is left out unless all its photos are named after classes of train.

        Raises:
            FolderError: with `layout` other than `names`, the names in train do not look like classes.
        """
        labelled: list[Labelled] = []
        known: set[str] = set()
        used: list[str] = []
        for split, folder in pairs:
            words = {path: _name_before_number(path) for path in folder.below()}
            if split in ("", "train"):
                if self.layout != "names" and not _class_names(words.values()):
                    raise FolderError(self._without_labels(folder))
                known |= {word for word in words.values() if word}
            elif not set(words.values()) <= known:
                left.append(_unlabelled(folder))
                continue
            if without := sum(not word for word in words.values()):
                left.append(
                    f"left out: {counted(without, 'photo')} in {folder.path or self.where} whose names have no number"
                )
            used.append(f"{split} ({folder.path})")
            labelled += [(path, word, split) for path, word in words.items() if word]
        if {split for _, _, split in labelled} <= {"train"}:
            labelled = [(path, class_, "") for path, class_, _ in labelled]
        line = f"layout: the photos' names are their classes ({enumeration(sorted(known, key=natural))})"
        return [line + ("" if pairs[0][0] == "" else f"; splits {', '.join(used)}"), *left], labelled

    def _beside_classes(self) -> list[str]:
        """Returns a line about the photos directly in `root`, which are left out; an empty list if there are none."""
        count = len(self.root.photos)
        return [f"left out: {counted(count, 'photo')} beside the class folders"] if count else []

    def _check_filled(self, empty: list[Folder]) -> None:
        """Raises `FolderError` if there are class folders without photos."""
        if empty:
            raise FolderError(f"the class folder {self.path_of(empty[0])} holds no photos: fill or remove it")

    def _without_labels(self, folder: Folder) -> str:
        """Returns the error message for a folder named train that has no class folders."""
        return (
            f"the photos in {self.path_of(folder)} lie in no class folders{self._table()}. If their names are the "
            "classes: --source.layout names; if the folders are classes and no splits: --source.layout classes"
        )

    def _without_classes(self) -> str:
        """Returns the error message for a folder without class folders."""
        hint = "its photos are directly in it" if self.root.photos else "it holds no folders"
        return (
            f"there are no class folders in {self.path_of()} ({hint}): make one folder of photos for each class"
            f"{self._names_as_classes(self.root.photos)}{self._table()}"
        )

    def _names_as_classes(self, photos: Iterable[str]) -> str:
        """Returns a hint to use `--source.layout names` if the photos' names look like classes; else empty."""
        names = sorted(_class_names(map(_name_before_number, photos)), key=natural)
        return f"; the photos' names seem to be classes ({enumeration(names)}): --source.layout names" if names else ""

    def _table(self) -> str:
        """Returns a hint with the CSV file that most likely holds the labels; empty if there is none."""
        tables = [path for path in self.others if path.lower().endswith(".csv")]
        tables.sort(key=lambda path: (not re.search("train|label|class", path.casefold()), natural(path)))
        return f"; if a table holds the labels: {_source(self.where, tables[0])}" if tables else ""


def _depth(folder: Folder) -> bool:
    """Returns whether a folder has two or more levels of subfolders with photos."""
    return any(one.filled for one in folder.filled)


def _name_before_number(path: str) -> str:
    """Returns the text before the number in a photo's name, `cat` for `cat.17.jpg`; empty if there is no number."""
    stem = path.rpartition("/")[2].rpartition(".")[0]
    match = re.fullmatch(r"(.*[^\W\d_])[\W_]*\d+", stem)
    return nfc(match[1]) if match else ""


def _class_names(words: Iterable[str]) -> set[str]:
    """Returns the words if they look like classes: two or more, none generic, each of several photos; else empty."""
    count = Counter(words)
    generic = any(not word or word.casefold() in _GENERIC for word in count)
    return set() if generic or len(count) < 2 or min(count.values()) < 2 else set(count)


def _nested(tops: Sequence[Folder]) -> str:
    """Returns a note on class folders with subfolders that might be the classes; empty if there are none."""
    folders = [one for one in tops if {inner.name for inner in one.filled} - {one.name}]
    inner = sorted({nfc(one.name) for folder in folders for one in folder.filled}, key=natural)
    if not folders or (len(inner) == 1 and len(folders) == len(tops) and not any(one.photos for one in tops)):
        return ""
    names = list(dict.fromkeys(one.name for one in folders))
    return (
        f"; {enumeration(names)} hold{'s' * (len(names) == 1)} further folders ({enumeration(inner)}), whose photos "
        "count for the outer class: --source.layout inner makes each innermost folder a class"
    )


def _unlabelled(folder: Folder) -> str:
    return f"left out: {counted(folder.total, 'photo')} in {folder.path} without labels"


def _source(where: str, path: str) -> str:
    """Returns the command-line option that selects a folder or file of the source."""
    return f"--source {shlex.quote(_join(where, path))}"


def _join(where: str, path: str) -> str:
    return f"{where}/{path}" if path else where


def _names(folders: Sequence[Folder]) -> str:
    return enumeration([one.name for one in folders])
