"""Writes the results of an evaluation: `evaluation.json`, the page `evaluation.html` and its plots."""

import json
from pathlib import Path

from headstand import files
from headstand.evaluation.evaluate_model import EvaluationResult
from headstand.evaluation.metrics import metric_names
from headstand.html_layout import render
from headstand.report import embedding, plots

RECORD, PAGE = "evaluation.json", "evaluation.html"


def write(folder: Path, result: EvaluationResult) -> None:
    """Writes plots, `evaluation.html` and, as the last file, `evaluation.json` into a folder, which is created.

    Raises:
        OSError: the folder cannot be created or written to.
    """
    folder.mkdir(parents=True, exist_ok=True)
    model, metrics, record = result.model, result.scores, result.record
    plots.save_metric_plots(folder, metrics, model.about.labels, model.about.threshold or 0.0)
    page = render(
        "evaluation",
        f"{model.about.name}: evaluation",
        record=record,
        photos=str(result.sample),
        calibration=result.calibration,
        metric_names=metric_names(metrics.k),
        plots=embedding.plots(folder),
        mistake_images=embedding.mistake_images(
            result.sample.folder, record["mistakes"], model.input, model.about.labels, model.network
        ),
    )
    files.write(folder / PAGE, page)
    files.write(folder / RECORD, json.dumps(record, indent=1))
