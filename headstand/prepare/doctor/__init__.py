"""The doctor: what a folder of labelled photos suffers from, told before anything is trained on it."""

from headstand.prepare.doctor.checkup import checkup, errors
from headstand.prepare.doctor.fix import fix
from headstand.prepare.doctor.report import Report, examine

__all__ = ["Report", "checkup", "errors", "examine", "fix"]
