"""Diagnosis of a finished training run: rules that report problems, the evidence, and recipe changes to try."""

from headstand.learn.diagnose.evidence import Dead, Evidence, Phase, Searched, Tried, Wait
from headstand.learn.diagnose.finding import Finding, Suggestion
from headstand.learn.diagnose.rules import RULES, diagnose

__all__ = ["RULES", "Dead", "Evidence", "Finding", "Phase", "Searched", "Suggestion", "Tried", "Wait", "diagnose"]
