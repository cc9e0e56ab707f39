"""Complete data quality check of a folder, with a report as text and as JSON."""

import json
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from headstand.files import write
from headstand.preparation import geometric_matches, near_duplicates
from headstand.preparation.doctor import class_issues, duplicate_issues, file_issues, quality_issues
from headstand.preparation.doctor.checked_folder import Contents, contents
from headstand.preparation.doctor.file_check import FileCheck, check_files
from headstand.preparation.doctor.issues import ISSUE_TYPES, Issue, IssueCase, Severity, issue
from headstand.preparation.examination import lumas
from headstand.preparation.manifest import SPLITS, natural

VERSION = 2
"""Version of the format of `doctor.json`; codes and keys keep their meaning within a version.

In version 1 the codes `geometric_matches` and `outside_classes` were called `likely_twins` and `loose_file`."""


@dataclass(frozen=True)
class DoctorReport:
    """Result of the check of a folder.

    Attributes:
        contents: the folder's files.
        checks: one per file, in the order of `contents.items`.
        groups: `int64 [P]`, near-duplicate group numbers of the P usable files.
        findings: the most severe first.
        remarks: lines about checks that were skipped, with the reason.
        done: lines about actions that were taken.
        seconds: duration of each step.
    """

    contents: Contents
    checks: tuple[FileCheck, ...]
    groups: np.ndarray
    findings: tuple[Issue, ...]
    remarks: tuple[str, ...] = ()
    done: tuple[str, ...] = ()
    seconds: dict[str, float] = field(default_factory=dict)

    @property
    def usable(self) -> tuple[FileCheck, ...]:
        """The results for usable files."""
        return tuple(check for check in self.checks if not check.problem)

    def of(self, severity: Severity) -> tuple[Issue, ...]:
        """Returns the findings of one severity."""
        return tuple(found for found in self.findings if found.kind.severity == severity)

    def plus(self, more: Sequence[Issue]) -> "DoctorReport":
        """Returns a copy of the report with additional findings, sorted in."""
        return replace(self, findings=_ordered([*self.findings, *more]))

    def lines(self) -> list[str]:
        """Returns the report for a terminal: one line per finding, a line of totals, then the remarks."""
        lines = []
        for found in self.findings:
            count, kind = len(found.cases), found.kind
            first = found.cases[0]
            example = " = ".join(map(self.contents.traced, first.files[:2])) + (
                f" ({first.detail})" if first.detail and first.files else ""
            )
            lines.append(f"{kind.severity:<8}{kind.code:<22}{count:>6}  {example or first.detail}")
        usable, counts = len(self.usable), self.counts()
        lines.append(
            f"{usable:,} usable photos in {len(counts)} classes; "
            + ", ".join(f"{_number(self.of(severity), severity)}" for severity in Severity)
        )
        return [*lines, *self.remarks]

    def counts(self) -> dict[str, dict[str, int]]:
        """Returns the number of usable photos by class in natural order, then by split (`""` for none)."""
        counted = Counter((check.item.class_, check.item.split) for check in self.usable)
        splits = [split for split in ("", *SPLITS) if any(name == split for _, name in counted)]
        names = sorted({*self.contents.classes, *(name for name, _ in counted)}, key=natural)
        return {name: {split: counted[name, split] for split in splits} for name in names}

    def as_json(self) -> dict[str, Any]:
        """Returns the contents of `doctor.json`; `originals` are the names of prepared files in the source."""
        named = dict.fromkeys(file for found in self.findings for case in found.cases for file in case.files)
        return {
            "version": VERSION,
            "folder": str(self.contents.root),
            "layout": self.contents.layout,
            "photos": len(self.usable),
            "classes": self.counts(),
            **{f"{severity}s": sum(len(found.cases) for found in self.of(severity)) for severity in Severity},
            "findings": [
                {
                    "code": found.kind.code,
                    "severity": str(found.kind.severity),
                    "title": found.kind.title,
                    "files": found.files,
                    "cases": [{"files": list(case.files), "detail": case.detail} for case in found.cases],
                }
                for found in self.findings
            ],
            "originals": {file: self.contents.originals[file] for file in named if file in self.contents.originals},
            "remarks": list(self.remarks),
            "done": list(self.done),
            "seconds": self.seconds,
        }


