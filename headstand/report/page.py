"""Renders the report of a training run as a self-contained HTML page."""

from collections.abc import Callable
from html import escape
from pathlib import Path
from typing import Any

import numpy as np

from headstand.evaluation.attention import attention
from headstand.evaluation.view_averaging import WORDS
from headstand.heads import checkpoint
from headstand.html_layout import anchor
from headstand.recipe import Backbone
from headstand.report import metric_sections, training_sections
from headstand.report.context import ReportContext
from headstand.report.document import document, spread, tiles


def page(folder: Path, story: ReportContext, record: dict[str, Any]) -> str:
    """Returns the HTML page of a training report.

    Args:
        folder: folder of the run, which has the plots to embed.
        story: results of the run, used for the photos of the mistakes.
        record: content of `report.json`, the source of all metrics on the page.
    """
    test, calibration = record["test"], record["calibration"]
    sections: dict[str, Callable[[], str]] = {
        "Data": lambda: training_sections.data(record),
        "How the head was chosen": lambda: training_sections.choice(folder, record),
        "Training": lambda: training_sections.training(folder, record),
        "Test": lambda: metric_sections.figures(
            {split: record[split] for split in ("validation", "test")}, _averaged(record)
        ),
        "Classes": lambda: metric_sections.classes(test, folder),
        "Confidence": lambda: metric_sections.sure(test, calibration, calibration["test"], folder),
        "Parts of the test": lambda: metric_sections.slices(record["slices"]),
        "Most confident mistakes": lambda: _mistakes(story, record),
        "Diagnosis": lambda: training_sections.diagnosis(record),
        "Time and memory": lambda: training_sections.resources(folder, record),
        "Make it again": lambda: training_sections.again(folder, record),
    }
    return document(
        f"{record['name']}: report of a training run",
        f"<h1>{escape(record['name'])}</h1>{_lead(record)}{_facts(record)}",
        {title: write() for title, write in sections.items()},
        f"Run <code>{escape(folder.name)}</code>; checkpoint <code>{escape(record['checkpoint'])}</code>; "
        f"manifest <code>{record['data']['digest']}</code>",
    )


def _lead(record: dict[str, Any]) -> str:
    test, backbone = record["test"], record["recipe"]["backbone"]
    (low, high), count = test["interval"], test["count"]
    right = round(test["accuracy"] * count)
    warnings = [f for f in record["diagnosis"] if f["severity"] != "note"]
    text = (
        f'<p class="lead"><b>{right} of {count} test photos</b> are classified correctly: an accuracy of '
        f"<b>{test['accuracy']:.3f}</b>. On other photos of the same kind expect between {low:.3f} and {high:.3f} "
        f"(95 % interval).</p><p>{escape(_taken(backbone))}, "
        f"{_trained(record)}. The test photos were used once, after everything was chosen."
    )
    if warnings:
        text += f' <a href="#{anchor("Diagnosis")}">{len(warnings)} warning{"s" * (len(warnings) != 1)}</a> below.'
    return text + "</p>" + _leaks(record)


def _taken(backbone: dict[str, Any]) -> str:
    kind = Backbone.model_validate(backbone).input
    if kind.kind != "photos":
        return f"{backbone['name']} of {kind.description}"
    return f"{backbone['name']} at {backbone['size']} pixels"


def _trained(record: dict[str, Any]) -> str:
    epochs = record["recipe"]["finetune"]["epochs"]
    return f"fine-tuned for {epochs} epoch{'s' * (epochs != 1)}" if epochs else "its backbone frozen"


def _leaks(record: dict[str, Any]) -> str:
    lines = []
    for key, where in (
        ("leak", "the photos that the starting weights were trained on"),
        ("straddling", "the training photos"),
    ):
        count, without = len(record[key]["photos"]), record[key]["accuracy_without"]
        if count:
            rest = "" if without is None else f" Without them the accuracy is {without:.3f}."
            lines.append(
                f'<div class="finding warning"><p><b>{count} test photo{"s have" if count > 1 else " has"} near '
                f"duplicates among {where}.</b>{rest}</p></div>"
            )
    return "".join(lines)


def _facts(record: dict[str, Any]) -> str:
    test, validation, calibration = record["test"], record["validation"], record["calibration"]
    first, among, *others = metric_sections.facts("test accuracy", test, calibration["threshold"], calibration["test"])
    return tiles(
        [
            first,
            among,
            ("validation accuracy", f"{validation['accuracy']:.3f}", spread(validation["interval"])),
            *others,
        ]
    )


def _averaged(record: dict[str, Any]) -> dict[str, Any]:
    """Returns the row of accuracies with test-time augmentation by row name; empty if the recipe does not use it."""
    if "test_averaged" not in record:
        return {}
    way = WORDS[record["recipe"]["evaluation"]["average"]]
    return {f"accuracy, averaged over {way}": [record[f"{split}_averaged"] for split in ("validation", "test")]}


def _mistakes(story: ReportContext, record: dict[str, Any]) -> str:
    """Returns the section with the most confident mistakes, with Grad-CAM for photos."""
    if not record["mistakes"]:
        return ""
    paths = [story.dataset.folder / one["photo"] for one in record["mistakes"]]
    kind = story.recipe.backbone.input
    pixels = np.stack([kind.picture(kind.decode(path)) for path in paths])
    if kind.kind != "photos":
        return metric_sections.mistakes(record["mistakes"], pixels, None)
    places = {name: place for place, name in enumerate(story.dataset.classes)}
    asked = np.array([places[one["answer"]] for one in record["mistakes"]])
    return metric_sections.mistakes(record["mistakes"], pixels, attention(checkpoint.load(story.scored), pixels, asked))
