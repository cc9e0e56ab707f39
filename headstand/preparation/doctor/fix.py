"""Export of a cleaned copy of a checked folder; the folder itself is only read."""

import csv
import shutil
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from headstand import files
from headstand.errors import HeadstandError
from headstand.images import decode
from headstand.preparation.doctor.file_check import FileCheck
from headstand.preparation.doctor.report import DoctorReport
from headstand.preparation.file_metadata import EXTENSIONS

RECORD = "doctor.csv"
"""Name of the log: columns `file`, `action` (copied, renamed, converted, left out), `target`, `reason`."""

MAJORITY = 2 / 3
"""Fraction of a group of near duplicates that must share a class for the other labels to count as errors.

Below it, the whole group is left out."""


class FixError(HeadstandError):
    """Raised if the cleaned copy cannot be written to the target or would be empty."""


@dataclass(frozen=True)
class Action:
    """Log entry about one file.

    Attributes:
        file: path relative to the checked folder.
        action: `copied`, `renamed`, `converted` or `left out`.
        target: path relative to the copy; empty if the file is left out.
        reason: why the file was left out, or its conversions.
    """

    file: str
    action: str
    target: str = ""
    reason: str = ""


def fix(report: DoctorReport, target: Path) -> list[Action]:
    """Writes a cleaned copy of the checked folder, with a log of all actions in `doctor.csv`.

    Only clear errors are left out: files that do not decode or lie outside of all classes, identical files in a class
    and split, training copies of validation and test photos, near duplicates under conflicting labels. Files with a
    wrong extension are renamed; those that are not upright 8-bit RGB are decoded and stored as PNG. Findings that need
    a human decision (blurry, dark, geometric matches, probable label errors) are kept.

    Args:
        report: report of the checked folder.
        target: a folder that does not exist yet, outside of the checked one.

    Returns:
        One log entry per file.

    Raises:
        FixError: the target exists, it lies in the checked folder, or no file would be kept.
    """
    root = report.contents.root.resolve()
    if target.exists():
        raise FixError(f"{target} exists already: name a new folder")
    if target.resolve().is_relative_to(root):
        raise FixError(
            f"{target} is inside {report.contents.root}, which is never changed: name a folder outside of it"
        )
    with files.building(target) as part:
        actions = _write(report, part)
        if not any(action.target for action in actions):
            raise FixError(f"no file of {report.contents.root} can be kept")
        with (part / RECORD).open("w", encoding="utf-8", newline="") as file:
            table = csv.writer(file, lineterminator="\n")
            table.writerow(["file", "action", "target", "reason"])
            table.writerows([[a.file, a.action, a.target, a.reason] for a in actions])
    return actions


def described(actions: Sequence[Action], target: Path) -> list[str]:
    """Returns a summary of the log: one line with the number of files for each action and reason."""
    counted = Counter((action.action, action.reason) for action in actions)
    order = ("copied", "renamed", "converted", "left out")
    lines = [
        f"{action}: {counted[action, reason]:,}{f', {reason}' if reason else ''}"
        for action, reason in sorted(counted, key=lambda key: (order.index(key[0]), -counted[key], key[1]))
    ]
    return [*lines, f"{target}: a cleaned copy; {RECORD} in it lists what was done with each file"]


def _write(report: DoctorReport, part: Path) -> list[Action]:
    out = _left_out(report)
    actions = []
    taken: set[str] = set()
    for check in report.checks:
        if reason := out.get(check.name):
            actions.append(Action(check.name, "left out", reason=reason))
            continue
        convert = bool(check.file.conversions)
        relative = check.item.path.relative_to(report.contents.root)
        suffixes = (".png",) if convert else EXTENSIONS[check.file.format]
        copy = relative if relative.suffix.lower() in suffixes else relative.with_suffix(suffixes[0])
        number = 1
        while str(copy).casefold() in taken:
            number += 1
            copy = relative.with_name(f"{relative.stem}-{number}{suffixes[0]}")
        taken.add(str(copy).casefold())
        (part / copy).parent.mkdir(parents=True, exist_ok=True)
        if convert:
            Image.fromarray(decode(check.item.path, large=True)).save(part / copy, "PNG")
        else:
            shutil.copyfile(check.item.path, part / copy)
        action = "converted" if convert else "copied" if copy == relative else "renamed"
        name = report.contents.name(report.contents.root / copy)
        actions.append(Action(check.name, action, name, ", ".join(check.file.conversions)))
    actions += [Action(name, "left out", reason="outside of all classes") for name in report.contents.outside_classes]
    return actions


def _left_out(report: DoctorReport) -> dict[str, str]:
    """Returns the reason for each file that is left out, by file name."""
    out = {check.name: check.problem[1] for check in report.checks if check.problem}
    members: dict[int, list[FileCheck]] = defaultdict(list)
    for check, group in zip(report.usable, report.groups.tolist(), strict=True):
        members[group].append(check)
    for group in members.values():
        out.update(_copies(group))
    return out


def _copies(group: Sequence[FileCheck]) -> dict[str, str]:
    """Returns the reason for each file of a group of near duplicates that is left out, by file name."""
    out: dict[str, str] = {}
    votes = Counter(check.item.class_ for check in group)
    majority, most = votes.most_common(1)[0]
    if len(votes) > 1:
        for check in group:
            if most < MAJORITY * len(group):
                out[check.name] = "near duplicates have another class"
            elif check.item.class_ != majority:
                out[check.name] = f"most near duplicates have the class {majority}"
    kept = [check for check in group if check.name not in out]
    # Test copies take precedence over validation and training copies, so that metrics before and after the cleaning
    # use the same photos.
    rank = {"test": 0, "validation": 1, "train": 2, "": 3}
    if kept:
        split = min((check.item.split for check in kept), key=rank.__getitem__)
        for check in kept:
            if check.item.split != split:
                out[check.name] = f"near duplicates are in {split}"
    first: dict[str, str] = {}
    for check in kept:
        if check.name not in out and first.setdefault(check.file.sha256, check.name) != check.name:
            out[check.name] = f"identical with {first[check.file.sha256]}"
    return out
