"""Metrics of runs for the tests of the rules."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from headstand.diagnosis import DiagnosisInput, Finding, TrainingPhase
from headstand.stats import Outcomes

CLASSES = ("cobra", "plank", "tree")


def history(**metrics: Sequence[float]) -> list[dict[str, float]]:
    """Metrics by epoch, from one list for each metric."""
    return [dict(zip(metrics, row, strict=True)) for row in zip(*metrics.values(), strict=True)]


def phase(section: Any = "head", best: int = 0, **metrics: Sequence[float]) -> TrainingPhase:
    """A training phase; its best epoch is by default the one with the highest val_accuracy."""
    rows = history(**metrics)
    if not best and "val_accuracy" in metrics:
        best = list(metrics["val_accuracy"]).index(max(metrics["val_accuracy"])) + 1
    return TrainingPhase(section, rows, best or len(rows))


def healthy(section: Any = "head", start: float = 0.8, epochs: int = 8) -> TrainingPhase:
    """Curves that fall and flatten; the best epoch is the last but one."""
    at = np.linspace(0, 1, epochs)
    accuracy = start + 0.15 * (1 - np.exp(-4 * at))
    accuracy[-1] = accuracy[-2] - 0.003
    return phase(
        section,
        loss=(0.7 * np.exp(-3 * at)).tolist(),
        accuracy=(accuracy + 0.02).tolist(),
        val_loss=(0.2 + 0.5 * np.exp(-3 * at)).tolist(),
        val_accuracy=accuracy.tolist(),
        learning_rate=[0.001] * epochs,
        gradient_norm=(8 * np.exp(-2 * at)).tolist(),
    )


def predictions(truth: Sequence[int], predicted: Sequence[int], confidence: float = 0.9) -> dict[str, Any]:
    """Truth and probabilities: `confidence` for the predicted class, the rest equally for the others."""
    probabilities = np.full((len(predicted), len(CLASSES)), (1 - confidence) / (len(CLASSES) - 1), np.float32)
    probabilities[np.arange(len(predicted)), predicted] = confidence
    return {"truth": np.array(truth), "probabilities": probabilities}


def baseline(accuracy: float, count: int = 300) -> dict[str, Any]:
    """A closed-form baseline with an accuracy on the validation photos."""
    return {"baseline": "logistic regression", "baseline_outcomes": Outcomes.counted(accuracy, count)}


def evidence(**fields: Any) -> DiagnosisInput:
    """A healthy run of three classes with 300 validation photos, 95 % of them correct, changed by `fields`."""
    truth = np.repeat(np.arange(3), 100)
    predicted = truth.copy()
    predicted[::20] = (predicted[::20] + 1) % 3
    return DiagnosisInput(
        **{
            "classes": CLASSES,
            "counts": (300, 250, 280),
            "phases": (healthy(),),
            **predictions(truth.tolist(), predicted.tolist()),
            **fields,
        }
    )


def one(findings: Any) -> Finding:
    """The only finding."""
    (finding,) = findings
    assert isinstance(finding, Finding)
    return finding
