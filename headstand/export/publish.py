"""Copies a finished run's checkpoint, bundle, certificate and model card into a folder for release."""

import shutil
from pathlib import Path

from headstand import files
from headstand.errors import HeadstandError
from headstand.export.certificate import read_certificate
from headstand.report.card import card
from headstand.runs import newest_in, read_report
from headstand.serve import bundle

SUFFIXES = (".h5", ".tflite", ".parity.json")
"""Suffixes of the published files."""


class PublishError(HeadstandError):
    """Raised for a run that is not ready to be published."""


def publish(run: Path, folder: Path) -> list[Path]:
    """Copies a run's model into a folder as NAME.h5, NAME.tflite and NAME.parity.json; writes its card as README.md.

    Args:
        run: folder of a finished run whose checkpoint has been converted, or of several runs: the newest one.
        folder: created if missing; existing files under these names are replaced.

    Returns:
        The paths written.

    Raises:
        PublishError: the run has no report, its checkpoint is not converted, or the conversion did not pass.
    """
    finished = newest_in(run)
    if not finished:
        raise PublishError(f"{run} holds no finished run; training prints the folder of a finished run")
    run = finished
    report = read_report(run)
    checkpoint = run / (report["refitted"] or report["checkpoint"])
    sources = [checkpoint.with_suffix(suffix) for suffix in SUFFIXES]
    if not all(source.is_file() for source in sources):
        raise PublishError(f"there is no {sources[1]}: run `python -m headstand convert {checkpoint}`")
    if bundle.read(sources[1]).failed:
        raise PublishError(
            f"{sources[1]} did not pass its comparison with {checkpoint.name}: convert it without --force"
        )
    folder.mkdir(parents=True, exist_ok=True)
    targets = [folder / f"{report['name']}{suffix}" for suffix in SUFFIXES]
    for source, target in zip(sources, targets, strict=True):
        with files.replacing(target) as part:
            shutil.copyfile(source, part)
    page = folder / "README.md"
    page.write_text(card(report, read_certificate(sources[2]), report["name"]), encoding="utf-8")
    return [*targets, page]
