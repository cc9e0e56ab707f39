"""What a preparation did, to be printed and kept."""

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from headstand.prepare.manifest import SPLITS, Dataset


@dataclass(frozen=True)
class Summary:
    """What a preparation did; `str` is what people read.

    Attributes:
        folder: the prepared dataset.
        counts: photos by class, then by split.
        groups: how many groups of twins there are; `twins` the photos in them, `largest` those in the largest.
        straddling: groups of twins in more than one split (strategy `ordered`).
        conflicts: for each group of twins with more than one class, its photos' paths in the dataset.
        left_out: source file and reason, for each photo that is not used.
        ignored: files in the source that are no photos by their name; `links`: links that lead out of it.
        seconds: what each step took.
        made: False where everything was there already.
    """

    folder: Path
    counts: dict[str, dict[str, int]]
    groups: int = 0
    twins: int = 0
    largest: int = 0
    straddling: int = 0
    conflicts: list[list[str]] = field(default_factory=list)
    left_out: list[tuple[str, str]] = field(default_factory=list)
    ignored: int = 0
    links: int = 0
    seconds: dict[str, float] = field(default_factory=dict)
    made: bool = True

    def __str__(self) -> str:
        return "\n".join([*self._table(), "", *self._remarks()])

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

    def _remarks(self) -> list[str]:
        lines = [f"twins: {self.twins} photos in {self.groups} groups, {self.largest} in the largest"]
        if self.straddling:
            lines.append(
                f"warning: {self.straddling} groups of twins lie in more than one split, so test figures will flatter; "
                'split.strategy = "grouped" keeps them together'
            )
        for paths in self.conflicts:
            lines.append(f"warning: twins under different labels: {_some(paths)}")
        for reason, count in Counter(reason for _, reason in self.left_out).most_common():
            files = [file for file, why in self.left_out if why == reason]
            lines.append(f"left out: {count} photo{'s' * (count != 1)}, {reason}: {_some(files)}")
        if self.ignored:
            lines.append(f"ignored: {self.ignored} file{'s' * (self.ignored != 1)} whose names are not those of photos")
        if self.links:
            lines.append(f"ignored: {self.links} link{'s' * (self.links != 1)} that lead out of the source")
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


def _some(names: list[str], most: int = 5) -> str:
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more
