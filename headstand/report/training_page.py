"""Renders the report of a training run as a self-contained HTML page."""

import shlex
from pathlib import Path
from typing import Any

from headstand import inputs
from headstand.evaluation import unknown_inputs
from headstand.evaluation.calibration import sentences
from headstand.evaluation.metrics import metric_names
from headstand.evaluation.view_averaging import VIEWS
from headstand.heads import checkpoint
from headstand.html_layout import render
from headstand.recipe import Recipe
from headstand.report import embedding
from headstand.report.context import ReportContext


def page(folder: Path, context: ReportContext | None, record: dict[str, Any]) -> str:
    """Returns the HTML page of a training report.

    Args:
        folder: folder of the run, which has the plots to embed.
        context: results of the run, used for the photos of the mistakes; may be None if there are no mistakes.
        record: content of `report.json`, the source of all metrics on the page.
    """
    recipe = Recipe.model_validate(record["recipe"])
    backbone, average = recipe.backbone, recipe.evaluation.average
    kind = backbone.input
    at = f"at {backbone.size} pixels" if kind.kind == "photos" else f"of {kind.description}"
    trial_keys, averages = _trial_keys(record), {}
    if "test_averaged" in record:
        averages[f"accuracy, mean over {VIEWS[average]}"] = [record[f"{split}_averaged"] for split in _SPLITS]
    return render(
        "report",
        f"{record['name']}: report of a training run",
        record=record,
        run=folder.name,
        recipe=shlex.quote(str(folder / "recipe.json")),
        network=f"{backbone.name} {at}",
        views=recipe.augmentation.settings if recipe.augmentation.views else "",
        trial_keys=trial_keys,
        best_trials=_best_trials(record, trial_keys),
        calibration=sentences(record["test"], record["calibration"], record["calibration"]["test"], "the test split"),
        known=unknown_inputs.described(record["known"]) if "known" in record else "",
        averages=averages,
        metric_names=metric_names(record["test"]["k"]),
        plots=embedding.plots(folder),
        mistake_images=_mistake_images(context, record) if context else [],
    )


_SPLITS = ("validation", "test")


def _trial_keys(record: dict[str, Any]) -> list[str]:
    """Returns the head settings that differ between the trials of the search."""
    trials, head = record["trials"], record["head"]
    return [key for key in (trials or [{}])[0] if key in head and len({str(row[key]) for row in trials}) > 1]


def _best_trials(record: dict[str, Any], keys: list[str]) -> list[dict[str, Any]]:
    """Returns the trials of the highest validation accuracy, each setting once: stages repeat some."""
    found: dict[str, dict[str, Any]] = {}
    for row in sorted(record["trials"] or [], key=lambda row: row["val_accuracy"], reverse=True):
        found.setdefault(str([row[key] for key in keys]), row)
    return list(found.values())[:8]


def _mistake_images(context: ReportContext, record: dict[str, Any]) -> list[dict[str, str]]:
    if not record["mistakes"]:
        return []
    model = checkpoint.load(context.scored)
    kind, dataset = inputs.of(model.input_shape[1:]), context.dataset
    return embedding.mistake_images(dataset.folder, record["mistakes"], kind, dataset.classes, model)
