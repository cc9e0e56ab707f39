"""The page of a small run: its content, and that it needs no other file."""

import json
import re
from pathlib import Path

import pytest

from headstand import recipe, training
from headstand.preparation import manifest
from headstand.preparation.manifest import Dataset
from headstand.report import training_page
from tests import networks
from tests.pages import Tags


def test_the_page_has_the_metrics_and_needs_no_other_file(outcome: training.Outcome) -> None:
    text = (outcome.folder / "report.html").read_text(encoding="utf-8")
    record = json.loads((outcome.folder / "report.json").read_text(encoding="utf-8"))
    tags = Tags()
    tags.feed(text)
    assert not tags.open
    assert all(address.startswith(("data:image/", "#")) for address in tags.addresses)
    anchors = {address[1:] for address in tags.addresses if address.startswith("#")}
    assert anchors <= set(re.findall(r'id="([^"]+)"', text))
    test = record["test"]
    low, high = test["interval"]
    assert f"{round(test['accuracy'] * 12)} of 12 test photos" in text
    assert f"between {low:.3f} and {high:.3f}" in text
    assert record["mistakes"] and text.count("<figure>") == len(record["mistakes"])
    for mistake in record["mistakes"]:
        assert mistake["photo"] in text
    for title in (
        "Data",
        "Training",
        "Metrics",
        "Classes",
        "Calibration",
        "Unknown inputs",
        "Most confident mistakes",
        "Diagnosis",
    ):
        assert f"<h2>{title}</h2>" in text


def test_unused_options_are_not_mentioned(outcome: training.Outcome) -> None:
    assert not {"test_averaged", "validation_averaged"} & set(outcome.report)
    text = (outcome.folder / "report.html").read_text(encoding="utf-8")
    assert not any(argv in text for argv in ("mean over", "augmented views", "The layers before them"))


def test_the_commands_reproduce_the_run(outcome: training.Outcome, monkeypatch: pytest.MonkeyPatch) -> None:
    text = (outcome.folder / "report.html").read_text(encoding="utf-8")
    found = re.search(r"python train\.py (\S+)</pre>", text)
    assert found
    monkeypatch.chdir(outcome.folder.parents[2])
    again = recipe.load(found[1])
    assert again.model_dump(mode="json") == outcome.report["recipe"]


def test_each_setting_is_listed_once_with_its_best_trial(outcome: training.Outcome) -> None:
    trial = outcome.report["trials"][0]
    found = [(0.5, 0.5), (0.75, 0.5), (0.625, 0.25)]
    trials = [{**trial, "val_accuracy": accuracy, "dropout": dropout} for accuracy, dropout in found]
    text = training_page.page(outcome.folder, None, {**outcome.report, "mistakes": [], "trials": trials})
    rows = re.findall(r'<th scope="row">(0\.\d{4})</th><td>([\d.]+)</td></tr>', text)
    assert rows == [("0.7500", "0.5"), ("0.6250", "0.25")]


def test_names_are_escaped(outcome: training.Outcome) -> None:
    hostile = {**outcome.report, "name": "<script>alert(1)</script>", "mistakes": []}
    hostile["test"] = {**hostile["test"], "per_class": {"<b>&": next(iter(hostile["test"]["per_class"].values()))}}
    hostile["diagnosis"] = [
        {"code": "x", "severity": "warning", "title": "<i>", "evidence": '"><img src=x>', "advice": "</section>"}
    ]
    text = training_page.page(Path("nowhere"), None, hostile)
    assert "<script>" not in text and "<b>&<" not in text and "<img src=x>" not in text
    tags = Tags()
    tags.feed(text)
    assert not tags.open
    assert '<a href="#diagnosis">1 warning</a>' in text


def test_leakage_between_the_splits_is_reported(outcome: training.Outcome) -> None:
    record = {**outcome.report, "split_leak": {"photos": ["a", "b"], "accuracy_without": 0.5}, "mistakes": []}
    text = training_page.page(Path("nowhere"), None, record)
    assert (
        "2 test photos have near duplicates among the training photos.</b> Without them the accuracy is 0.500." in text
    )


def test_views_frozen_layers_and_test_time_augmentation_are_reported(
    dataset: Dataset, small_networks: None, undrawn: None, eager: None
) -> None:
    outcome = training.train(
        networks.recipe(
            head={"epochs": 1},
            augmentation={"views": 2, "rotation": 5.0},
            finetune={"epochs": 1, "unfreeze": "3 layers"},
            evaluation={"average": "mirror"},
        )
    )
    text = (outcome.folder / "report.html").read_text(encoding="utf-8")
    views = "Heads were trained on 2 augmented views of each training photo in addition to the photo itself"
    assert f"{views} (flip=horizontal" in text
    assert "rotation=5.0" in text
    assert (
        "only the last 3 layers were trained. The layers before them processed each photo and 2 views of it once"
        in text
    )
    for split in ("validation", "test"):
        low, _ = outcome.report[f"{split}_averaged"]["interval"]
        assert f"<td>{outcome.report[f'{split}_averaged']['accuracy']:.3f} <small>{low:.3f}" in text
    assert "accuracy, mean over the photo and its mirror image" in text


def test_a_validation_that_lacks_a_class_trains_and_is_scored_over_the_others(
    dataset: Dataset, small_networks: None, undrawn: None
) -> None:
    photos = [photo for photo in dataset.photos if (photo.split, photo.class_) != ("validation", "cross")]
    manifest.write(Dataset(dataset.folder, tuple(photos)))
    outcome = training.train(networks.recipe(head={"epochs": 1}))
    validation = outcome.report["validation"]
    present = [row["recall"] for row in validation["per_class"].values() if row["count"]]
    assert (validation["count"], len(present)) == (8, 2)
    assert validation["balanced_accuracy"] == pytest.approx(sum(present) / 2)
    assert validation["macro_recall"] == pytest.approx(sum(present) / 2)
    assert outcome.report["test"]["per_class"]["cross"]["count"] == 4


def test_a_class_without_photos_is_last_and_has_no_figures(outcome: training.Outcome) -> None:
    record = json.loads((outcome.folder / "report.json").read_text(encoding="utf-8"))
    rows = {"absent": {"precision": 0.0, "recall": 0.0, "f1": 0.0, "count": 0, "low": 0.0, "high": 1.0}}
    record["test"]["per_class"] = rows | record["test"]["per_class"]
    text = training_page.page(Path("nowhere"), None, {**record, "mistakes": []})
    table = text[text.index("<h2>Classes</h2>") : text.index("<h2>Calibration</h2>")]
    assert table.count("<tr>") == 1 + 1 + 3
    assert '<th scope="row">absent</th><td colspan="4">no photos</td><td>0</td></tr>\n</tbody>' in table
