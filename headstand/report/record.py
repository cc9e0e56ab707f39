"""Writes the report of a training run as files into its folder."""

import json
import platform
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

from headstand import __version__, files
from headstand.evaluation.calibration import confident_share
from headstand.evaluation.mistakes import mistakes
from headstand.evaluation.slices import slices
from headstand.heads.search import plots as search_plots
from headstand.heads.search import table
from headstand.prepare.manifest import SPLITS
from headstand.report import card, page, plots
from headstand.report.context import ReportContext
from headstand.runs import REPORT
from headstand.tracking.chart import chart

PAGE, CARD = "report.html", "MODEL_CARD.md"


def write(folder: Path, story: ReportContext) -> dict[str, Any]:
    """Writes trials.csv, the plots, report.html, MODEL_CARD.md and, as the last file, report.json into a run's folder.

    Returns:
        The content of report.json: recipe, data, head, trials, baseline, history, metrics of validation and test with
        95 % intervals, calibration, slices and mistakes of the test split, leakage into the test split, file names,
        seconds, resources, diagnosis, versions.
    """
    photos = story.scores["validation"].count
    table.write(folder / "trials.csv", story.found.trials, photos)
    _draw(folder, story)
    record = _record(story)
    put(folder / PAGE, page.page(folder, story, record))
    put(folder / CARD, card.card(record))
    put(folder / REPORT, json.dumps(record, indent=1))
    return record


def _draw(folder: Path, story: ReportContext) -> None:
    steps, test, classes = story.steps, story.scores["test"], story.dataset.classes
    for key in ("loss", "accuracy"):
        plots.save(plots.curve(story.history, story.best_epoch, key), folder / f"{key}.png")
    plots.save(plots.confusion(test, classes), folder / "confusion.png")
    plots.save(plots.reliability(test.reliability, story.calibration.threshold), folder / "calibration.png")
    plots.save(plots.coverage(test.reliability), folder / "coverage.png")
    plots.save(chart(steps.sampler.samples, steps.spans, steps.sampler.cores, steps.parts), folder / "resources.png")
    if story.found.trials:
        search_plots.write(folder, story.found.trials, story.scores["validation"].count, story.baseline.val_accuracy)


def _record(story: ReportContext) -> dict[str, Any]:
    recipe, dataset, found = story.recipe, story.dataset, story.found
    test = dataset.split("test")
    right = story.answers["test"].argmax(axis=1) == story.labels["test"]
    return {
        "name": recipe.name,
        "recipe": recipe.model_dump(mode="json"),
        "data": {
            "digest": dataset.digest,
            "classes": list(dataset.classes),
            "photos": {split: len(dataset.split(split)) for split in SPLITS},
        },
        "head": found.head.model_dump(mode="json"),
        "trials": [table.row(trial, story.scores["validation"].count) for trial in found.trials],
        "search": table.summary(found.trials, story.scores["validation"].count),
        "baseline": {key: value for key, value in vars(story.baseline).items() if key != "correct"},
        "history": list(story.history),
        "best_epoch": story.best_epoch,
        **{
            split: {**asdict(scores), "calibrated": scores.reliability.calibrated}
            for split, scores in story.scores.items()
        },
        **{f"{split}_averaged": asdict(scores) for split, scores in story.averaged.items()},
        "calibration": {
            **asdict(story.calibration),
            "guarantee": story.guarantee.record,
            **{
                split: asdict(confident_share(story.answers[split], story.labels[split], story.calibration.threshold))
                for split in story.scores
            },
        },
        "slices": [asdict(one) for one in slices(test, right)],
        "mistakes": [
            {**asdict(one), "photo": one.photo.path}
            for one in mistakes(test, story.answers["test"], story.labels["test"], dataset.classes)
        ],
        "leak": asdict(story.leak),
        "straddling": asdict(story.straddling),
        "checkpoint": story.checkpoint.name,
        "refitted": story.refitted.name if story.refitted else None,
        "scored": story.scored.name,
        "seconds": story.steps.seconds,
        "resources": story.steps.resources(),
        "diagnosis": [finding.record for finding in story.findings],
        "versions": {
            "headstand": __version__,
            "python": platform.python_version(),
            **{package: version(package) for package in ("tensorflow", "keras", "numpy", "pillow")},
        },
    }


def put(path: Path, text: str) -> None:
    """Writes a text file atomically."""
    files.write(path, text)
