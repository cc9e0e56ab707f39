"""Command `doctor`: checks a folder of photos, prints and writes the findings, optionally writes a cleaned copy."""

import sys
from dataclasses import replace
from pathlib import Path

from headstand import recipe as recipes
from headstand.cli.command import UsageError
from headstand.preparation.doctor import DoctorReport, doctor_page, examine, fix
from headstand.preparation.doctor.checked_folder import source
from headstand.preparation.doctor.fix import described
from headstand.preparation.doctor.issues import Issue, Severity
from headstand.preparation.doctor.report import write_json

FOUND_ERRORS = 2
"""Exit status if there are errors. It is 0 with warnings and notes only, and 1 if the check could not run."""


def run(
    location: str, html: Path, json: Path | None, target: Path | None, labels: str | None, overrides: list[str]
) -> None:
    """Checks photos, prints the findings and writes them.

    Args:
        location: a folder, an archive or table, or the address of one.
        html: the page to write.
        json: a file to write all findings to.
        target: new folder for a cleaned copy.
        labels: recipe with whose backbone wrong labels are searched; empty: that of the folder's name, else `photos`,
            whose backbone needs no download; None: they are not searched.
        overrides: keys of that recipe as command-line arguments.

    Raises:
        HeadstandError: nothing to check, or a path that cannot be written.
        SystemExit: with status `FOUND_ERRORS` if there are errors.
    """
    if overrides and labels is None:
        raise UsageError(f"{' '.join(overrides)}: a recipe's keys need --labels")
    if target and target.exists():
        raise UsageError(f"{target} exists already: name a new folder")
    if target and location.lower().endswith(".csv"):
        raise UsageError("--fix copies class folders, which a table does not have: omit it")
    report = examine(source(location))
    if labels is not None:
        report = report.plus(_labels(report, labels, overrides))
    if target:
        report = replace(report, done=tuple(described(fix(report, target), target)))
    print("\n".join([*report.lines(), *report.done]))
    doctor_page.write(report, html)
    print(html)
    if json:
        write_json(report, json)
        print(json)
    if report.of(Severity.ERROR):
        sys.exit(FOUND_ERRORS)


def _labels(report: DoctorReport, name: str, rest: list[str]) -> list[Issue]:
    from headstand.evaluation import label_errors  # imports TensorFlow, so only if it is needed

    if not name:
        name = report.contents.root.resolve().name
        try:
            recipes.find(name)
        except recipes.RecipeError:
            name = "photos"
    return label_errors.check(report, recipes.load(name, rest))
