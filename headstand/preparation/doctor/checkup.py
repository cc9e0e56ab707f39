"""Data quality check of a prepared dataset, which runs at the end of every preparation."""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from headstand import inputs
from headstand.preparation import geometric_matches, manifest, preparation_record
from headstand.preparation.doctor import doctor_page
from headstand.preparation.doctor.issues import Severity
from headstand.preparation.doctor.report import examine, write_json

PAGE, FINDINGS = "doctor.html", "doctor.json"
"""Names of the HTML and JSON reports in the dataset's `explore/`."""


def checkup(folder: Path, done: Sequence[str] = ()) -> list[str]:
    """Checks a prepared dataset and writes the reports, unless `doctor.json` already covers this manifest.

    The geometric matches are read from the preparation record. Datasets of arrays are not checked, nor are those with
    more than `geometric_matches.MOST` photos.

    Args:
        folder: the dataset's folder.
        done: lines about what the preparation did, for the HTML report.

    Returns:
        Lines to print: errors and warnings, the number of notes, and the path of the HTML report; only the path if the
        existing report is up to date.

    Raises:
        ManifestError: there is no prepared dataset.
    """
    dataset = manifest.read(folder)
    path = folder / "explore" / PAGE
    if all(inputs.of_file(photo.path).kind != "photos" for photo in dataset.photos):
        return []
    if len(dataset.photos) > geometric_matches.MOST:
        return [f"doctor: more than {geometric_matches.MOST:,} photos; python -m headstand doctor {folder}"]
    if path.is_file() and _recorded(folder, "manifest") == dataset.digest:
        return [str(path)]
    report = replace(examine(folder, preparation_record.pairs(dataset)), done=tuple(done))
    doctor_page.write(report, path)
    write_json(report, path.with_name(FINDINGS), manifest=dataset.digest)
    reviewed = replace(report, findings=(*report.of(Severity.ERROR), *report.of(Severity.WARNING)))
    lines = [f"doctor: {line}" for line in reviewed.lines()[: len(reviewed.findings)]]
    return [*lines, f"doctor: {report.lines()[len(report.findings)]}", str(path)]


def errors(folder: Path) -> int:
    """Returns the number of errors that the last check of a prepared dataset found; 0 if it was not checked."""
    count = _recorded(folder, "errors")
    return count if isinstance(count, int) else 0


def _recorded(folder: Path, key: str) -> Any:
    """Returns a value of a dataset's `doctor.json`; None if the file is missing or damaged."""
    try:
        return json.loads((folder / "explore" / FINDINGS).read_text(encoding="utf-8"))[key]
    except (OSError, ValueError, KeyError, TypeError):
        return None
