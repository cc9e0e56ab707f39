"""Splitting of photos into train, validation and test, stratified by class and with near duplicates kept together."""

import hashlib
from collections import Counter, defaultdict
from collections.abc import Sequence
from itertools import accumulate

import numpy as np

from headstand import recipe
from headstand.errors import HeadstandError
from headstand.preparation.listing import counted
from headstand.preparation.manifest import SPLITS, natural
from headstand.preparation.near_duplicates import components, renumbered

_NUMBER = {1: "one", 2: "two", 3: "three"}


class SplitError(HeadstandError):
    """Raised if a class has too few photos, or too few distinct ones, for the splits."""


def divide(
    classes: Sequence[str],
    digests: Sequence[str],
    groups: np.ndarray,
    settings: recipe.Split,
    seed: int,
    given: Sequence[str] = (),
) -> list[str]:
    """Assigns each photo to a split.

    Predefined splits are kept. The other photos are assigned to train and to the splits that are not predefined, with
    the fractions rescaled; with the strategy `grouped`, photos in the group of a photo with a predefined split follow
    it. If every photo has a predefined split but validation or test is empty, it is taken from train.

    Args:
        classes: class of each photo; `ordered` follows the order of this list.
        digests: SHA-256 of each photo's bytes. The random draw depends on them and the seed, and so not on the order
            or the names of the files.
        groups: `int [N]`, group numbers; near duplicates and photos that the source groups share one.
        settings: fractions and strategy.
        seed: random seed.
        given: predefined split of each photo (see `kept`), empty if it has none. Default: none for all photos.

    Returns:
        `train`, `validation` or `test` for each photo. `grouped`: groups stay whole, and the fractions of each class
        are met to within its largest group. `ordered`: the first photos of each class go to train, the next to
        validation, the rest to test; near duplicates may lie in several splits.

    Raises:
        SplitError: a class has too few photos or (`grouped`) groups, where three are needed without predefined splits,
            or a class has no photo in train. A predefined validation or test split may lack a class; metrics are then
            averaged over the other classes.
    """
    chosen = list(given) or [""] * len(classes)
    named = set(chosen) - {""}
    if named == set(SPLITS):
        wanted: tuple[str, ...] = ("train",)
    else:
        wanted = tuple(split for split in SPLITS if split == "train" or split not in named)
    if "" not in chosen and len(wanted) > 1:
        # The missing splits are taken from train. Photos do not follow their group here: a predefined training photo
        # never moves to the predefined test split, even if it has a near duplicate there.
        chosen = ["" if split == "train" else split for split in chosen]
    elif settings.strategy == "grouped":
        chosen = _follow(chosen, groups)
    free = [index for index, split in enumerate(chosen) if not split]
    names = [classes[index] for index in free]
    for name, count in sorted(Counter(names).items()):
        if count < len(wanted):
            raise SplitError(
                f"class {name!r} has {counted(count, 'usable photo')}{' to divide' if named else ''}, and each "
                f"class needs {_NUMBER[len(wanted)]} at least, {_one_for(wanted)}: add photos or remove the class"
            )
    if settings.strategy == "ordered":
        found = _ordered(names, settings, wanted)
    else:
        found = _grouped(names, [digests[index] for index in free], groups[free], settings, seed, wanted)
    for index, split in zip(free, found, strict=True):
        chosen[index] = split
    _check_every_split_has_class(classes, chosen, named)
    return chosen


def kept(given: Sequence[str], settings: recipe.Split) -> list[str]:
    """Returns the predefined splits of the source that `split.recut` keeps.

    `all` discards every predefined split, `validation` merges the predefined validation split into train.
    """
    if settings.recut == "all":
        return [""] * len(given)
    return ["train" if split == settings.recut else split for split in given]


def check_train(classes: Sequence[str], given: Sequence[str]) -> None:
    """Checks that each class has photos that can be assigned to train.

    Raises:
        SplitError: all photos of a class are in validation or test.
    """
    trained = {name for name, split in zip(classes, given, strict=True) if split in ("", "train")}
    if lacking := sorted(set(classes) - trained, key=natural):
        raise SplitError(
            f"the source's split train lacks the class{'es' * (len(lacking) != 1)} {', '.join(lacking)}: a class needs "
            "photos to train on; add them, remove the class, or have all photos divided anew with --split.recut all"
        )


def join(groups: np.ndarray, names: Sequence[str]) -> np.ndarray:
    """Merges groups that contain photos with the same name and returns the new group numbers, `int64 [N]`.

    Groups are numbered from 0 by first appearance.

    Args:
        groups: `int [N]`, group numbers below N.
        names: name of the source's group of each photo; empty if it has none.
    """
    numbers: dict[str, int] = {}
    # The nodes are the groups and, after them, the names.
    edges = [
        (group, len(groups) + numbers.setdefault(name, len(numbers)))
        for group, name in zip(groups.tolist(), names, strict=True)
        if name
    ]
    joined = components(len(groups) + len(numbers), *np.array(edges, dtype=np.int64).reshape(-1, 2).T)
    return renumbered(joined[groups])


def in_several_splits(groups: np.ndarray, splits: Sequence[str]) -> int:
    """Returns the number of groups with photos in more than one split."""
    splits_of = defaultdict(set)
    for group, split in zip(groups.tolist(), splits, strict=True):
        splits_of[group].add(split)
    return sum(len(names) > 1 for names in splits_of.values())


