"""Diagnosis: rules that look over a finished run, each with the numbers that made it speak and what to do about it."""

from headstand.learn.diagnose.evidence import Dead, Evidence, Phase, Searched, Tried, Wait
from headstand.learn.diagnose.finding import Finding
from headstand.learn.diagnose.rules import RULES, diagnose

__all__ = ["RULES", "Dead", "Evidence", "Finding", "Phase", "Searched", "Tried", "Wait", "diagnose"]
