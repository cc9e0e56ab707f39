"""Findings about single files: unusable files, wrong extensions, and files that are converted when decoded."""

from collections.abc import Sequence

from headstand.images import EXTENSIONS
from headstand.prepare.doctor.examination import FileCheck
from headstand.prepare.doctor.issues import Issue, IssueCase, issue

SUFFIXES = {
    "JPEG": (".jpg", ".jpeg", ".jpe", ".jfif"), "MPO": (".jpg", ".jpeg", ".jpe", ".jfif"), "PNG": (".png",),
    "WEBP": (".webp",), "GIF": (".gif",), "BMP": (".bmp",),
}  # fmt: skip
"""Valid file name extensions by Pillow format."""

ANIMATED, TURNED = "several frames", "EXIF turn"
"""Conversions with their own kind of finding."""

TURNS = {
    2: "mirrored", 3: "upside down", 4: "mirrored upside down", 5: "mirrored and on its side", 6: "on its left side",
    7: "mirrored and on its side", 8: "on its right side",
}  # fmt: skip
"""Descriptions of how the pixels are stored by EXIF orientation (Exif 2.3, tag 0x0112)."""


def unusable(exams: Sequence[FileCheck]) -> list[Issue]:
    """Returns the findings about files that cannot be decoded, by reason.

    Files without an image extension whose content is not an image, damaged or empty are notes (`other_file`).
    """
    cases: dict[str, list[IssueCase]] = {}
    for exam in exams:
        if exam.problem:
            code, sentence = exam.problem
            if not _named(exam) and code in ("not_an_image", "damaged", "empty_file"):
                code = "other_file"
            cases.setdefault(code, []).append(IssueCase((exam.name,), sentence))
    return [found for code, some in cases.items() for found in issue(code, some)]


def oddities(exams: Sequence[FileCheck]) -> list[Issue]:
    """Returns the findings about usable files: wrong extension, several frames, conversions, EXIF orientation."""
    usable = [exam for exam in exams if not exam.problem]
    wrong = [
        IssueCase((exam.name,), f"it is a {exam.format} file")
        for exam in usable
        if exam.item.path.suffix.lower() not in SUFFIXES[exam.format]
    ]
    return [
        *issue("wrong_extension", wrong),
        *issue("animated", [IssueCase((exam.name,), exam.format) for exam in usable if ANIMATED in exam.conversions]),
        *issue("converted", [IssueCase((exam.name,), mode) for exam in usable if (mode := _mode(exam))]),
        *issue(
            "exif_turn", [IssueCase((exam.name,), f"stored {TURNS[exam.turn]}") for exam in usable if exam.turn > 1]
        ),
    ]


def _mode(exam: FileCheck) -> str:
    """Returns the conversions of a file without those for frames and orientation; empty for 8-bit RGB."""
    return ", ".join(name for name in exam.conversions if name not in (ANIMATED, TURNED))


def _named(exam: FileCheck) -> bool:
    return exam.item.path.suffix.lower() in EXTENSIONS
