"""Writes the report of a training run as files into its folder."""

import json
import platform
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

from headstand import __version__, files
from headstand.evaluation.calibration import confident_share
from headstand.evaluation.error_analysis import mistakes, slices
from headstand.heads.search import trial_table
from headstand.preparation.manifest import SPLITS
from headstand.report import card, plots, search_plots, training_page
from headstand.report.context import ReportContext
from headstand.runs import REPORT
from headstand.stats import paired, wilson
from headstand.tracking.chart import chart

PAGE, CARD = "report.html", "MODEL_CARD.md"


def write(folder: Path, context: ReportContext) -> dict[str, Any]:
    """Writes trials.csv, the plots, report.html, MODEL_CARD.md and, as the last file, report.json into a run's folder.

    Returns:
        The content of report.json: recipe, data, head, trials, baseline, history, metrics of validation and test with
        95 % intervals, calibration, slices and mistakes of the test split, leakage into the test split, file names,
        seconds, resources, diagnosis, versions.
    """
    photos = context.scores["validation"].count
    trial_table.write(folder / "trials.csv", context.search.trials, photos)
    _draw(folder, context)
    record = _record(context)
    files.write(folder / PAGE, training_page.page(folder, context, record))
    files.write(folder / CARD, card.card(record))
    files.write(folder / REPORT, json.dumps(record, indent=1))
    return record


def _draw(folder: Path, context: ReportContext) -> None:
    steps, validation = context.steps, context.scores["validation"]
    for key in ("loss", "accuracy"):
        plots.save(plots.curve(context.history, context.best_epoch, key), folder / f"{key}.png")
    plots.save_metric_plots(folder, context.scores["test"], context.dataset.classes, context.calibration.threshold)
    plots.save(chart(steps.sampler.samples, steps.spans, steps.sampler.cores, steps.parts), folder / "resources.png")
    if context.search.trials:
        search_plots.write(folder, context.search.trials, validation.count, context.linear_validated.accuracy)


def _record(context: ReportContext) -> dict[str, Any]:
    recipe, dataset, search = context.recipe, context.dataset, context.search
    test, count = dataset.split("test"), context.scores["validation"].count
    probabilities, labels = context.probabilities, context.labels
    right = probabilities["test"].argmax(axis=1) == labels["test"]
    return {
        "name": recipe.name,
        "recipe": recipe.model_dump(mode="json"),
        "data": {
            "digest": dataset.digest,
            "classes": list(dataset.classes),
            "photos": {split: len(dataset.split(split)) for split in SPLITS},
        },
        "head": context.head.model_dump(mode="json"),
        "trials": [trial_table.row(trial, count) for trial in search.trials],
        "search": trial_table.summary(search.trials, count),
        "baseline": _baseline(context),
        "selection": _selection(context),
        "backbones": list(context.backbones),
        "fine_tuning": list(context.fine_tuning),
        "history": list(context.history),
        "best_epoch": context.best_epoch,
        **{
            split: {**asdict(scores), "calibrated": scores.reliability.calibrated}
            for split, scores in context.scores.items()
        },
        **{f"{split}_averaged": asdict(scores) for split, scores in context.averaged.items()},
        "calibration": {
            **asdict(context.calibration),
            "guarantee": context.guarantee.record,
            **{
                split: asdict(confident_share(probabilities[split], labels[split], context.calibration.threshold))
                for split in context.scores
            },
        },
        "known": context.known,
        "slices": [asdict(one) for one in slices(test, right)],
        "mistakes": [
            {**asdict(one), "photo": one.photo.path, "original": one.photo.original_name}
            for one in mistakes(test, probabilities["test"], labels["test"], dataset.classes)
        ],
        "leak": asdict(context.backbone_leak),
        "split_leak": asdict(context.split_leak),
        "checkpoint": context.checkpoint.name,
        "refitted": context.refitted.name if context.refitted else None,
        "scored": context.scored.name,
        "seconds": context.steps.seconds,
        "resources": context.steps.resources(),
        "diagnosis": [finding.record for finding in context.findings],
        "versions": {
            "headstand": __version__,
            "python": platform.python_version(),
            **{package: version(package) for package in ("tensorflow", "keras", "numpy", "pillow")},
        },
    }


def _baseline(context: ReportContext) -> dict[str, Any]:
    """Returns the accuracy of logistic regression, trained on train, on the validation photos, with its interval."""
    correct = context.linear_validated.correct
    return {"val_accuracy": float(correct.mean()), "interval": wilson(int(correct.sum()), len(correct))}


def _selection(context: ReportContext) -> dict[str, Any]:
    """Returns the cross-validated figures of logistic regression, and its comparison with the searched head.

    `compared` has both on the same photos: validation, or all folds if the searched head is better on validation; None
    if heads are selected by accuracy. `difference` is the accuracy of the searched head minus that of logistic
    regression, with its paired interval.
    """
    linear = context.linear
    record: dict[str, Any] = {
        "criterion": context.recipe.search.selection,
        "selected": "searched head" if context.head != linear.head else "logistic regression",
        "cross_validated": linear.record,
        "compared": None,
        "difference": None,
    }
    if context.comparison:
        candidate, compared = context.comparison
        gap = paired(candidate.correct, compared.correct)
        record["compared"] = {"searched head": candidate.record, "logistic regression": compared.record}
        record["difference"] = {"value": gap.value, "interval": gap.interval, "within_noise": gap.within_noise}
    return record
