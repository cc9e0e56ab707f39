"""Command `doctor`: checks a folder of photos, prints and writes the findings, optionally writes a cleaned copy."""

import sys
from dataclasses import replace
from pathlib import Path

from headstand import recipe as recipes
from headstand.cli.command import DEFAULT_RECIPE, Parser, UsageError
from headstand.prepare.doctor import DoctorReport, examine, fix, page
from headstand.prepare.doctor.fix import described
from headstand.prepare.doctor.folder import source
from headstand.prepare.doctor.issues import Issue, Severity
from headstand.prepare.doctor.report import write_json

FOUND_ERRORS = 2
"""Exit status if there are errors. It is 0 with warnings and notes only, and 1 if the check could not run."""


def run(argv: list[str]) -> None:
    """Checks the folder given by the command-line arguments `argv`.

    Raises:
        HeadstandError: nothing to check, or a path that cannot be written.
        SystemExit: with status `FOUND_ERRORS` if there are errors.
    """
    options, rest = _parser().parse_known_args(argv)
    if rest and options.labels is None:
        raise UsageError(f"unknown {' '.join(rest)}; a recipe's keys need --labels")
    if options.fix and options.fix.exists():
        raise UsageError(f"{options.fix} exists already: name a new folder")
    if options.fix and options.folder.lower().endswith(".csv"):
        raise UsageError("--fix copies class folders, which a table does not have: omit it")
    report = examine(source(options.folder))
    if options.labels is not None:
        report = report.plus(_labels(report, options.labels, rest))
    if options.fix:
        report = replace(report, done=tuple(described(fix(report, options.fix), options.fix)))
    print("\n".join([*report.lines(), *report.done]))
    page.write(report, options.html)
    print(options.html)
    if options.json:
        write_json(report, options.json)
        print(options.json)
    if report.of(Severity.ERROR):
        sys.exit(FOUND_ERRORS)


def _parser() -> Parser:
    parser = Parser(
        "python -m headstand doctor",
        "Check a folder of class folders, of split folders, or a prepared dataset, without changing it. "
        "Exit status: 0 without errors, 2 with errors, 1 if the check could not run.",
    )
    parser.add_argument(
        "folder",
        metavar="FOLDER",
        help="or an archive of one, an address of either, or a CSV table of photos and labels",
    )
    parser.add_argument("--html", type=Path, default=Path("doctor.html"), metavar="PATH", help="the page; doctor.html")
    parser.add_argument("--json", type=Path, metavar="PATH", help="write all findings as JSON")
    parser.add_argument("--fix", type=Path, metavar="TARGET", help="write a cleaned copy into this new folder")
    parser.add_argument(
        "--labels",
        nargs="?",
        const="",
        metavar="RECIPE",
        help="search for wrong labels too, in features of the recipe's backbone: that of the folder's name, else "
        f"{DEFAULT_RECIPE}; its keys can be changed, as in --backbone.weights PATH",
    )
    return parser


def _labels(report: DoctorReport, name: str, rest: list[str]) -> list[Issue]:
    from headstand.evaluation import label_errors  # imports TensorFlow, so only if it is needed

    if not name:
        name = report.contents.root.resolve().name
        try:
            recipes.find(name)
        except recipes.RecipeError:
            name = DEFAULT_RECIPE
    return label_errors.check(report, recipes.load(name, rest))
