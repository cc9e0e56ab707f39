"""Contents of the EDA report beyond counts: groups of near duplicates, label conflicts, and left-out files."""

from collections import defaultdict
from dataclasses import dataclass, field

from headstand.preparation import preparation_record
from headstand.preparation.manifest import Dataset, Photo

GROUPS = 24
"""Maximum number of groups of a kind that are shown, the largest first."""

MEMBERS = 12
"""Maximum number of photos of a group that are shown."""


@dataclass(frozen=True)
class Groups:
    """Groups, label conflicts and left-out files of a dataset.

    Attributes:
        groups: groups of two or more photos that are near duplicates or that the source groups, the largest first.
        related: whether the source defines groups.
        in_several_splits: number of groups in more than one split.
        conflicts: groups of near duplicates with more than one label, the largest first.
        left_out: source files that were not used, by reason, the most frequent reason first.
    """

    groups: list[list[Photo]]
    related: bool
    in_several_splits: int
    conflicts: list[list[Photo]]
    left_out: dict[str, list[str]] = field(default_factory=dict)

    @classmethod
    def of(cls, dataset: Dataset) -> "Groups":
        """Collects the findings from the manifest and, if it exists, the preparation record `prepared.json`."""
        record = preparation_record.summary(dataset.folder)
        members: dict[int, list[Photo]] = defaultdict(list)
        for photo in dataset.photos:
            members[photo.group].append(photo)
        groups = _largest_first(list(members.values()))
        if "conflicts" in record:  # groups of the source may have several labels: no conflict
            photos = {photo.path: photo for photo in dataset.photos}
            conflicts = [[photos[path] for path in paths if path in photos] for paths in record["conflicts"]]
        else:
            conflicts = [group for group in groups if len({photo.class_ for photo in group}) > 1]
        left_out: dict[str, list[str]] = defaultdict(list)
        for file, reason in record.get("left_out", []):
            left_out[reason].append(file)
        return cls(
            groups,
            bool(record.get("related")),
            sum(len({photo.split for photo in group}) > 1 for group in groups),
            _largest_first(conflicts),
            dict(sorted(left_out.items(), key=lambda item: -len(item[1]))),
        )

    @property
    def photos(self) -> list[Photo]:
        """The photos of groups and conflicts that are shown."""
        groups = [*self.groups[:GROUPS], *self.conflicts[:GROUPS]]
        return [photo for group in groups for photo in sample(group)]


def sample(group: list[Photo]) -> list[Photo]:
    """Returns the photos of a group that are shown: at most `MEMBERS`, balanced over the labels, in their order."""
    by_label: dict[str, list[Photo]] = defaultdict(list)
    for photo in group:
        by_label[photo.class_].append(photo)
    rounds = [(index, photo.path) for photos in by_label.values() for index, photo in enumerate(photos)]
    shown = {path for _, path in sorted(rounds)[:MEMBERS]}
    return [photo for photo in group if photo.path in shown]


def _largest_first(groups: list[list[Photo]]) -> list[list[Photo]]:
    return sorted((group for group in groups if len(group) > 1), key=len, reverse=True)
