"""Findings about single files: unusable files, wrong extensions, and files that are converted when decoded."""

from collections.abc import Sequence

from headstand import images
from headstand.preparation.doctor.file_check import FileCheck
from headstand.preparation.doctor.issues import Issue, IssueCase, issue
from headstand.preparation.file_metadata import EXTENSIONS

ANIMATED, TURNED = "several frames", "EXIF turn"
"""Conversions with their own kind of finding."""

TURNS = {
    2: "mirrored", 3: "upside down", 4: "mirrored upside down", 5: "mirrored and on its side", 6: "on its left side",
    7: "mirrored and on its side", 8: "on its right side",
}  # fmt: skip
"""Descriptions of how the pixels are stored by EXIF orientation (Exif 2.3, tag 0x0112)."""


def unusable(checks: Sequence[FileCheck]) -> list[Issue]:
    """Returns the findings about files that cannot be decoded, by reason.

    Files without an image extension whose content is not an image, damaged or empty are notes (`other_file`).
    """
    cases: dict[str, list[IssueCase]] = {}
    for check in checks:
        if check.problem:
            code, message = check.problem
            named_as_image = check.item.path.suffix.lower() in images.EXTENSIONS
            if not named_as_image and code in ("not_an_image", "damaged", "empty_file"):
                code = "other_file"
            cases.setdefault(code, []).append(IssueCase((check.name,), message))
    return [found for code, listed in cases.items() for found in issue(code, listed)]


def oddities(checks: Sequence[FileCheck]) -> list[Issue]:
    """Returns the findings about usable files: wrong extension, several frames, conversions, EXIF orientation."""
    usable = [check for check in checks if not check.problem]
    wrong = [
        IssueCase((check.name,), f"it is a {check.file.format} file")
        for check in usable
        if check.item.path.suffix.lower() not in EXTENSIONS[check.file.format]
    ]
    animated = [IssueCase((check.name,), check.file.format) for check in usable if ANIMATED in check.file.conversions]
    converted = [IssueCase((check.name,), mode) for check in usable if (mode := _mode(check))]
    turned = [
        IssueCase((check.name,), f"stored {TURNS[check.file.orientation]}")
        for check in usable
        if check.file.orientation > 1
    ]
    return [
        *issue("wrong_extension", wrong),
        *issue("animated", animated),
        *issue("converted", converted),
        *issue("exif_turn", turned),
    ]


def _mode(check: FileCheck) -> str:
    """Returns the conversions of a file without those for frames and orientation; empty for 8-bit RGB."""
    return ", ".join(name for name in check.file.conversions if name not in (ANIMATED, TURNED))
