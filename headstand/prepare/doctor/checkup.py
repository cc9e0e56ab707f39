"""The doctor's part in every preparation: the prepared dataset examined, its page beside the other looks."""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from headstand.prepare import likely, manifest, record
from headstand.prepare.doctor import page
from headstand.prepare.doctor.findings import Severity
from headstand.prepare.doctor.report import examine, write_json

PAGE, FINDINGS = "doctor.html", "doctor.json"
"""Files in the dataset's `look/`."""


def checkup(folder: Path, done: Sequence[str] = ()) -> list[str]:
    """Examine a prepared dataset, unless `doctor.json` is about this manifest already.

    The probable twins are taken from its preparation, which has searched them already.

    Args:
        folder: the dataset's folder.
        done: what the preparation did, a line each, for the page.

    Returns:
        Lines to print: errors and warnings, how many notes there are, and where the page is; where nothing was examined
        because it was examined before, the page alone. Arrays are not examined.

    Raises:
        ManifestError: there is no prepared dataset.
    """
    dataset = manifest.read(folder)
    place = folder / "look" / PAGE
    if all(photo.path.endswith(".npy") for photo in dataset.photos):
        return []
    if len(dataset.photos) > likely.MOST:
        return [f"doctor: more than {likely.MOST:,} photos; python -m headstand doctor {folder}"]
    if place.is_file() and _examined(place.with_name(FINDINGS)) == dataset.digest:
        return [str(place)]
    report = replace(examine(folder, record.pairs(dataset)), done=tuple(done))
    page.write(report, place)
    write_json(report, place.with_name(FINDINGS), manifest=dataset.digest)
    grave = replace(report, findings=(*report.of(Severity.ERROR), *report.of(Severity.WARNING)))
    lines = [f"doctor: {line}" for line in grave.lines()[: len(grave.findings)]]
    return [*lines, f"doctor: {report.lines()[len(report.findings)]}", str(place)]


def _examined(findings: Path) -> str | None:
    """Return the digest of the manifest that a `doctor.json` is about; None if it is missing or damaged."""
    try:
        return str(json.loads(findings.read_text(encoding="utf-8"))["manifest"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def errors(folder: Path) -> int:
    """How many errors the last examination of a prepared dataset found; 0 where it was not examined."""
    try:
        return int(json.loads((folder / "look" / FINDINGS).read_text(encoding="utf-8"))["errors"])
    except (OSError, ValueError, KeyError, TypeError):
        return 0
