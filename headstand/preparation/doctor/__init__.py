"""Data quality checks for a folder of labelled photos: damaged files, duplicates, leakage, label conflicts and more."""

from headstand.preparation.doctor.checkup import checkup, errors
from headstand.preparation.doctor.fix import fix
from headstand.preparation.doctor.report import DoctorReport, examine

__all__ = ["DoctorReport", "checkup", "errors", "examine", "fix"]
