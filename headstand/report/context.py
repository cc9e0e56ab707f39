"""Input of the training report: all results of a run that it contains."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from headstand.diagnosis import Finding
from headstand.evaluation.calibration import Calibration, Threshold
from headstand.evaluation.leakage import Leak
from headstand.evaluation.metrics import SplitMetrics
from headstand.heads.cross_validation import CrossValidated
from headstand.heads.search import SearchResult
from headstand.preparation.manifest import Dataset
from headstand.recipe import Head, Recipe
from headstand.tracking.timing import Steps


@dataclass(frozen=True)
class ReportContext:
    """Results of a training run, passed from training to the report.

    Attributes:
        recipe: the resolved recipe.
        dataset: the prepared dataset.
        linear: cross-validated logistic regression on the same features.
        linear_validated: logistic regression that was trained on train, on validation.
        comparison: the searched head and logistic regression on the same photos; None if heads are selected otherwise.
        head: settings of the selected head.
        search: trials of the search and the head that it found.
        backbones: figures of the backbones that were compared; empty if the recipe names one.
        fine_tuning: what was decided about fine-tuning, as texts; empty without it.
        history: metrics by epoch of the last training phase.
        best_epoch: the epoch that was kept, from 1.
        calibration: temperature and confidence threshold.
        guarantee: the confidence threshold with the lower bound of its accuracy on validation.
        known: threshold and accepted photos of the detector of unknown inputs; see `unknown_inputs.record`.
        scores: metrics by split, validation and test.
        averaged: the same with test-time augmentation; empty if the recipe does not use it.
        probabilities: predicted probabilities by split, `float32 [N, classes]`.
        labels: class indices by split, `int [N]`.
        backbone_leak: test photos with near duplicates among the photos that the backbone was trained on earlier.
        split_leak: test photos with near duplicates in the training split of the dataset.
        checkpoint: file of the model before any refit.
        refitted: file of the model refitted on more splits; None without refit.
        scored: file of the model that was scored on the test split.
        steps: duration and resource use of each step.
        findings: findings of the diagnosis.
    """

    recipe: Recipe
    dataset: Dataset
    linear: CrossValidated
    linear_validated: CrossValidated
    comparison: tuple[CrossValidated, CrossValidated] | None
    head: Head
    search: SearchResult
    backbones: Sequence[dict[str, Any]]
    fine_tuning: Sequence[str]
    history: Sequence[Mapping[str, float]]
    best_epoch: int
    calibration: Calibration
    guarantee: Threshold
    known: dict[str, Any]
    scores: dict[str, SplitMetrics]
    averaged: dict[str, SplitMetrics]
    probabilities: dict[str, np.ndarray]
    labels: dict[str, np.ndarray]
    backbone_leak: Leak
    split_leak: Leak
    checkpoint: Path
    refitted: Path | None
    scored: Path
    steps: Steps
    findings: Sequence[Finding]
