"""Who trains and who is examined: the photos' division into train, validation and test."""

import hashlib
from collections import Counter, defaultdict
from collections.abc import Sequence
from itertools import accumulate

import numpy as np

from headstand import recipe
from headstand.errors import HeadstandError
from headstand.prepare.manifest import SPLITS, natural


class SplitError(HeadstandError):
    """Too few photos, or too few different ones, to divide."""


def divide(
    classes: Sequence[str], digests: Sequence[str], groups: np.ndarray, settings: recipe.Split, seed: int
) -> list[str]:
    """Choose a split for each photo.

    Args:
        classes: the class of each photo; the photos in the order that `ordered` is to follow.
        digests: the SHA-256 of each photo's bytes. With the seed they decide the draw, so that neither the order
            of the files nor their names do.
        groups: `int [N]`, the number that a photo shares with its twins.
        settings: fractions and strategy.
        seed: another seed, another draw.

    Returns:
        `train`, `validation` or `test` for each photo. `grouped`: groups stay whole, and the fractions hold for each
        class to within its largest group. `ordered`: the first photos of each class train, the next validate, the rest
        test; twins may straddle.

    Raises:
        SplitError: a class with fewer than three photos, or (`grouped`) with fewer than three groups.
    """
    for name, count in sorted(Counter(classes).items()):
        if count < len(SPLITS):
            raise SplitError(
                f"class {name!r} has {count} usable photo{'s' * (count != 1)}, and each class needs three at least, "
                "one for each split: add photos or remove the class"
            )
    if settings.strategy == "ordered":
        return _ordered(classes, settings)
    return _grouped(classes, digests, groups, settings, seed)


def straddling(groups: np.ndarray, splits: Sequence[str]) -> int:
    """How many groups have photos in more than one split."""
    places = defaultdict(set)
    for group, split in zip(groups.tolist(), splits, strict=True):
        places[group].add(split)
    return sum(len(place) > 1 for place in places.values())


def _targets(count: int, settings: recipe.Split) -> dict[str, int]:
    """How many photos of a class of `count` each split is to have; no split goes without."""
    validation = max(1, round(count * settings.validation))
    test = max(1, round(count * settings.test))
    while count - validation - test < 1:
        validation, test = (validation - 1, test) if validation > test else (validation, test - 1)
    return {"train": count - validation - test, "validation": validation, "test": test}


def _ordered(classes: Sequence[str], settings: recipe.Split) -> list[str]:
    totals, seen = Counter(classes), Counter[str]()
    splits = []
    for name in classes:
        targets = _targets(totals[name], settings)
        place, seen[name] = seen[name], seen[name] + 1
        after_train = targets["train"] + targets["validation"]
        splits.append("train" if place < targets["train"] else "validation" if place < after_train else "test")
    return splits


def _grouped(
    classes: Sequence[str], digests: Sequence[str], groups: np.ndarray, settings: recipe.Split, seed: int
) -> list[str]:
    """Largest groups first, each to a split drawn by the room that is left there: as if photos were drawn one by one.

    Giving the large groups to the emptiest split instead would put all series into train, and the test photos would be
    of another kind.
    """
    members: dict[int, list[int]] = defaultdict(list)
    for photo, group in enumerate(groups.tolist()):
        members[group].append(photo)
    room = {name: _targets(count, settings) for name, count in Counter(classes).items()}
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
        empty = [split for split in SPLITS if split not in filled[name]]
        if waiting[name] < len(empty):
            raise SplitError(
                f"class {name!r} has {len(filled[name]) + waiting[name]} different photos only, the others are near "
                "duplicates of them; each class needs three, one for each split: add photos or remove the class"
            )
        open_ = empty if waiting[name] == len(empty) else list(SPLITS)
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
