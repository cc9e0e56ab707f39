"""Everything that a run's report is made from."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from headstand.learn.baseline import Baseline
from headstand.learn.diagnose import Finding
from headstand.learn.evaluation.calibration import Calibration, Threshold
from headstand.learn.evaluation.score import Evaluation
from headstand.learn.search import Found
from headstand.learn.seen import Leak
from headstand.learn.steps import Steps
from headstand.prepare.manifest import Dataset
from headstand.recipe import Recipe


@dataclass(frozen=True)
class Story:
    """What training passes to the report.

    `history` is that of the last phase, `best_epoch` (from 1) the one that was kept; `answers` are probabilities
    `float32 [N, classes]` and `labels` class indices `int [N]` of validation and test; `averaged` are the scores of
    answers averaged over several views, none where the recipe does not ask for them; `leak` is about what the
    backbone had been trained on before, `straddling` about near duplicates within the dataset; `guarantee` is what the
    confidence threshold guarantees on validation.
    """

    recipe: Recipe
    dataset: Dataset
    baseline: Baseline
    found: Found
    history: Sequence[dict[str, float]]
    best_epoch: int
    calibration: Calibration
    guarantee: Threshold
    scores: dict[str, Evaluation]
    averaged: dict[str, Evaluation]
    answers: dict[str, np.ndarray]
    labels: dict[str, np.ndarray]
    leak: Leak
    straddling: Leak
    checkpoint: Path
    refitted: Path | None
    scored: Path
    steps: Steps
    findings: Sequence[Finding]
