"""Findings about classes: too few classes, too few photos in a class, class imbalance."""

from collections import Counter
from collections.abc import Sequence

import numpy as np

from headstand.preparation.doctor.checked_folder import Contents
from headstand.preparation.doctor.file_check import FileCheck
from headstand.preparation.doctor.issues import Issue, IssueCase, issue
from headstand.preparation.listing import counted
from headstand.preparation.manifest import SPLITS

IMBALANCE = 10
"""Maximum ratio of the largest to the smallest class."""

EXAMINED = 5
"""Minimum number of photos of a class in a split for meaningful metrics: one of 5 is 20 points of accuracy."""


def classes(contents: Contents, checks: Sequence[FileCheck], groups: np.ndarray) -> list[Issue]:
    """Returns the findings about the classes of a folder.

    Args:
        contents: the folder's contents.
        checks: N usable photos.
        groups: `int [N]`, group numbers; near duplicates share one.
    """
    counts = dict.fromkeys(contents.classes, 0) | Counter(check.item.class_ for check in checks)
    different = Counter(
        class_ for class_, _ in {(e.item.class_, g) for e, g in zip(checks, groups.tolist(), strict=True)}
    )
    found: list[Issue] = []
    if len(counts) < 2:
        found += issue("one_class", [IssueCase((), f"there is only {', '.join(counts) or 'none'}")])
    found += issue("empty_class", [IssueCase((), name) for name, count in counts.items() if not count])
    if contents.layout == "classes":
        few = [
            IssueCase((), f"{name}: {counted(count, 'photo')}, {different[name]} different")
            for name, count in counts.items()
            if count and different[name] < len(SPLITS)
        ]
        found += issue("too_few", few)
    else:
        found += _divided(counts, checks)
    filled = {name: count for name, count in counts.items() if count}
    if len(filled) > 1 and max(filled.values()) > IMBALANCE * min(filled.values()):
        least, most = (pick(filled, key=lambda name: filled[name]) for pick in (min, max))
        found += issue(
            "imbalance", [IssueCase((), f"{most} has {filled[most]:,} photos, {least} has {filled[least]:,}")]
        )
    return found


def _divided(counts: dict[str, int], checks: Sequence[FileCheck]) -> list[Issue]:
    splits = [split for split in SPLITS if any(check.item.split == split for check in checks)]
    placed = Counter((check.item.split, check.item.class_) for check in checks)
    few: list[IssueCase] = []
    none: list[IssueCase] = []
    for name in (name for name, count in counts.items() if count):
        for split in splits:
            count = placed[split, name]
            if count < EXAMINED:
                (few if count else none).append(IssueCase((), f"{name}: {count or 'none'} in {split}"))
    return [*issue("empty_class", none), *issue("few_examined", few)]
