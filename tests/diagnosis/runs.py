"""Figures of runs that the rules are tried on."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from headstand.diagnosis import DiagnosisInput, Finding, TrainingPhase
from headstand.stats import Outcomes

CLASSES = ("cobra", "plank", "tree")


def history(**figures: Sequence[float]) -> list[dict[str, float]]:
    """Figures by epoch, from one list a figure."""
    return [dict(zip(figures, row, strict=True)) for row in zip(*figures.values(), strict=True)]


def phase(section: Any = "head", best: int = 0, **figures: Sequence[float]) -> TrainingPhase:
    """A training; its best epoch is the one with the highest val_accuracy where nothing is said."""
    rows = history(**figures)
    if not best and "val_accuracy" in figures:
        best = list(figures["val_accuracy"]).index(max(figures["val_accuracy"])) + 1
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


def answers(truth: Sequence[int], given: Sequence[int], sure: float = 0.9) -> dict[str, Any]:
    """Truth and probabilities: `sure` for the given class, the rest for the others alike."""
    probabilities = np.full((len(given), len(CLASSES)), (1 - sure) / (len(CLASSES) - 1), np.float32)
    probabilities[np.arange(len(given)), given] = sure
    return {"truth": np.array(truth), "probabilities": probabilities}


def baseline(accuracy: float, count: int = 300) -> dict[str, Any]:
    """A closed-form baseline with an accuracy on the validation photos."""
    return {"baseline": "ridge regression", "baseline_outcomes": Outcomes.counted(accuracy, count)}


def evidence(**fields: Any) -> DiagnosisInput:
    """A healthy run of three classes, 300 validation photos, 95 % of them right, but for `fields`."""
    truth = np.repeat(np.arange(3), 100)
    given = truth.copy()
    given[::20] = (given[::20] + 1) % 3
    return DiagnosisInput(
        **{
            "classes": CLASSES,
            "counts": (300, 250, 280),
            "phases": (healthy(),),
            **answers(truth.tolist(), given.tolist()),
            **fields,
        }
    )


def one(findings: Any) -> Finding:
    """The only finding."""
    (finding,) = findings
    assert isinstance(finding, Finding)
    return finding
