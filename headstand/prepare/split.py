"""Divide photos into train, validation and test."""

import hashlib
from collections import Counter, defaultdict
from collections.abc import Sequence
from itertools import accumulate

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from headstand import recipe
from headstand.errors import HeadstandError
from headstand.prepare.manifest import SPLITS, natural

_NUMBER = {1: "one", 2: "two", 3: "three"}


class SplitError(HeadstandError):
    """Too few photos, or too few different ones, to divide."""


def divide(
    classes: Sequence[str],
    digests: Sequence[str],
    groups: np.ndarray,
    settings: recipe.Split,
    seed: int,
    given: Sequence[str] = (),
) -> list[str]:
    """Choose a split for each photo.

    Args:
        classes: the class of each photo; the photos in the order that `ordered` is to follow.
        digests: the SHA-256 of each photo's bytes. With the seed they decide the draw, so that neither the order
            of the files nor their names do.
        groups: `int [N]`, the number that a photo shares with its twins and with what belongs to it.
        settings: fractions and strategy.
        seed: another seed, another draw.
        given: the split of each photo according to the source (see `kept`), empty where it states none; all empty if
            left out.

    Returns:
        `train`, `validation` or `test` for each photo. `grouped`: groups stay whole, and the fractions hold for each
        class to within its largest group. `ordered`: the first photos of each class train, the next validate, the rest
        test; near duplicates may lie in several splits.

        Given splits are kept. The other photos go to train and to the splits that no photo is given, by the fractions,
        rescaled; under `grouped` those that belong to given photos go where these are. If all photos are given and a
        split goes without, it is cut from train.

    Raises:
        SplitError: a class with too few photos or (`grouped`) groups, three where nothing is given; a class without
            photos in train. A given validation or test may lack a class: its figures are taken over the others.
    """
    chosen = list(given) or [""] * len(classes)
    named = set(chosen) - {""}
    if named == set(SPLITS):
        places: tuple[str, ...] = ("train",)
    else:
        places = tuple(split for split in SPLITS if split == "train" or split not in named)
    if "" not in chosen and len(places) > 1:
        # Cut from train; what the source trains on never goes to its test, whatever it resembles there.
        chosen = ["" if split == "train" else split for split in chosen]
    elif settings.strategy == "grouped":
        chosen = _follow(chosen, groups)
    free = [place for place, split in enumerate(chosen) if not split]
    names = [classes[place] for place in free]
    for name, count in sorted(Counter(names).items()):
        if count < len(places):
            raise SplitError(
                f"class {name!r} has {count} usable photo{'s' * (count != 1)}{' to divide' if named else ''}, and each "
                f"class needs {_NUMBER[len(places)]} at least, {_one_for(places)}: add photos or remove the class"
            )
    if settings.strategy == "ordered":
        found = _ordered(names, settings, places)
    else:
        found = _grouped(names, [digests[place] for place in free], groups[free], settings, seed, places)
    for place, split in zip(free, found, strict=True):
        chosen[place] = split
    _check_everywhere(classes, chosen, named)
    return chosen


def kept(given: Sequence[str], settings: recipe.Split) -> list[str]:
    """The source's splits, without those that `split.recut` gives up."""
    if settings.recut == "all":
        return [""] * len(given)
    return ["train" if split == settings.recut else split for split in given]


def check_train(classes: Sequence[str], given: Sequence[str]) -> None:
    """Check that the source gives each class photos that can be trained on.

    Raises:
        SplitError: a class whose photos are all given to validation or test.
    """
    trained = {name for name, split in zip(classes, given, strict=True) if split in ("", "train")}
    if lacking := sorted(set(classes) - trained, key=natural):
        raise SplitError(
            f"the source's split train lacks the class{'es' * (len(lacking) != 1)} {', '.join(lacking)}: a class needs "
            "photos to train on; add them, remove the class, or have all photos divided anew with --split.recut all"
        )


def join(groups: np.ndarray, names: Sequence[str]) -> np.ndarray:
    """Groups joined wherever two photos share a name: `int64 [N]`, numbered from 0 by first appearance.

    Args:
        groups: `int [N]`, group numbers below N.
        names: of each photo, what it belongs to; empty for nothing.
    """
    numbers: dict[str, int] = {}
    belonging = np.array([numbers.setdefault(name, len(numbers)) if name else -1 for name in names], dtype=np.int64)
    named = belonging >= 0
    ties = coo_array(
        (np.ones(int(named.sum())), (groups[named], belonging[named] + len(groups))),
        shape=(len(groups) + len(numbers),) * 2,
    )
    labels = connected_components(ties, directed=False)[1][groups]
    _, where, places = np.unique(labels, return_index=True, return_inverse=True)
    return np.argsort(np.argsort(where))[places].astype(np.int64)


def straddling(groups: np.ndarray, splits: Sequence[str]) -> int:
    """How many groups have photos in more than one split."""
    places = defaultdict(set)
    for group, split in zip(groups.tolist(), splits, strict=True):
        places[group].add(split)
    return sum(len(place) > 1 for place in places.values())


