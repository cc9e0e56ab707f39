"""HTML report of the data quality check, `doctor.html`: one file with a gallery of thumbnails for every finding."""

import io
from functools import cache
from pathlib import Path

from markupsafe import Markup
from PIL import Image

from headstand import files
from headstand.errors import HeadstandError
from headstand.html_layout import image, render
from headstand.preparation.doctor.file_check import FileCheck
from headstand.preparation.doctor.issues import Severity
from headstand.preparation.doctor.report import DoctorReport
from headstand.preparation.examination import examined
from headstand.preparation.photo_cache import SIDE, fitted

QUALITY = 72
"""JPEG quality of a thumbnail; one takes about 4 kB."""

SHOWN, ABREAST = 48, 8
"""Maximum number of cases in a gallery and of pictures in a case; the others are listed in `doctor.json`."""


class PageError(HeadstandError):
    """Raised if the report cannot be written."""


def write(report: DoctorReport, path: Path) -> None:
    """Writes the report as an HTML file atomically.

    Raises:
        PageError: the file cannot be written.
    """
    try:
        files.write(path, _page(report).encode("utf-8", "backslashreplace"))
    except OSError as error:
        raise PageError(f"cannot write {path}: {error.strerror or error}") from error


def _page(report: DoctorReport) -> str:
    checks = {check.name: check for check in report.checks}
    return render(
        "doctor",
        f"{report.contents.root}: doctor",
        report=report,
        layout=_LAYOUTS[report.contents.layout],
        tallies=_tallies(report),
        picture=cache(lambda file: _picture(checks.get(file))),
        shown=SHOWN,
        abreast=ABREAST,
    )


_LAYOUTS = {
    "classes": "A folder of class folders",
    "splits": "A folder of split folders",
    "prepared": "A prepared dataset",
}


def _tallies(report: DoctorReport) -> list[tuple[str, int, str]]:
    """Returns CSS class, count and name of the key figures at the top of the page."""
    cells = [("", len(report.usable), "usable photos"), ("", len(report.counts()), "classes")]
    for severity in Severity:
        count = sum(len(found.cases) for found in report.of(severity))
        cells.append((f"{severity}" if count else "soft", count, f"{severity}{'s' * (count != 1)}"))
    return cells


def _picture(check: FileCheck | None) -> Markup:
    """Returns an `img` element with a thumbnail of the photo, or a placeholder if it cannot be decoded."""
    if check is None or check.problem:
        return Markup('<div class="none" title="cannot be shown">&#8709;</div>')
    try:
        photo = examined(check.item.path, check.file.sha256)
    except HeadstandError:  # it was removed or changed since the check
        return Markup('<div class="none">&#8709;</div>')
    pixels = fitted(photo.color, photo.file.upright, min(SIDE, max(photo.file.upright)))
    data = io.BytesIO()
    Image.fromarray(pixels).save(data, "JPEG", quality=QUALITY)
    return image("jpeg", data.getvalue(), {"alt": check.name, "loading": "lazy"})
