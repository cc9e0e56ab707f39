"""Diagnosis of a finished training run: rules that report problems, the evidence, and recipe changes to try."""

from headstand.diagnosis.evidence import Dead, Evidence, Phase, Searched, Tried, Wait
from headstand.diagnosis.finding import Finding, Suggestion
from headstand.diagnosis.rules import RULES, diagnose

__all__ = ["RULES", "Dead", "Evidence", "Finding", "Phase", "Searched", "Suggestion", "Tried", "Wait", "diagnose"]
