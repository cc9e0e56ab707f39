"""Splits that folder names denote: `Training_set`, `asl_alphabet_test`, `val2017`, photos without labels."""

import re
from collections import defaultdict
from collections.abc import Collection

from headstand.preparation.listing import SPLIT_NAMES
from headstand.preparation.manifest import nfc

_FILLERS = frozenset({
    "set", "sets", "image", "images", "imgs", "img", "data", "dataset", "datasets", "photo", "photos",
    "picture", "pictures", "pics", "split", "splits", "sample", "samples", "folder", "folders", "file", "files",
    "jpg", "jpeg", "png", "seg", "the",
})  # fmt: skip
"""Words that may accompany a split's name in a folder's name, as in `training_set` and `Test images`."""

_UNLABELLED = frozenset({
    "pred", "predict", "prediction", "predictions", "unlabeled", "unlabelled", "unlabel", "unknown",
    "submission", "inference",
})  # fmt: skip
"""Words in the names of folders with photos that have no labels."""


def split_of(name: str) -> str:
    """Returns the split that a folder's name alone denotes, ignoring case: `train` for `Training_set`; else empty."""
    template, split = parse(name)
    return split if set(template) <= _FILLERS else ""


def roles(names: Collection[str]) -> dict[str, str]:
    """Returns the split of each sibling folder by name, `unlabelled` for photos without labels, or empty.

    A name denotes a split by itself, or if names of one pattern differ only in the split: `asl_alphabet_train`,
    `asl_alphabet_test`.
    """
    found = {name: split_of(name) for name in names}
    patterns: dict[tuple[str, ...], set[str]] = defaultdict(set)
    for name in names:
        template, split = parse(name)
        if split:
            patterns[template].add(split)
    for name in names:
        template, split = parse(name)
        if split and patterns[template] > {"train"}:
            found[name] = split
        elif not found[name] and set(words_of(name)) & _UNLABELLED and set(words_of(name)) <= _UNLABELLED | _FILLERS:
            found[name] = "unlabelled"
    return found


def beside_train(names: Collection[str]) -> dict[str, str]:
    """Returns the split of each sibling folder if all but train add a split to its name: `rps`, `rps-test-set`.

    Returns an empty dictionary otherwise. By their names alone such folders can also be classes.
    """
    found = {name: parse(name) for name in names}
    stems = {tuple(word for word in template if word not in _FILLERS) for template, _ in found.values()}
    splits = [split for _, split in found.values()]
    if len(splits) < 2 or len(stems) != 1 or () in stems or splits.count("") != 1 or "train" in splits:
        return {}
    return {name: split or "train" for name, (_, split) in found.items()}


def words_of(name: str) -> list[str]:
    """Returns the words of a name in lower case, without digits: asl, alphabet, train for `asl_alphabetTrain1`."""
    text = re.sub(r"(?<=[a-z])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", " ", nfc(name))
    found: list[str] = []
    for word in re.findall(r"[^\W\d_]+", text.casefold()):
        end = next((filler for filler in ("set", "images", "imgs", "data") if word.endswith(filler)), "")
        joined = bool(end) and word.removesuffix(end) in SPLIT_NAMES  # as in `trainset`
        found += [word.removesuffix(end), end] if joined else [word]
    return found


def parse(name: str) -> tuple[tuple[str, ...], str]:
    """Returns the words of a folder's name except the split's, and the split; empty if there is not exactly one."""
    found = words_of(name)
    splits = [word for word in found if word in SPLIT_NAMES]
    if len(splits) != 1:
        return tuple(found), ""
    index = found.index(splits[0])
    return (*found[:index], *found[index + 1 :]), SPLIT_NAMES[splits[0]]
