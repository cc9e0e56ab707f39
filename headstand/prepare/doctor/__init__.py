"""Data quality checks for a folder of labelled photos: damaged files, duplicates, leakage, label conflicts and more."""

from headstand.prepare.doctor.checkup import checkup, errors
from headstand.prepare.doctor.fix import fix
from headstand.prepare.doctor.report import DoctorReport, examine

__all__ = ["DoctorReport", "checkup", "errors", "examine", "fix"]
