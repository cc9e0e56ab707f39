"""Summary of a dataset preparation, to be printed and recorded."""

import html
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from headstand.preparation.conversion import CONVERSIONS
from headstand.preparation.listing import counted, enumeration
from headstand.preparation.manifest import SPLITS, Dataset

MOST = 10
"""Maximum number of label conflicts that are printed, one line each."""


@dataclass(frozen=True)
class Summary:
    """Results of a dataset preparation; `str` returns the text that is printed.

    Attributes:
        folder: the prepared dataset.
        counts: number of photos by class, then by split.
        groups: number of groups of near duplicates, geometric matches included.
        near_duplicates: number of photos in these groups.
        largest: number of photos in the largest group.
        related: number of groups of two or more photos that the source defines.
        given: predefined splits of the source that were kept.
        followers: number of photos without a predefined split that were assigned to a predefined validation or test
            split because their near duplicates are there.
        in_several_splits: number of groups of near duplicates, or of groups of the source, in more than one split. This
            happens with predefined splits and with the strategy `ordered`.
        conflicts: paths in the dataset of the photos of each group of near duplicates with more than one class.
        left_out: source file and reason for each photo that is not used.
        converted: source files by conversion (`headstand.preparation.conversion`). The decoder converts them at every
            reading; the prepared files are copies.
        ignored: number of files in the source that are not photos by their name.
        links: number of symbolic links that were not followed.
        layout: lines about the recognised layout of the source and the folders that were left out.
        seconds: duration of each step.
        replaced: the other source whose photos the dataset held before; empty if there is none.
        is_new: False if the dataset existed already and was unchanged.
    """

    folder: Path
    counts: dict[str, dict[str, int]]
    groups: int = 0
    near_duplicates: int = 0
    largest: int = 0
    related: int = 0
    given: list[str] = field(default_factory=list)
    followers: int = 0
    in_several_splits: int = 0
    conflicts: list[list[str]] = field(default_factory=list)
    left_out: list[tuple[str, str]] = field(default_factory=list)
    converted: dict[str, list[str]] = field(default_factory=dict)
    ignored: int = 0
    links: int = 0
    layout: list[str] = field(default_factory=list)
    seconds: dict[str, float] = field(default_factory=dict)
    replaced: str = ""
    is_new: bool = True

    def __str__(self) -> str:
        return "\n".join([*self._table(), "", *self.remarks()])

    def _repr_html_(self) -> str:
        page = self.folder / "explore" / "index.html"
        return f'<pre>{html.escape(str(self))}</pre><a href="{html.escape(page.as_posix())}">plots</a>'

    def _table(self) -> list[str]:
        wide = max(len(name) for name in [*self.counts, "class", "all"])
        lines = [f"{'class':{wide}} {'train':>7} {'validation':>11} {'test':>6} {'all':>7}"]
        rows = dict(self.counts)
        rows["all"] = {split: sum(counts[split] for counts in self.counts.values()) for split in SPLITS}
        for name, counts in rows.items():
            total = sum(counts.values())
            lines.append(
                f"{name:{wide}} {counts['train']:7d} {counts['validation']:11d} {counts['test']:6d} {total:7d}"
            )
        return lines

    def remarks(self) -> list[str]:
        """Returns lines about the photos that were grouped, left out, converted and ignored."""
        grouped = f"{self.near_duplicates} photos in {self.groups} groups, the largest of {self.largest}"
        lines = [*self.layout, f"near duplicates: {grouped if self.groups else 'none'}"]
        if self.related:
            lines.append(f"groups: {self.related} defined by the source")
        if self.given:
            lines.append(f"splits: {', '.join(self.given)} kept as in the source")
        for name in self.given:
            if lacking := [class_ for class_, counts in self.counts.items() if not counts[name]]:
                remedy = "all divides all photos anew" if name == "test" else "validation cuts it from train instead"
                lines.append(
                    f"warning: the source's {name} has no photo of {enumeration(lacking)}, so its averages are taken "
                    f"over the other classes; --split.recut {remedy}"
                )
        if self.followers:
            lines.append(
                f"splits: {counted(self.followers, 'photo')} without one assigned to the split of near duplicates that "
                "have one in the source"
            )
        if self.in_several_splits:
            kind = "near duplicates" if self.related == 0 else "near duplicates and of photos that the source groups"
            way = "the source divides them this way" if self.given else 'split.strategy = "grouped" keeps them together'
            groups, lie = counted(self.in_several_splits, "group"), "lie" if self.in_several_splits > 1 else "lies"
            lines.append(
                f"warning: {groups} of {kind} {lie} in more than one split, so test figures are too optimistic; {way}"
            )
        for paths in self.conflicts[:MOST]:
            lines.append(f"warning: near duplicates under different labels: {enumeration(paths)}")
        if len(self.conflicts) > MOST:
            lines.append(f"warning: {len(self.conflicts) - MOST} more groups of near duplicates have different labels")
        for reason, count in Counter(reason for _, reason in self.left_out).most_common():
            files = [file for file, cause in self.left_out if cause == reason]
            lines.append(f"left out: {counted(count, 'photo')}, {reason}: {enumeration(files)}")
        for name, files in self.converted.items():
            described = f"{counted(len(files), 'photo')}, {name} ({CONVERSIONS[name]})"
            lines.append(f"converted when read: {described}: {enumeration(files)}")
        if self.ignored:
            lines.append(f"ignored: {counted(self.ignored, 'file')} that are no photos")
        if self.links:
            lines.append(
                f"ignored: {counted(self.links, 'symbolic link')}, broken, to files of another user or to a folder "
                "that is listed already"
            )
        if self.is_new:
            lines.append("seconds: " + ", ".join(f"{step} {value:.1f}" for step, value in self.seconds.items()))
        if self.is_new and self.replaced:
            lines.append(f"replaced: {self.folder} held the photos of {self.replaced}; --name keeps both")
        state = "prepared" if self.is_new else "unchanged since it was prepared"
        lines.append(f"{self.folder}: {state}")
        return lines


def counts(dataset: Dataset) -> dict[str, dict[str, int]]:
    """Returns the number of photos by class and split, zeros included."""
    table = {name: dict.fromkeys(SPLITS, 0) for name in dataset.classes}
    for photo in dataset.photos:
        table[photo.class_][photo.split] += 1
    return table