def _follow(chosen: list[str], groups: np.ndarray) -> list[str]:
    """The splits with free photos put where the first given one of their group is."""
    homes: dict[int, str] = {}
    for group, split in zip(groups.tolist(), chosen, strict=True):
        if split:
            homes.setdefault(group, split)
    return [split or homes.get(group, "") for group, split in zip(groups.tolist(), chosen, strict=True)]


def _check_everywhere(classes: Sequence[str], splits: Sequence[str], given: set[str]) -> None:
    check_train(classes, splits)
    filled = set(zip(classes, splits, strict=True))
    for name in sorted(set(classes)):
        if lacking := [split for split in SPLITS if split not in given and (name, split) not in filled]:
            raise SplitError(
                f"class {name!r} has no usable photo in {' and '.join(lacking)}, since they belong to photos of other "
                "classes: add photos or remove the class"
            )


def _one_for(places: tuple[str, ...]) -> str:
    return "one for each split" if places == SPLITS else " and ".join(f"one for {place}" for place in places)


def _targets(count: int, settings: recipe.Split, places: tuple[str, ...]) -> dict[str, int]:
    """How many photos of a class of `count` each of `places` is to have; none goes without."""
    whole = 1 if places == SPLITS else sum(getattr(settings, place) for place in places)
    targets = {place: max(1, round(count * getattr(settings, place) / whole)) for place in places if place != "train"}
    while count - sum(targets.values()) < 1:
        targets[max(reversed(targets), key=lambda place: targets[place])] -= 1
    return {"train": count - sum(targets.values()), **targets}


def _ordered(classes: Sequence[str], settings: recipe.Split, places: tuple[str, ...]) -> list[str]:
    targets = {name: _targets(count, settings, places) for name, count in Counter(classes).items()}
    rest = {name: [place for place in places for _ in range(target[place])] for name, target in targets.items()}
    seen = Counter[str]()
    splits = []
    for name in classes:
        splits.append(rest[name][seen[name]])
        seen[name] += 1
    return splits


def _grouped(
    classes: Sequence[str],
    digests: Sequence[str],
    groups: np.ndarray,
    settings: recipe.Split,
    seed: int,
    places: tuple[str, ...],
) -> list[str]:
    """Largest groups first, each to a split drawn by the room that is left there: as if photos were drawn one by one.

    Giving the large groups to the emptiest split instead would put all series into train, and the test photos would be
    of another kind.
    """
    members: dict[int, list[int]] = defaultdict(list)
    for photo, group in enumerate(groups.tolist()):
        members[group].append(photo)
    room = {name: _targets(count, settings, places) for name, count in Counter(classes).items()}
    home = {group: _home([classes[photo] for photo in photos]) for group, photos in members.items()}
    draws = {
        group: _draw(f"{seed} {home[group]} {min(digests[photo] for photo in photos)}")
        for group, photos in members.items()
    }
    waiting = Counter(home.values())
    filled: dict[str, set[str]] = {name: set() for name in room}
    chosen: dict[int, str] = {}

    def mixed(group: int) -> bool:
        return len({classes[photo] for photo in members[group]}) > 1

    # Groups of more than one class go first: the classes they touch can still make up for them.
    for group in sorted(members, key=lambda group: (not mixed(group), -len(members[group]), draws[group])):
        name = home[group]
        empty = [split for split in places if split not in filled[name]]
        if waiting[name] < len(empty):
            raise SplitError(
                f"class {name!r} has {len(filled[name]) + waiting[name]} different photos only, the others are near "
                f"duplicates of them or belong to them; each class needs {_NUMBER[len(places)]}, {_one_for(places)}: "
                "add photos or remove the class. Frames of one video clip per class can be divided in time with "
                "--split.strategy ordered: then nearly equal frames lie in train and test, and the figures hold for "
                "these clips only and are too high for new ones"
            )
        open_ = empty if waiting[name] == len(empty) else list(places)
        split = _choose(draws[group], len(members[group]), {split: room[name][split] for split in open_})
        waiting[name] -= 1
        chosen[group] = split
        for photo in members[group]:
            room[classes[photo]][split] -= 1
            filled[classes[photo]].add(split)
    return [chosen[group] for group in groups.tolist()]


def _choose(draw: float, size: int, room: dict[str, int]) -> str:
    """A split with a chance in proportion to its room, among those where the group fits; else the roomiest."""
    fitting = {split: space for split, space in room.items() if space >= size}
    if not fitting:
        return max(room, key=lambda split: room[split])
    mark = draw * sum(fitting.values())
    return next(split for split, end in zip(fitting, accumulate(fitting.values()), strict=True) if mark < end)


def _home(names: list[str]) -> str:
    """The class that a group counts for: that of most of its photos, the first in natural order among equals."""
    counts = Counter(names)
    return min(counts, key=lambda name: (-counts[name], natural(name), name))


def _draw(text: str) -> float:
    """A number in 0..1 that depends on the text alone."""
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:7]) / 2**56
