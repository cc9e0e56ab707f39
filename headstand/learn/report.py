"""What a run found out, as `report.json` and plots."""

import json
import platform
from collections.abc import Sequence
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

from headstand import __version__
from headstand.learn import plots
from headstand.learn.baseline import Baseline
from headstand.learn.diagnose import Finding
from headstand.learn.evaluate import Evaluation
from headstand.learn.run import REPORT
from headstand.learn.search import Found, table
from headstand.learn.search import plots as search_plots
from headstand.learn.seen import Leak
from headstand.learn.steps import Steps
from headstand.learn.tracking.chart import chart
from headstand.prepare.manifest import SPLITS, Dataset
from headstand.recipe import Recipe


def write(
    folder: Path,
    recipe: Recipe,
    dataset: Dataset,
    found: Found,
    history: Sequence[dict[str, float]],
    best_epoch: int,
    scores: dict[str, Evaluation],
    leak: Leak,
    baseline: Baseline,
    checkpoint: Path,
    refitted: Path | None,
    steps: Steps,
    findings: Sequence[Finding],
) -> dict[str, Any]:
    """Write trials.csv, the plots and, last of all, report.json into the run's folder.

    Returns:
        The report as written: recipe, data, head, trials and search, baseline, history, scores of validation and test
        with their 95 % intervals, what the backbone had seen of the test photos, file names, seconds, resources,
        diagnosis, versions.
    """
    photos = scores["validation"].count
    table.write(folder / "trials.csv", found.trials, photos)
    plots.save(plots.curves(history, best_epoch), folder / "curves.png")
    plots.save(plots.confusion(scores["test"], dataset.classes), folder / "confusion.png")
    plots.save(chart(steps.sampler.samples, steps.spans, steps.sampler.cores, steps.parts), folder / "resources.png")
    if found.trials:
        search_plots.write(folder, found.trials, photos, baseline.val_accuracy)
    record = {
        "name": recipe.name,
        "recipe": recipe.model_dump(mode="json"),
        "data": {
            "digest": dataset.digest,
            "classes": list(dataset.classes),
            "photos": {split: len(dataset.split(split)) for split in SPLITS},
        },
        "head": found.head.model_dump(mode="json"),
        "trials": [table.row(trial, photos) for trial in found.trials],
        "search": table.summary(found.trials, photos),
        "baseline": asdict(baseline),
        "history": list(history),
        "best_epoch": best_epoch,
        "validation": asdict(scores["validation"]),
        "test": asdict(scores["test"]),
        "leak": asdict(leak),
        "checkpoint": checkpoint.name,
        "refitted": refitted.name if refitted else None,
        "seconds": steps.seconds,
        "resources": steps.resources(),
        "diagnosis": [asdict(finding) for finding in findings],
        "versions": {
            "headstand": __version__,
            "python": platform.python_version(),
            **{package: version(package) for package in ("tensorflow", "keras", "numpy", "pillow")},
        },
    }
    temporary = folder / (REPORT + ".part")
    temporary.write_text(json.dumps(record, indent=1), encoding="utf-8")
    temporary.replace(folder / REPORT)
    return record


def per_class(figures: dict[str, dict[str, float]]) -> str:
    """Precision, recall and F1 of each class (as `Evaluation.per_class` has them) as a table for the terminal."""
    width = max(map(len, figures))
    lines = [f"{'':<{width}}  precision  recall     f1  photos"]
    for name, row in figures.items():
        lines.append(
            f"{name:<{width}}  {row['precision']:9.3f}  {row['recall']:6.3f}  {row['f1']:5.3f}  {row['count']:6.0f}"
        )
    return "\n".join(lines)
