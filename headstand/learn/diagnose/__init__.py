"""Diagnosis of a finished run: rules that report a problem with its figures and with recipe changes against it."""

from headstand.learn.diagnose.evidence import Dead, Evidence, Phase, Searched, Tried, Wait
from headstand.learn.diagnose.finding import Finding, Suggestion
from headstand.learn.diagnose.rules import RULES, diagnose

__all__ = ["RULES", "Dead", "Evidence", "Finding", "Phase", "Searched", "Suggestion", "Tried", "Wait", "diagnose"]
