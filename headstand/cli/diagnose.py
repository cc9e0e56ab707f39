"""Command `diagnose`: prints the diagnosis of an earlier run and the duration of its steps."""

import json
import sys
from pathlib import Path
from typing import Any

from headstand.errors import HeadstandError
from headstand.runs import REPORT, newest_in

FOUND_ERRORS = 2
"""Exit status if there are errors, as in `doctor`; with warnings and notes only it is 0."""


class DiagnosisError(HeadstandError):
    """Raised if a run has no report, or a report without a readable diagnosis."""


def run(folder: Path) -> None:
    """Prints the findings of a finished run.

    Args:
        folder: `runs/RECIPE/TIME`, or a folder of several runs.

    Raises:
        DiagnosisError: the report is missing, damaged, or older than the diagnosis rules.
        SystemExit: with status `FOUND_ERRORS` if there are errors.
    """
    report = (newest_in(folder) or folder) / REPORT
    try:
        record = json.loads(report.read_text(encoding="utf-8"))
        lines = [*_steps(record["resources"]), *(_line(finding) for finding in record["diagnosis"])]
        counts = [_count(record["diagnosis"], severity) for severity in ("error", "warning", "note")]
    except OSError as error:
        raise DiagnosisError(
            f"cannot read {report} ({error.strerror}): name the folder of a finished run, runs/RECIPE/TIME"
        ) from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise DiagnosisError(
            f"{report} has no readable diagnosis ({type(error).__name__}: {error}): train again"
        ) from error
    print("\n".join([*lines, ", ".join(counts)]))
    if any(finding["severity"] == "error" for finding in record["diagnosis"]):
        sys.exit(FOUND_ERRORS)


def _steps(resources: dict[str, Any]) -> list[str]:
    """Returns a line for each step: seconds, CPU utilisation, peak memory, throughput and duration of its parts."""
    width = max(map(len, resources["steps"]), default=0)
    lines = []
    for name, step in resources["steps"].items():
        parts = ", ".join(f"{part} {seconds:.1f}" for part, seconds in step.get("parts", {}).items())
        rate = f"  {step['photos_per_second']:.0f} photos/s" if step.get("photos_per_second") else ""
        lines.append(
            f"{name:<{width}}  {step['seconds']:7.1f} s  {step['cpu']:4.0%} of {resources['cores']} processors  "
            f"{step['peak_memory'] / 2**30:5.2f} GiB{rate}" + (f"  ({parts})" if parts else "")
        )
    return lines


def _line(finding: dict[str, str]) -> str:
    return f"{finding['severity']} {finding['code']}: {finding['title']} ({finding['evidence']}): {finding['advice']}"


def _count(findings: list[dict[str, str]], severity: str) -> str:
    number = sum(finding["severity"] == severity for finding in findings)
    return f"{number} {severity}" + ("" if number == 1 else "s")
