"""Findings about photos of the same picture: duplicates in a class, leakage across splits, label conflicts."""

from collections import defaultdict
from collections.abc import Sequence

import numpy as np

from headstand.preparation.doctor.file_check import FileCheck
from headstand.preparation.doctor.issues import Issue, IssueCase, issue
from headstand.preparation.examination import examined
from headstand.preparation.geometric_matches import MatchedPair

MIRRORED, EXCESS = 0.8, 0.05
"""Minimum correlation of a photo with the mirror image of another, and minimum excess over the unmirrored correlation.

The excess is required because symmetric pictures correlate both ways."""


def copies(checks: Sequence[FileCheck], groups: np.ndarray) -> list[Issue]:
    """Returns the findings about groups of near duplicates, the largest groups first.

    A group in several splits is a `leak`, one with several classes a `label_conflict`; both are possible. Other groups
    are `exact_duplicates`, `near_duplicates` or `mirror_copies`.

    Args:
        checks: N usable photos.
        groups: `int [N]`, group numbers; near duplicates share one (`headstand.preparation.near_duplicates.groups`).
    """
    members: dict[int, list[FileCheck]] = defaultdict(list)
    for check, group in zip(checks, groups.tolist(), strict=True):
        members[group].append(check)
    cases: dict[str, list[IssueCase]] = defaultdict(list)
    for group in sorted((group for group in members.values() if len(group) > 1), key=len, reverse=True):
        relation = _relation(group)
        codes = _across(group) or [_CODES[relation]]
        for code in codes:
            cases[code].append(_case(group, code, relation))
    return [found for code, listed in cases.items() for found in issue(code, listed)]


def likely(checks: Sequence[FileCheck], pairs: Sequence[MatchedPair]) -> list[Issue]:
    """Returns the findings about geometric matches, in the order of the pairs.

    Args:
        checks: usable photos.
        pairs: geometric matches, as indices into `checks`, the highest correlation first.
    """
    cases: dict[str, list[IssueCase]] = defaultdict(list)
    for pair in pairs:
        both = [checks[pair.first], checks[pair.second]]
        codes = [f"likely_{code}" for code in _across(both)] or ["geometric_matches"]
        for code in codes:
            cases[code].append(_case(both, code, pair.detail))
    return [found for code, listed in cases.items() for found in issue(code, listed)]


_CODES = {"identical": "exact_duplicates", "similar": "near_duplicates", "mirrored": "mirror_copies"}


def _across(group: list[FileCheck]) -> list[str]:
    """Returns the codes of a group's errors: `leak` for several splits, `label_conflict` for several classes."""
    codes = []
    if len({check.item.split for check in group}) > 1:
        codes.append("leak")
    if len({check.item.class_ for check in group}) > 1:
        codes.append("label_conflict")
    return codes


def _case(group: list[FileCheck], code: str, relation: str) -> IssueCase:
    if code.endswith("conflict"):
        relation += f": {', '.join(sorted({check.item.class_ for check in group}))}"
    elif code.endswith("leak"):
        relation += f": {', '.join(sorted({check.item.split for check in group}))}"
    return IssueCase(tuple(check.name for check in group), relation)


def _relation(group: list[FileCheck]) -> str:
    if len({check.file.sha256 for check in group}) == 1:
        return "identical"
    first = group[0]
    return "mirrored" if any(_mirrored(first, other) for other in group[1:]) else "similar"


def _mirrored(first: FileCheck, second: FileCheck) -> bool:
    one, two = (examined(check.item.path, check.file.sha256).luma.astype(np.float32) for check in (first, second))
    turned = _correlation(one, two[:, ::-1])
    return turned >= MIRRORED and turned >= _correlation(one, two) + EXCESS


def _correlation(one: np.ndarray, two: np.ndarray) -> float:
    one, two = one - one.mean(), two - two.mean()
    return float((one * two).sum() / max(float(np.sqrt((one**2).sum() * (two**2).sum())), 1e-6))
