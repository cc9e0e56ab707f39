"""Diagnosis of a finished training run: rules that report problems, the evidence, and recipe changes to try."""

from headstand.diagnosis.diagnosis_input import (
    DeadUnits,
    DiagnosisInput,
    InputWait,
    SearchedRange,
    TrainingPhase,
    TrialResult,
)
from headstand.diagnosis.finding import Finding, Suggestion
from headstand.diagnosis.rules import RULES, diagnose

__all__ = [
    "RULES",
    "DeadUnits",
    "DiagnosisInput",
    "Finding",
    "InputWait",
    "SearchedRange",
    "Suggestion",
    "TrainingPhase",
    "TrialResult",
    "diagnose",
]