def examine(folder: Path | Contents, probable: Sequence[geometric_matches.MatchedPair] | None = None) -> DoctorReport:
    """Checks a folder of class folders or split folders, or a prepared dataset; it is only read.

    Args:
        folder: the folder, or its listing.
        probable: known geometric matches of a prepared dataset, as indices of its manifest's rows. They are searched
            again if a file has changed since the preparation.

    Raises:
        ExaminationError: there is no such folder, or nothing to check in it.
        ManifestError: its manifest is damaged.
    """
    listed = folder if isinstance(folder, Contents) else contents(folder)
    seconds: dict[str, float] = {}
    clock = time.perf_counter()

    def lap(step: str) -> None:
        nonlocal clock
        seconds[step], clock = round(time.perf_counter() - clock, 2), time.perf_counter()

    checks = check_files(listed.items, [listed.name(item.path) for item in listed.items], listed.layout == "prepared")
    usable = [check for check in checks if not check.problem]
    changed = _changed(listed, checks)
    lap("files")
    known = [check.file.signature for check in usable if check.file.signature]
    groups = near_duplicates.groups(known, [check.file.sha256 for check in usable])
    lap("near duplicates")
    remarks = []
    matches: list[geometric_matches.MatchedPair] = []
    if probable is not None and not changed:
        matches = _among(probable, checks)
    elif len(usable) <= geometric_matches.MOST:
        matches = geometric_matches.matches(lumas([(check.item.path, check.file.sha256) for check in usable]), groups)
    else:
        remarks.append(
            f"geometric matches (rotated, cropped) are not searched among more than {geometric_matches.MOST:,} photos"
        )
    lap("geometric matches")
    found = [
        *file_issues.unusable(checks), *file_issues.oddities(checks), *changed,
        *quality_issues.unclear(checks), *quality_issues.outliers(checks),
        *duplicate_issues.copies(usable, groups),
        *duplicate_issues.likely(usable, geometric_matches.most_certain(matches, groups)),
        *class_issues.classes(listed, usable, groups),
        *issue("outside_classes", [IssueCase((name,)) for name in listed.outside_classes]),
        *issue("outside_link", [IssueCase((), name) for name in listed.links]),
    ]  # fmt: skip
    lap("findings")
    return DoctorReport(listed, tuple(checks), groups, _ordered(found), tuple(remarks), seconds=seconds)


def write_json(report: DoctorReport, path: Path, **more: str) -> None:
    """Writes the report as JSON atomically, with the additional keys `more` at the end."""
    write(path, json.dumps(report.as_json() | more, indent=1, ensure_ascii=False) + "\n")


def _changed(listed: Contents, checks: Sequence[FileCheck]) -> list[Issue]:
    if listed.digests is None:
        return []
    return issue(
        "changed_file",
        [IssueCase((e.name,)) for e in checks if e.file.sha256 and e.file.sha256 != listed.digests.get(e.name)],
    )


def _among(
    pairs: Sequence[geometric_matches.MatchedPair], checks: Sequence[FileCheck]
) -> list[geometric_matches.MatchedPair]:
    """Returns the pairs of usable files, with indices among all files converted to indices among usable files."""
    index = {number: n for n, number in enumerate(k for k, check in enumerate(checks) if not check.problem)}
    return [
        replace(pair, first=index[pair.first], second=index[pair.second])
        for pair in pairs
        if pair.first in index and pair.second in index
    ]


def _ordered(found: Sequence[Issue]) -> tuple[Issue, ...]:
    """Returns findings in the order of `ISSUE_TYPES`, those of the same kind merged."""
    cases: dict[str, list[IssueCase]] = {}
    for one in found:
        cases.setdefault(one.kind.code, []).extend(one.cases)
    return tuple(Issue(kind, tuple(cases[code])) for code, kind in ISSUE_TYPES.items() if code in cases)


def _number(found: Sequence[Issue], severity: Severity) -> str:
    count = sum(len(one.cases) for one in found)
    return f"{count:,} {severity}{'s' * (count != 1)}"
