"""What a preparation did, to be printed and kept."""

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from headstand.prepare.conversion import CONVERSIONS
from headstand.prepare.manifest import SPLITS, Dataset

NAMED = 5
"""Files named in a line."""

MOST = 10
"""Lines of one kind."""


@dataclass(frozen=True)
class Summary:
    """What a preparation did; `str` is what people read.

    Attributes:
        folder: the prepared dataset.
        counts: photos by class, then by split.
        groups: how many groups of twins there are; `twins` the photos in them, `largest` those in the largest.
        related: how many groups of two or more photos belong together by the source's own word.
        given: the splits that the source has divided itself; `followers` are the photos to which it gives no split and
            that went into its validation or test, where their near duplicates are.
        layout: what was recognised in the source and what was left out by its folder, as lines.
        straddling: groups of twins, or of photos that belong together, in more than one split: where splits are given,
            and under the strategy `ordered`.
        conflicts: for each group of twins with more than one class, its photos' paths in the dataset.
        left_out: source file and reason, for each photo that is not used.
        converted: by conversion (`headstand.prepare.conversion`), the source files that the decoder applies it to at
            every reading; the prepared files are copies.
        ignored: files in the source that are no photos by their name; `links`: symbolic links that were not followed.
        seconds: what each step took.
        made: False where everything was there already.
    """

    folder: Path
    counts: dict[str, dict[str, int]]
    groups: int = 0
    twins: int = 0
    largest: int = 0
    related: int = 0
    given: list[str] = field(default_factory=list)
    followers: int = 0
    straddling: int = 0
    conflicts: list[list[str]] = field(default_factory=list)
    left_out: list[tuple[str, str]] = field(default_factory=list)
    converted: dict[str, list[str]] = field(default_factory=dict)
    ignored: int = 0
    links: int = 0
    layout: list[str] = field(default_factory=list)
    seconds: dict[str, float] = field(default_factory=dict)
    made: bool = True

    def __str__(self) -> str:
        return "\n".join([*self._table(), "", *self.remarks()])

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
        """What was grouped, left out and ignored, a line each."""
        lines = [*self.layout, f"twins: {self.twins} photos in {self.groups} groups, {self.largest} in the largest"]
        if self.related:
            lines.append(f"groups: {self.related} of photos that belong together, as the source says")
        if self.given:
            lines.append(
                f"splits: {', '.join(self.given)} as the source gives {'it' if len(self.given) == 1 else 'them'}"
            )
        for name in self.given:
            if lacking := [class_ for class_, counts in self.counts.items() if not counts[name]]:
                remedy = "all divides all photos anew" if name == "test" else "validation cuts it from train instead"
                lines.append(
                    f"warning: the source's {name} has no photo of {_some(lacking)}, so its averages are taken over "
                    f"the other classes; --split.recut {remedy}"
                )
        if self.followers:
            many = f"{self.followers} photo{'s' * (self.followers != 1)}"
            lines.append(f"splits: {many} without one went where near duplicates are that the source gives one")
        if self.straddling:
            kind = "near duplicates" if self.related == 0 else "near duplicates and photos that belong together"
            way = (
                "the source itself divides them so" if self.given else 'split.strategy = "grouped" keeps them together'
            )
            many = f"{self.straddling} groups of {kind} lie" if self.straddling > 1 else f"1 group of {kind} lies"
            lines.append(f"warning: {many} in more than one split, so test figures will flatter; {way}")
        for paths in self.conflicts[:MOST]:
            lines.append(f"warning: twins under different labels: {_some(paths)}")
        if len(self.conflicts) > MOST:
            lines.append(f"warning: {len(self.conflicts) - MOST} more groups of twins have different labels")
        for reason, count in Counter(reason for _, reason in self.left_out).most_common():
            files = [file for file, why in self.left_out if why == reason]
            lines.append(f"left out: {count} photo{'s' * (count != 1)}, {reason}: {_some(files)}")
        for name, files in self.converted.items():
            many = f"{len(files)} photo{'s' * (len(files) != 1)}"
            lines.append(f"converted when read: {many}, {name} ({CONVERSIONS[name]}): {_some(files)}")
        if self.ignored:
            lines.append(f"ignored: {self.ignored} file{'s' * (self.ignored != 1)} that are no photos")
        if self.links:
            lines.append(
                f"ignored: {self.links} symbolic link{'s' * (self.links != 1)}, broken, to files of another user or to "
                "a folder that is listed already"
            )
        if self.made:
            lines.append("seconds: " + ", ".join(f"{step} {value:.1f}" for step, value in self.seconds.items()))
        state = "made" if self.made else "unchanged since it was made"
        lines.append(f"{self.folder}: {state}")
        return lines


def counts(dataset: Dataset) -> dict[str, dict[str, int]]:
    """Photos by class and split, with zeros."""
    table = {name: dict.fromkeys(SPLITS, 0) for name in dataset.classes}
    for photo in dataset.photos:
        table[photo.class_][photo.split] += 1
    return table


def _some(names: list[str]) -> str:
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return ", ".join(names[:NAMED]) + more
