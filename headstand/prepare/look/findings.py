"""What a look at a prepared dataset tells beyond counts: groups, label conflicts, and what was left out."""

from collections import defaultdict
from dataclasses import dataclass, field

from headstand.prepare import record
from headstand.prepare.manifest import Dataset, Photo

GROUPS = 24
"""Most groups that are shown of a kind, the largest first."""

MEMBERS = 12
"""Most photos of a group that are shown."""


@dataclass(frozen=True)
class Findings:
    """What to show of a dataset.

    Attributes:
        groups: twins and photos that belong together by the source's own word, two or more, the largest group first.
        related: whether there are any of the second kind.
        straddling: how many groups lie in more than one split.
        conflicts: twins with more than one label, the largest group first.
        left_out: by reason, the most frequent first, the source's files that were not used.
    """

    groups: list[list[Photo]]
    related: bool
    straddling: int
    conflicts: list[list[Photo]]
    left_out: dict[str, list[str]] = field(default_factory=dict)

    @classmethod
    def of(cls, dataset: Dataset) -> "Findings":
        """The manifest's groups, and what preparation noted down in `prepared.json`, if it did."""
        told = record.summary(dataset.folder)
        members: dict[int, list[Photo]] = defaultdict(list)
        for photo in dataset.photos:
            members[photo.group].append(photo)
        groups = _largest_first(list(members.values()))
        if "conflicts" in told:  # a group that the source names may rightly have several labels: no conflict
            photos = {photo.path: photo for photo in dataset.photos}
            conflicts = [[photos[path] for path in paths if path in photos] for paths in told["conflicts"]]
        else:
            conflicts = [group for group in groups if len({photo.class_ for photo in group}) > 1]
        left_out: dict[str, list[str]] = defaultdict(list)
        for file, reason in told.get("left_out", []):
            left_out[reason].append(file)
        return cls(
            groups,
            bool(told.get("related")),
            sum(len({photo.split for photo in group}) > 1 for group in groups),
            _largest_first(conflicts),
            dict(sorted(left_out.items(), key=lambda item: -len(item[1]))),
        )

    @property
    def photos(self) -> list[Photo]:
        """The photos that are shown."""
        groups = [*self.groups[:GROUPS], *self.conflicts[:GROUPS]]
        return [photo for group in groups for photo in some(group)]


def some(group: list[Photo]) -> list[Photo]:
    """The members of a group that are shown, in its order: of each label as many, while there is room."""
    by_label: dict[str, list[Photo]] = defaultdict(list)
    for photo in group:
        by_label[photo.class_].append(photo)
    rounds = [(place, photo.path) for photos in by_label.values() for place, photo in enumerate(photos)]
    shown = {path for _, path in sorted(rounds)[:MEMBERS]}
    return [photo for photo in group if photo.path in shown]


def _largest_first(groups: list[list[Photo]]) -> list[list[Photo]]:
    return sorted((group for group in groups if len(group) > 1), key=len, reverse=True)
