"""Writes the results of an evaluation: `evaluation.json`, the page `evaluation.html` and its plots."""

import json
from html import escape
from pathlib import Path
from typing import Any

import numpy as np

from headstand.evaluate.evaluate_model import EvaluationResult
from headstand.evaluation.attention import attention
from headstand.evaluation.predictions import decoded
from headstand.report import metric_sections, plots
from headstand.report.document import document, tiles
from headstand.report.record import put

RECORD, PAGE = "evaluation.json", "evaluation.html"


def write(folder: Path, made: EvaluationResult) -> None:
    """Writes plots, `evaluation.html` and, as the last file, `evaluation.json` into a folder, which is created.

    Raises:
        OSError: the folder cannot be created or written to.
    """
    folder.mkdir(parents=True, exist_ok=True)
    threshold = made.model.about.threshold or 0.0
    plots.save(plots.confusion(made.scores, made.model.about.labels), folder / "confusion.png")
    plots.save(plots.reliability(made.scores.reliability, threshold), folder / "calibration.png")
    plots.save(plots.coverage(made.scores.reliability), folder / "coverage.png")
    record = made.record
    put(folder / PAGE, _page(folder, made, record))
    put(folder / RECORD, json.dumps(record, indent=1))


def _page(folder: Path, made: EvaluationResult, record: dict[str, Any]) -> str:
    split, calibration = record["scores"], record["calibration"]
    sections = {
        "Figures": metric_sections.figures({made.sample.split or "photos": split}),
        "Classes": metric_sections.classes(split, folder),
        "Confidence": metric_sections.sure(split, calibration, calibration["sure"], folder),
        "Parts of the photos": metric_sections.slices(record["slices"]),
        "Most confident mistakes": _mistakes(made, record),
    }
    return document(
        f"{made.model.about.name}: evaluation",
        _lead(made) + tiles(metric_sections.facts("accuracy", split, calibration["threshold"], calibration["sure"])),
        sections,
        f"Model <code>{escape(str(made.model.path))}</code>, SHA-256 <code>{made.model.sha256}</code>",
    )


def _lead(made: EvaluationResult) -> str:
    figures = made.scores
    right, (low, high) = round(figures.accuracy * figures.count), figures.interval
    findings = (
        (note.removeprefix("WARNING: "), "warning" if note.startswith("WARNING") else "note") for note in made.notes
    )
    return (
        f'<h1>{escape(made.model.about.name)}</h1><p class="lead"><b>{right} of {figures.count} photos</b> are '
        f"classified correctly: an accuracy of <b>{figures.accuracy:.3f}</b>. On other photos of the same kind "
        f"expect between {low:.3f} and {high:.3f} (95 % interval).</p><p>The photos are {escape(str(made.sample))}.</p>"
        + "".join(f'<div class="finding {kind}"><p>{escape(text)}</p></div>' for text, kind in findings)
    )


def _mistakes(made: EvaluationResult, record: dict[str, Any]) -> str:
    """Returns the section with the most confident mistakes, with Grad-CAM if the model is a checkpoint for photos."""
    if not made.mistakes:
        return ""
    about, network = made.model.about, made.model.network
    kind = made.model.input
    shown = decoded(made.sample.folder, [one.photo for one in made.mistakes], kind)
    if kind.kind != "photos":
        return metric_sections.mistakes(record["mistakes"], np.stack([kind.picture(one) for one in shown]), None)
    asked = np.array([about.labels.index(one.answer) for one in made.mistakes])
    return metric_sections.mistakes(
        record["mistakes"], shown, None if network is None else attention(network, shown, asked)
    )