def _follow(chosen: list[str], groups: np.ndarray) -> list[str]:
    """Returns the splits with each unassigned photo assigned to the split of the first assigned photo of its group."""
    split_of_group: dict[int, str] = {}
    for group, split in zip(groups.tolist(), chosen, strict=True):
        if split:
            split_of_group.setdefault(group, split)
    return [split or split_of_group.get(group, "") for group, split in zip(groups.tolist(), chosen, strict=True)]


def _check_every_split_has_class(classes: Sequence[str], splits: Sequence[str], given: set[str]) -> None:
    check_train(classes, splits)
    filled = set(zip(classes, splits, strict=True))
    for name in sorted(set(classes)):
        if lacking := [split for split in SPLITS if split not in given and (name, split) not in filled]:
            raise SplitError(
                f"class {name!r} has no usable photo in {' and '.join(lacking)}, since they belong to photos of other "
                "classes: add photos or remove the class"
            )


def _one_for(wanted: tuple[str, ...]) -> str:
    return "one for each split" if wanted == SPLITS else " and ".join(f"one for {split}" for split in wanted)


def _targets(count: int, settings: recipe.Split, wanted: tuple[str, ...]) -> dict[str, int]:
    """Returns the target number of photos per split in `wanted` for a class of `count` photos, at least one each."""
    whole = 1 if wanted == SPLITS else sum(getattr(settings, split) for split in wanted)
    targets = {split: max(1, round(count * getattr(settings, split) / whole)) for split in wanted if split != "train"}
    while count - sum(targets.values()) < 1:
        targets[max(reversed(targets), key=lambda split: targets[split])] -= 1
    return {"train": count - sum(targets.values()), **targets}


def _ordered(classes: Sequence[str], settings: recipe.Split, wanted: tuple[str, ...]) -> list[str]:
    targets = {name: _targets(count, settings, wanted) for name, count in Counter(classes).items()}
    rest = {name: [split for split in wanted for _ in range(target[split])] for name, target in targets.items()}
    counted = Counter[str]()
    splits = []
    for name in classes:
        splits.append(rest[name][counted[name]])
        counted[name] += 1
    return splits


def _grouped(
    classes: Sequence[str],
    digests: Sequence[str],
    groups: np.ndarray,
    settings: recipe.Split,
    seed: int,
    wanted: tuple[str, ...],
) -> list[str]:
    """Assigns groups to splits at random, the largest first, with probabilities proportional to the remaining capacity.

    This matches the distribution of drawing photos one by one. Assigning large groups to the split with the most
    capacity instead would put all series into train, and the test photos would be of another kind.
    """
    members: dict[int, list[int]] = defaultdict(list)
    for photo, group in enumerate(groups.tolist()):
        members[group].append(photo)
    capacity = {name: _targets(count, settings, wanted) for name, count in Counter(classes).items()}
    class_of = {group: _most_frequent([classes[photo] for photo in photos]) for group, photos in members.items()}
    draws = {
        group: _draw(f"{seed} {class_of[group]} {min(digests[photo] for photo in photos)}")
        for group, photos in members.items()
    }
    waiting = Counter(class_of.values())
    filled: dict[str, set[str]] = {name: set() for name in capacity}
    chosen: dict[int, str] = {}

    def mixed(group: int) -> bool:
        return len({classes[photo] for photo in members[group]}) > 1

    # Groups with several classes go first, so that the other groups of these classes can compensate for them.
    for group in sorted(members, key=lambda group: (not mixed(group), -len(members[group]), draws[group])):
        name = class_of[group]
        empty = [split for split in wanted if split not in filled[name]]
        if waiting[name] < len(empty):
            raise SplitError(
                f"class {name!r} has {len(filled[name]) + waiting[name]} different photos only, the others are near "
                f"duplicates of them or belong to them; each class needs {_NUMBER[len(wanted)]}, {_one_for(wanted)}: "
                "add photos or remove the class. Frames of one video clip per class can be divided in time with "
                "--split.strategy ordered: then nearly equal frames lie in train and test, and the figures hold for "
                "these clips only and are too high for new ones"
            )
        open_ = empty if waiting[name] == len(empty) else list(wanted)
        split = _choose(draws[group], len(members[group]), {split: capacity[name][split] for split in open_})
        waiting[name] -= 1
        chosen[group] = split
        for photo in members[group]:
            capacity[classes[photo]][split] -= 1
            filled[classes[photo]].add(split)
    return [chosen[group] for group in groups.tolist()]


def _choose(draw: float, size: int, capacity: dict[str, int]) -> str:
    """Returns a split with probability proportional to its remaining capacity, among those where the group fits.

    If the group fits nowhere, returns the split with the largest remaining capacity.

    Args:
        draw: random number in 0..1.
        size: number of photos in the group.
        capacity: remaining capacity by split.
    """
    fitting = {split: space for split, space in capacity.items() if space >= size}
    if not fitting:
        return max(capacity, key=lambda split: capacity[split])
    mark = draw * sum(fitting.values())
    return next(split for split, end in zip(fitting, accumulate(fitting.values()), strict=True) if mark < end)


def _most_frequent(names: list[str]) -> str:
    """Returns the majority class of a group; ties are broken by natural order."""
    counts = Counter(names)
    return min(counts, key=lambda name: (-counts[name], natural(name)))


def _draw(text: str) -> float:
    """Returns a pseudorandom number in 0..1 that depends only on the text."""
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:7]) / 2**56
