"""A cleaned copy of an examined folder; the folder itself is only read."""

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
from headstand.prepare.doctor.examination import Exam
from headstand.prepare.doctor.files import SUFFIXES
from headstand.prepare.doctor.report import Report

RECORD = "doctor.csv"
"""What was done with each file: columns `file`, `action` (copied, renamed, converted, left out), `target`, `reason`."""

MAJORITY = 2 / 3
"""Share of a group of twins that must agree on a class for the others to be mistakes; else all are left out."""


class FixError(HeadstandError):
    """A target that cannot take the cleaned copy."""


@dataclass(frozen=True)
class Action:
    """What was done with one file; `target` is relative to the copy, and empty where the file is left out."""

    file: str
    action: str
    target: str = ""
    reason: str = ""


def fix(report: Report, target: Path) -> list[Action]:
    """Write a cleaned copy, with a record of what was done in `doctor.csv`.

    Left out is what is wrong beyond doubt: files that do not decode or lie outside of all classes, identical files in a
    class and split, the copies in training of photos in validation and test, twins under conflicting labels. Files
    whose name does not fit are renamed; those that are not upright 8-bit RGB are decoded and stored as PNG. What needs
    a judgement (blurry, dark, probable twins, probable label errors) is kept.

    Args:
        report: of the folder.
        target: a folder that is not there yet, outside of the examined one.

    Raises:
        FixError: the target is there, or one folder lies in the other.
    """
    root = report.contents.root.resolve()
    if target.exists():
        raise FixError(f"{target} is there already: name a folder that is not")
    if target.resolve().is_relative_to(root):
        raise FixError(f"{target} lies in {report.contents.root}, which is never changed: name a folder outside of it")
    with files.building(target) as part:
        actions = _write(report, part)
        if not any(action.target for action in actions):
            raise FixError(f"nothing of {report.contents.root} can be kept")
        with (part / RECORD).open("w", encoding="utf-8", newline="") as file:
            table = csv.writer(file, lineterminator="\n")
            table.writerow(["file", "action", "target", "reason"])
            table.writerows([[a.file, a.action, a.target, a.reason] for a in actions])
    return actions


def told(actions: Sequence[Action], target: Path) -> list[str]:
    """What was done, in a line for each action and reason."""
    counted = Counter((action.action, action.reason) for action in actions)
    order = ("copied", "renamed", "converted", "left out")
    lines = [
        f"{action}: {counted[action, reason]:,}{f', {reason}' if reason else ''}"
        for action, reason in sorted(counted, key=lambda key: (order.index(key[0]), -counted[key], key[1]))
    ]
    return [*lines, f"{target}: a cleaned copy; {RECORD} in it tells what was done with each file"]


def _write(report: Report, part: Path) -> list[Action]:
    out = _left_out(report)
    actions = []
    taken: set[str] = set()
    for exam in report.exams:
        if reason := out.get(exam.name):
            actions.append(Action(exam.name, "left out", reason=reason))
            continue
        convert = bool(exam.conversions)
        relative = exam.item.path.relative_to(report.contents.root)
        suffixes = (".png",) if convert else SUFFIXES[exam.format]
        place = relative if relative.suffix.lower() in suffixes else relative.with_suffix(suffixes[0])
        number = 1
        while str(place).casefold() in taken:
            number += 1
            place = relative.with_name(f"{relative.stem}-{number}{suffixes[0]}")
        taken.add(str(place).casefold())
        (part / place).parent.mkdir(parents=True, exist_ok=True)
        if convert:
            Image.fromarray(decode(exam.item.path, large=True)).save(part / place, "PNG")
        else:
            shutil.copyfile(exam.item.path, part / place)
        action = "converted" if convert else "copied" if place == relative else "renamed"
        actions.append(
            Action(exam.name, action, report.contents.name(report.contents.root / place), ", ".join(exam.conversions))
        )
    actions += [Action(name, "left out", reason="outside of all classes") for name in report.contents.loose]
    return actions


def _left_out(report: Report) -> dict[str, str]:
    """The reason for each file that is left out."""
    out = {exam.name: exam.problem[1] for exam in report.exams if exam.problem}
    members: dict[int, list[Exam]] = defaultdict(list)
    for exam, group in zip(report.usable, report.groups.tolist(), strict=True):
        members[group].append(exam)
    for group in members.values():
        out.update(_copies(group))
    return out


def _copies(group: Sequence[Exam]) -> dict[str, str]:
    """What is left out of a group of twins."""
    out: dict[str, str] = {}
    votes = Counter(exam.item.class_ for exam in group)
    winner, most = votes.most_common(1)[0]
    if len(votes) > 1:
        for exam in group:
            if most < MAJORITY * len(group):
                out[exam.name] = "twins of it have another class"
            elif exam.item.class_ != winner:
                out[exam.name] = f"most twins of it have the class {winner}"
    kept = [exam for exam in group if exam.name not in out]
    # The examined photos stay, so that figures taken before and after are of the same ones.
    rank = {"test": 0, "validation": 1, "train": 2, "": 3}
    if kept:
        home = min((exam.item.split for exam in kept), key=rank.__getitem__)
        for exam in kept:
            if exam.item.split != home:
                out[exam.name] = f"twins of it are in {home}"
    seen: dict[str, str] = {}
    for exam in kept:
        if exam.name not in out and seen.setdefault(exam.sha256, exam.name) != exam.name:
            out[exam.name] = f"identical with {seen[exam.sha256]}"
    return out
