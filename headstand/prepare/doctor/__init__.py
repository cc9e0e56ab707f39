"""Data quality checks for a folder of labelled photos: damaged files, duplicates, leakage, label conflicts and more."""

from headstand.prepare.doctor.checkup import checkup, errors
from headstand.prepare.doctor.fix import fix
from headstand.prepare.doctor.report import Report, examine

__all__ = ["Report", "checkup", "errors", "examine", "fix"]
