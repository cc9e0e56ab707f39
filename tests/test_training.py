import csv
import dataclasses
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import pytest
from PIL import Image

from headstand import finetune, heads, images, training
from headstand.errors import HeadstandError
from headstand.evaluation import unknown_inputs
from headstand.evaluation.predictions import class_indices, pixels
from headstand.features import FeatureError, decoding
from headstand.finetune import budget
from headstand.finetune.callbacks import CheckpointCallback
from headstand.heads import checkpoint, search
from headstand.heads.search.trial import TrialJournal
from headstand.preparation import manifest
from headstand.preparation.manifest import Dataset, ManifestError
from headstand.runs import newest_checkpoint
from headstand.stats import wilson
from tests import networks
from tests.networks import keras, recipe

pytestmark = pytest.mark.usefixtures("small_networks", "undrawn", "eager")

SEARCH = {
    "stages": [
        {"parameter": "learning_rate", "values": [0.0001, 0.02]},
        {"parameter": "inner", "values": [4, 8], "finalists": 1, "finalist_epochs": 14},
    ]
}
FINETUNE = {"epochs": 2, "batch_size": 12, "learning_rate": 0.002}


def predictions(path: Path, dataset: Dataset, split: str) -> tuple[np.ndarray, np.ndarray]:
    """Returns the probabilities of a checkpoint for the files of a split, and the class indices."""
    photos = dataset.split(split)
    pixels = np.stack([images.decode(dataset.folder / photo.path, networks.SIZE) for photo in photos])
    truth = np.array([dataset.classes.index(photo.class_) for photo in photos])
    return checkpoint.load(path)(pixels.astype(np.float32)).numpy(), truth


def check_scores(report: dict[str, Any], path: Path, dataset: Dataset) -> None:
    """Checks that the metrics in the report are those of the checkpoint."""
    for split in ("validation", "test"):
        probabilities, truth = predictions(path, dataset, split)
        scores, right = report[split], int((probabilities.argmax(1) == truth).sum())
        assert scores["count"] == len(truth) == 12
        assert scores["accuracy"] == right / 12
        assert tuple(scores["interval"]) == wilson(right, 12)
        assert scores["loss"] == pytest.approx(-np.log(probabilities[np.arange(12), truth]).mean(), rel=1e-3)
        confusion = np.zeros((3, 3), int)
        np.add.at(confusion, (truth, probabilities.argmax(1)), 1)
        assert scores["confusion"] == confusion.tolist()
        assert list(scores["per_class"]) == list(dataset.classes)


def check_detection(report: dict[str, Any], paths: dict[str, Path], dataset: Dataset) -> None:
    """Checks that the shares of known inputs in the report are those of the detectors in the checkpoints, by split."""
    for split, path in paths.items():
        detector, network = unknown_inputs.load(path), unknown_inputs.with_features(checkpoint.load(path))
        assert detector and detector.threshold == report["known"]["value"]
        shown = pixels(dataset.folder, dataset.split(split), networks.SIZE).astype(np.float32)
        similarities = detector.similarities(network(shown)[1].numpy())
        # A photo at the threshold may be on either side of it.
        assert report["known"]["accepted"][split]["count"] == len(similarities) == 12
        assert report["known"]["accepted"][split]["share"] * 12 in range(
            int((similarities >= detector.threshold + 1e-4).sum()),
            int((similarities >= detector.threshold - 1e-4).sum()) + 1,
        )
    assert report["known"]["accepted"]["validation"]["share"] == 1  # 95 % of 12 photos are all of them


def test_a_whole_run(dataset: Dataset, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    automatic = {"name": "auto", "size": networks.SIZE, "weights": "none"}
    diagnosed = mock.Mock(side_effect=training.diagnose)
    monkeypatch.setattr(training, "diagnose", diagnosed)
    outcome = training.train(recipe(search=SEARCH, backbone=automatic, compare={"backbones": ["MobileNet"]}))
    assert not diagnosed.call_args.args[0].refitted
    report = outcome.report
    assert re.fullmatch(r"shapes_\d\d_\d\.\d{3}\.h5", outcome.checkpoint.name)
    best = report["history"][report["best_epoch"] - 1]
    assert outcome.checkpoint.name == f"shapes_{report['best_epoch']:02d}_{best['val_accuracy']:.3f}.h5"
    assert outcome.checkpoint.parent == outcome.folder
    assert outcome.refitted is None
    assert newest_checkpoint() == outcome.checkpoint
    assert report["test"]["accuracy"] > 0.6  # colours are easy, and chance is a third
    check_scores(report, outcome.checkpoint, dataset)
    assert report["validation"]["accuracy"] == pytest.approx(best["val_accuracy"])
    # Dividing the logits does not change the predicted classes.
    assert report["validation"]["loss"] < best["val_loss"]
    assert report["calibration"]["temperature"] == checkpoint.metadata(outcome.checkpoint).temperature != 1
    assert report["calibration"]["threshold"] == checkpoint.metadata(outcome.checkpoint).threshold
    assert (
        report["calibration"]["test"]["coverage"] == 1.0
    )  # no mistakes on validation, so every prediction is confident

    about = checkpoint.metadata(outcome.checkpoint)
    assert (about.name, about.labels, about.size) == ("shapes", dataset.classes, networks.SIZE)
    assert (about.backbone, about.data) == ("MobileNet", dataset.digest)
    assert [(each["backbone"], each["selected"]) for each in report["backbones"]] == [("MobileNet at 32 px", True)]
    assert "MobileNet at 32 px (selected)" in (outcome.folder / "report.html").read_text()

    written = json.loads((outcome.folder / "report.json").read_text())
    assert written == json.loads(json.dumps(report))
    assert written["data"]["photos"] == {"train": 24, "validation": 12, "test": 12}
    assert written["data"]["digest"] == dataset.digest
    assert written["checkpoint"] == outcome.checkpoint.name
    assert written["refitted"] is None
    check_detection(written, {"validation": outcome.checkpoint, "test": outcome.checkpoint}, dataset)
    assert set(written["seconds"]) == {
        "backbone",
        "features",
        "logistic regression",
        "search",
        "head",
        "calibration",
        "unknown inputs",
        "evaluation",
    }
    assert {"tensorflow", "keras", "python", "headstand"} <= set(written["versions"])
    assert written["head"]["learning_rate"] == 0.02
    assert written["head"]["epochs"] == 12

    with (outcome.folder / "trials.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["stage"], row["learning_rate"], row["inner"], row["epochs"]) for row in rows[:4]] == [
        ("1", "0.0001", "8", "12"), ("1", "0.02", "8", "12"), ("2", "0.02", "4", "12"), ("2", "0.02", "8", "12"),
    ]  # fmt: skip
    assert rows[4]["epochs"] == "14"
    assert [float(row["val_accuracy"]) for row in rows] == [trial["val_accuracy"] for trial in written["trials"]]

    resources = written["resources"]
    assert set(resources["steps"]) == set(written["seconds"])
    assert resources["steps"]["features"]["photos"] == 12
    assert set(resources["steps"]["features"]["parts"]) == {"waiting for photos", "network", "cache"}
    assert all(0 <= step["cpu"] <= 1 and step["peak_memory"] > 2**20 for step in resources["steps"].values())
    assert written["diagnosis"] == [finding.record for finding in outcome.findings]

    with (outcome.folder / "history.csv").open(newline="") as file:
        epochs = list(csv.DictReader(file))
    assert [(row["phase"], int(row["epoch"])) for row in epochs] == [("head", epoch) for epoch in range(1, 13)]
    assert [float(row["val_loss"]) for row in epochs] == [figures["val_loss"] for figures in written["history"]]
    assert len(list((outcome.folder / "tensorboard" / "head").glob("events.out.tfevents.*"))) == 1
    assert not (outcome.folder / "profile").exists()

    assert not list(outcome.folder.glob("*.part"))
    out = capsys.readouterr().out
    assert f"run {outcome.folder}" in out
    assert "48 photos, 12 computed, the others" in out
    assert f"test_accuracy={report['test']['accuracy']:.4f} (95 % interval" in out
    floor = report["baseline"]
    assert floor["val_accuracy"] in [right / 12 for right in range(6, 13)]  # better than chance, which is a third
    assert re.search(
        r"^logistic regression .* log loss \d\.\d{4}, accuracy \d\.\d{4} on 5 folds, L2 penalty", out, re.M
    )
    selection = report["selection"]
    assert selection["criterion"] == "accuracy" and selection["selected"] == "searched head"
    assert selection["compared"] is None and selection["difference"] is None
    assert (selection["cross_validated"]["folds"], selection["cross_validated"]["photos"]) == (5, 36)
    search_ = report["search"]
    best_trial = max(report["trials"], key=lambda trial: (trial["val_accuracy"], -trial["val_loss"]))
    assert search_["trials"] == 5
    assert (search_["best"]["stage"], search_["best"]["number"]) == (best_trial["stage"], best_trial["number"])
    others = search_["within_noise"]
    text = f"{others} other setting{'s' * (others > 1)} did equally well: 12 validation photos cannot separate them"
    assert (text in out) == (others > 0)
    # The search, the page and the diagnosis report the same number.
    findings = [finding for finding in report["diagnosis"] if finding["code"] == "validation-too-small"]
    assert bool(findings) == (others > 0)
    assert all(one["evidence"].startswith(f"{others} of {search_['settings'] - 1} other settings") for one in findings)
    page = (outcome.folder / "report.html").read_text(encoding="utf-8")
    assert (f"{others} other setting" in page) == (others > 0)


def cross_validated(monkeypatch: pytest.MonkeyPatch, *, searched_is_better: bool) -> None:
    monkeypatch.setattr(training.cross_validation, "better", lambda network, linear: searched_is_better)


@pytest.mark.parametrize("searched_is_better", [False, True])
def test_the_head_with_the_lower_log_loss_is_trained_again_on_train_and_validation(
    dataset: Dataset, monkeypatch: pytest.MonkeyPatch, searched_is_better: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    cross_validated(monkeypatch, searched_is_better=searched_is_better)
    diagnosed = mock.Mock(side_effect=training.diagnose)
    monkeypatch.setattr(training, "diagnose", diagnosed)
    outcome = training.train(recipe(search={"selection": "log_loss"}))
    assert diagnosed.call_args.args[0].refitted
    report, selection = outcome.report, outcome.report["selection"]
    name = "searched head" if searched_is_better else "logistic regression"
    assert selection["selected"] == name
    assert selection["criterion"] == "log_loss"
    compared, linear = selection["compared"], selection["cross_validated"]
    assert (linear["folds"], linear["photos"]) == (5, 36)
    # A head that is no better on validation is not trained for each fold.
    assert compared["searched head"]["photos"] == (36 if searched_is_better else 12)
    chosen = compared["searched head"] if searched_is_better else linear
    assert report["head"] == chosen["head"]
    assert (report["head"]["optimizer"] == "lbfgs") != searched_is_better
    gap = compared["searched head"]["accuracy"] - compared["logistic regression"]["accuracy"]
    assert selection["difference"]["value"] == pytest.approx(gap)
    # Calibrated on validation before the refit; the test split is scored with the refitted model.
    epoch = report["best_epoch"]
    assert outcome.refitted and outcome.refitted.name == f"shapes_{epoch:02d}_{chosen['accuracy']:.3f}_all.h5"
    assert report["scored"] == outcome.refitted.name != report["checkpoint"]
    for split, path in {"validation": outcome.checkpoint, "test": outcome.refitted}.items():
        found, truth = predictions(path, dataset, split)
        assert report[split]["accuracy"] == (found.argmax(1) == truth).mean()
        assert report[split]["loss"] == pytest.approx(-np.log(found[np.arange(12), truth]).mean(), rel=1e-3)
    before, after = checkpoint.metadata(outcome.checkpoint), checkpoint.metadata(outcome.refitted)
    assert (before.temperature, before.threshold) == (after.temperature, after.threshold)
    assert len(after.training_fingerprints) == len(before.training_fingerprints) + 12
    assert len(list(outcome.folder.glob("*.h5"))) == 2
    page = (outcome.folder / "report.html").read_text()
    assert f"{chosen['log_loss']:.4f}" in page and "standard deviation of the folds" in page
    assert ("Logistic regression has no epochs" in page) != searched_is_better
    assert f"selected: {'the searched head' if searched_is_better else name}, val_accuracy=" in capsys.readouterr().out


def test_depths_give_one_head_whose_file_predicts_the_same(dataset: Dataset) -> None:
    backbone = {"name": "MobileNet", "size": networks.SIZE, "weights": "none", "depths": 2}
    outcome = training.train(recipe(backbone=backbone, search={"selection": "log_loss"}, head={"standardise": True}))
    assert outcome.refitted
    found, truth = predictions(outcome.refitted, dataset, "test")
    assert outcome.report["test"]["accuracy"] == (found.argmax(1) == truth).mean()
    check_detection(outcome.report, {"validation": outcome.checkpoint, "test": outcome.refitted}, dataset)
    network = checkpoint.load(outcome.refitted).get_layer("backbone")
    assert network.output.shape[-1] > networks.WIDTH


def test_fine_tuning_of_a_part_uses_the_last_depth_alone(dataset: Dataset) -> None:
    backbone = {"name": "MobileNet", "size": networks.SIZE, "weights": "none", "depths": 2}
    outcome = training.train(recipe(backbone=backbone, finetune={**FINETUNE, "epochs": 1, "unfreeze": "2 layers"}))
    assert outcome.report["recipe"]["backbone"]["depths"] == 1
    assert checkpoint.load(outcome.checkpoint).get_layer("backbone").output.shape[-1] == networks.WIDTH


def test_the_epochs_that_there_is_time_for(
    dataset: Dataset, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = recipe(minutes=1, finetune={**FINETUNE, "epochs": 4})
    remaining = []

    def decide(
        speed: budget.Speed, seconds: float, counts: dict[str, int], tuning: Any, refit: Sequence[str]
    ) -> budget.Budget:
        remaining.append(seconds)
        assert counts == {"train": 24, "validation": 12, "test": 12} and refit == ()
        return budget.Budget(2, tuning.epochs, 10, 0.5)

    monkeypatch.setattr(budget, "measure", lambda *arguments: budget.Speed(1, 1))
    monkeypatch.setattr(budget, "decide", decide)
    stopped = pytest.MonkeyPatch()
    stopped.setattr(training.calibration, "calibrate", lambda *arguments: 1 / 0)
    with stopped.context(), pytest.raises(ZeroDivisionError):
        training.train(settings, elapsed=20)
    stopped.undo()
    outcome = training.train(settings, elapsed=50)  # resumed: what was decided before holds
    assert len(remaining) == 1 and remaining[0] < 40
    assert len(outcome.report["history"]) == 2
    text = "an epoch takes 10 s on this machine, refit included: there is time for 2 of 4; 0 more minutes allow all"
    assert capsys.readouterr().out.count(text) == 2
    assert outcome.report["fine_tuning"][0] == text
    assert text in (outcome.folder / "report.html").read_text()


def test_without_time_the_head_is_trained_as_without_fine_tuning(
    dataset: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(budget, "measure", lambda *arguments: budget.Speed(1, 1))
    search, augmentation = {"strategy": "none", "selection": "log_loss"}, {"views": 1}
    plain = training.train(recipe(search=search, augmentation=augmentation))
    outcome = training.train(recipe(minutes=0.1, search=search, augmentation=augmentation, finetune=FINETUNE))
    assert "fine-tuning" in outcome.report["seconds"]
    assert outcome.refitted and plain.refitted and outcome.refitted.name == plain.refitted.name
    for key in ("test", "validation", "history"):
        assert outcome.report[key] == plain.report[key]
    weights = (checkpoint.load(run.refitted).get_weights() for run in (plain, outcome))  # trained on the views too
    assert all(np.array_equal(one, other) for one, other in zip(*weights, strict=True))


def test_the_fine_tuned_model_is_kept_only_if_it_is_better_than_the_head(
    dataset: Dataset, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    real, run, found, case = training._better_than_head, finetune.run, [], ""

    def decide(*arguments: Any) -> bool:
        found.append(real(*arguments))
        return case == "better"

    def tune(*arguments: Any) -> finetune.FinetuneResult:
        tuned = run(*arguments)
        assert arguments[-1] == "log_loss"
        changes = {"val_loss": float("nan")} if case == "diverges" else {}
        return dataclasses.replace(tuned, history=[{**figures, **changes} for figures in tuned.history])

    monkeypatch.setattr(finetune, "run", tune)
    search = {"strategy": "none", "selection": "log_loss"}
    plain = training.train(recipe(search=search))
    monkeypatch.setattr(training, "_better_than_head", decide)

    case = "better"
    outcome = training.train(recipe(search=search, finetune=FINETUNE))
    assert outcome.refitted and len(checkpoint.metadata(outcome.refitted).training_fingerprints) == 36
    for split, path in (("validation", outcome.checkpoint), ("test", outcome.refitted)):
        shares, truth = predictions(path, dataset, split)
        assert outcome.report[split]["loss"] == pytest.approx(-np.log(shares[np.arange(12), truth]).mean(), rel=1e-3)

    for case in ("not better", "diverges"):
        capsys.readouterr()
        outcome = training.train(recipe(search=search, finetune=FINETUNE))
        out = capsys.readouterr().out
        assert "not better than the head, which is kept" in out
        assert ("training diverges; try a lower --finetune.learning_rate" in out) == (case == "diverges")
        assert "fine-tuned" not in (outcome.folder / "MODEL_CARD.md").read_text()
        names = sorted(path.name for path in outcome.folder.glob("*.h5"))
        assert outcome.refitted and names == sorted([outcome.checkpoint.name, outcome.refitted.name])
        for split in ("test", "validation"):  # those of a network that was not changed
            for key in ("accuracy", "loss", "confusion"):
                assert outcome.report[split][key] == plain.report[split][key]
        assert len(checkpoint.metadata(outcome.refitted).training_fingerprints) == 36
    # All validation photos were right before; after a run that diverges there is nothing to compare.
    assert found == [False, False]


def test_second_run_computes_no_features_and_has_the_same_result(
    dataset: Dataset, capsys: pytest.CaptureFixture[str]
) -> None:
    first = training.train(recipe())
    second = training.train(recipe())
    assert "48 photos, 0 computed" in capsys.readouterr().out
    assert second.folder != first.folder
    for key in ("history", "best_epoch", "test", "validation", "checkpoint"):
        assert second.report[key] == first.report[key]
    assert not list(second.folder.glob("search_*.png"))
    assert second.report["search"] is None
    assert (second.folder / "trials.csv").read_text().startswith("stage,number,state,learning_rate")
    # A run with another head reuses the features too.
    training.train(recipe(name="shapes", head={"inner": 4, "epochs": 1}))
    assert "48 photos, 0 computed" in capsys.readouterr().out


def test_fine_tuning_and_refit(dataset: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first of two epochs is selected, so the refit ends after it."""
    real = CheckpointCallback.on_epoch_end

    def end(self: Any, number: int, logs: Any = None) -> None:
        real(self, number, {**logs, "val_accuracy": 1 - number / 10} if "val_accuracy" in logs else logs)

    monkeypatch.setattr(CheckpointCallback, "on_epoch_end", end)
    backbone = {"name": "MobileNet", "size": networks.SIZE, "weights": "none", "depths": 2}
    outcome = training.train(recipe(backbone=backbone, finetune={**FINETUNE, "refit": "all"}))
    assert outcome.checkpoint.name == "shapes_01_1.000.h5"
    assert outcome.report["best_epoch"] == 1
    assert outcome.refitted == outcome.folder / "shapes_01_all.h5"
    assert outcome.report["refitted"] == "shapes_01_all.h5"
    assert newest_checkpoint() == outcome.refitted
    assert len(outcome.report["history"]) == 2
    with (outcome.folder / "history.csv").open(newline="") as file:
        assert [row["phase"] for row in csv.DictReader(file)].count("refit") == 1
    card = " ".join((outcome.folder / "MODEL_CARD.md").read_text().split())
    assert "all layers fine-tuned for 1 of 2 epochs" in card
    assert "trained again for 1 epoch on all three splits" in card
    check_scores(outcome.report, outcome.checkpoint, dataset)  # the metrics are those of the model before the refit
    check_detection(outcome.report, dict.fromkeys(("validation", "test"), outcome.checkpoint), dataset)
    one, again = (unknown_inputs.load(path) for path in (outcome.checkpoint, outcome.refitted))
    assert one and again and one.threshold == again.threshold
    assert not (one.center.any() or again.center.any() or np.allclose(one.prototypes, again.prototypes))
    assert set(outcome.report["seconds"]) >= {"fine-tuning", "refit"}
    seen, all_seen = (
        checkpoint.metadata(path).training_fingerprints for path in (outcome.checkpoint, outcome.refitted)
    )
    assert len(seen) == 24
    assert set(seen) < set(all_seen)
    assert len(all_seen) == 48
    models = [checkpoint.load(path) for path in (outcome.checkpoint, outcome.refitted)]
    weights = (model.get_weights() for model in models)
    assert any(not np.allclose(one, other) for one, other in zip(*weights, strict=True))
    assert outcome.report["recipe"]["backbone"]["depths"] == 2
    assert models[0].get_layer("backbone").output.shape[-1] > networks.WIDTH


def test_refit_without_fine_tuning_is_the_head_on_all_splits(dataset: Dataset) -> None:
    outcome = training.train(recipe(finetune={"refit": "all"}))
    assert outcome.refitted is not None
    # The epoch was selected on validation.
    assert outcome.refitted.name == f"shapes_{outcome.report['best_epoch']:02d}_all.h5"
    assert newest_checkpoint() == outcome.refitted
    check_detection(outcome.report, dict.fromkeys(("validation", "test"), outcome.checkpoint), dataset)
    one, other = (checkpoint.load(path) for path in (outcome.checkpoint, outcome.refitted))
    pairs = zip(*(model.get_layer("backbone").get_weights() for model in (one, other)), strict=True)
    assert all(np.array_equal(a, b) for a, b in pairs)
    assert not np.allclose(one.get_layer("logits").get_weights()[0], other.get_layer("logits").get_weights()[0])
    assert len(checkpoint.metadata(outcome.refitted).training_fingerprints) == 48


def test_test_labels_change_the_test_scores_and_nothing_else(dataset: Dataset) -> None:
    settings = recipe(search={"stages": SEARCH["stages"][:1]}, finetune={**FINETUNE, "epochs": 1})
    first = training.train(settings)
    turned = {"circle": "cross", "cross": "square", "square": "circle"}
    photos = []
    for photo in dataset.photos:
        if photo.split == "test":  # under another label, so in another folder; the order is kept
            path = f"test/{turned[photo.class_]}/{Path(photo.path).name}"
            (dataset.folder / photo.path).rename(dataset.folder / path)
            photo = dataclasses.replace(photo, path=path, class_=turned[photo.class_])
        photos.append(photo)
    manifest.write(Dataset(dataset.folder, tuple(photos)))
    second = training.train(settings)
    for key in ("head", "trials", "history", "best_epoch", "validation", "checkpoint"):
        assert second.report[key] == first.report[key], key
    for one, other in zip(*(checkpoint.load(run.checkpoint).get_weights() for run in (first, second)), strict=True):
        assert np.array_equal(one, other)
    assert second.report["test"]["accuracy"] != first.report["test"]["accuracy"]
    assert np.array(second.report["test"]["confusion"]).sum(axis=0).tolist() == (
        np.array(first.report["test"]["confusion"]).sum(axis=0).tolist()
    )


@pytest.mark.parametrize("epochs", [0, 1])
def test_refit_with_validation_is_scored_on_test(dataset: Dataset, epochs: int) -> None:
    outcome = training.train(recipe(finetune={**FINETUNE, "epochs": epochs, "refit": "validation"}))
    assert outcome.refitted is not None
    report = outcome.report
    assert report["scored"] == report["refitted"] == outcome.refitted.name != outcome.checkpoint.name
    assert newest_checkpoint() == newest_checkpoint(refitted=False) == outcome.refitted
    # 24 training photos, 12 validation photos; the calibration of the selected model is taken over.
    assert len(checkpoint.metadata(outcome.refitted).training_fingerprints) == 36
    assert len(checkpoint.metadata(outcome.checkpoint).training_fingerprints) == 24
    chosen, final = (checkpoint.metadata(path) for path in (outcome.checkpoint, outcome.refitted))
    assert (final.temperature, final.threshold) == (chosen.temperature, chosen.threshold)
    check_detection(report, {"validation": outcome.checkpoint, "test": outcome.refitted}, dataset)
    for split, path in (("validation", outcome.checkpoint), ("test", outcome.refitted)):
        photos = dataset.split(split)
        probabilities = checkpoint.load(path)(pixels(dataset.folder, photos, networks.SIZE).astype(np.float32)).numpy()
        truth = class_indices(dataset, photos)
        assert report[split]["accuracy"] == pytest.approx((probabilities.argmax(axis=1) == truth).mean())
        true = probabilities[np.arange(len(truth)), truth]
        assert report[split]["loss"] == pytest.approx(-np.log(true).mean(), abs=1e-4)
    assert "The test metrics belong to them" in (outcome.folder / "MODEL_CARD.md").read_text()


@pytest.mark.parametrize("refit", ["none", "all"])
def test_views_are_of_the_training_photos_alone(
    dataset: Dataset, refit: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    real, real_refit, given = heads.fit, heads.refit, []

    def fit(head: Any, train: heads.FeatureSplit, validation: heads.FeatureSplit, *rest: Any) -> heads.Fit:
        if head.optimizer != "lbfgs":  # logistic regression is the comparison
            given.append((train, validation.views))
        return real(head, train, validation, *rest)

    def fit_again(head: Any, train: heads.FeatureSplit, *rest: Any) -> heads.Fit:
        given.append((train, None))
        return real_refit(head, train, *rest)

    monkeypatch.setattr(heads, "fit", fit)
    monkeypatch.setattr(heads, "refit", fit_again)
    settings = {"views": 3, "rotation": 10.0}
    outcome = training.train(recipe(augmentation=settings, finetune={"refit": refit}))
    assert [(len(train.labels), train.views.shape[:2], views) for train, views in given] == [
        (24, (3, 24), None), (48, (3, 48), None)
    ][: 1 + (refit == "all")]  # fmt: skip
    out = capsys.readouterr().out
    assert "48 photos, 120 computed" in out
    assert "with 3 views of each training photo: flip=horizontal smallest_crop=0.5 rotation=10.0 zoom=0.0" in out
    assert outcome.report["recipe"]["augmentation"]["views"] == 3
    check_scores(outcome.report, outcome.checkpoint, dataset)
    if refit == "all":
        return
    # The next run finds all features in the cache and has the same metrics.
    again = training.train(recipe(augmentation=settings))
    assert "48 photos, 0 computed" in capsys.readouterr().out
    assert again.report["history"] == outcome.report["history"]
    # Another setting has other views.
    training.train(recipe(augmentation={**settings, "rotation": 11.0}))
    assert "48 photos, 72 computed" in capsys.readouterr().out


class Cut(Exception):
    """Simulates a kill."""


def cut(*_: Any) -> None:
    raise Cut


def test_interrupted_search_is_resumed_in_the_same_run(
    dataset: Dataset, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    whole = training.train(recipe(search=SEARCH))
    real, added = TrialJournal.add, []

    def add(self: Any, trial: search.Trial, *rest: Any) -> None:
        added.append(trial)
        if len(added) == 4:
            raise Cut
        real(self, trial, *rest)

    with monkeypatch.context() as patch, pytest.raises(Cut):
        patch.setattr(TrialJournal, "add", add)
        training.train(recipe(search=SEARCH))
    (cut,) = [folder for folder in Path("runs/shapes").iterdir() if folder != whole.folder]
    assert newest_checkpoint() == whole.checkpoint  # a run without a report is not finished
    capsys.readouterr()
    added.clear()
    monkeypatch.setattr(TrialJournal, "add", lambda *arguments: (added.append(arguments[1]), real(*arguments))[1])
    resumed = training.train(recipe(search=SEARCH))
    assert resumed.folder == cut
    assert len(added) == 2
    out = capsys.readouterr().out
    assert f"resuming {cut}" in out
    assert out.count("(from the journal)") == 3
    for key in ("trials", "head", "history", "test", "validation", "checkpoint"):
        assert resumed.report[key] == whole.report[key]


@pytest.mark.slow
def test_interrupted_fine_tuning_is_resumed_in_the_same_run(dataset: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = recipe(finetune={**FINETUNE, "refit": "all"})
    whole = training.train(settings)
    real, calls = CheckpointCallback.on_epoch_end, []

    def end(self: Any, number: int, logs: Any = None) -> None:
        real(self, number, logs)
        calls.append(number)
        if len(calls) in (1, 3):
            raise Cut

    monkeypatch.setattr(CheckpointCallback, "on_epoch_end", end)
    for _ in range(2):  # once during fine-tuning, once during the refit
        with pytest.raises(Cut):
            training.train(settings)
    resumed = training.train(settings)
    assert calls == [0, 1, 0, 1]
    assert resumed.folder != whole.folder
    assert [path.name for path in (resumed.checkpoint, resumed.refitted)] == [
        path.name for path in (whole.checkpoint, whole.refitted)
    ]
    for path, other in ((resumed.checkpoint, whole.checkpoint), (resumed.refitted, whole.refitted)):
        pairs = zip(checkpoint.load(path).get_weights(), checkpoint.load(other).get_weights(), strict=True)
        for one, wanted in pairs:
            np.testing.assert_allclose(one, wanted, atol=1e-4)
    assert resumed.report["test"]["accuracy"] == whole.report["test"]["accuracy"]
    epochs = []
    for run in (resumed, whole):
        with (run.folder / "history.csv").open(newline="") as file:
            epochs.append([(row["phase"], row["epoch"]) for row in csv.DictReader(file)])
    assert epochs[0] == epochs[1]
    assert epochs[0][-4:] == [("fine-tuning", "1"), ("fine-tuning", "2"), ("refit", "1"), ("refit", "2")]


@pytest.mark.slow
def test_profiled_run_has_the_same_result_and_traces(
    dataset: Dataset, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(decoding, "BATCH", 4)
    settings = recipe(finetune={**FINETUNE, "epochs": 1})
    with monkeypatch.context() as patch, pytest.raises(Cut):
        patch.setattr(training, "evaluate", cut)
        training.train(settings, profile=True)
    profiled = training.train(settings)  # the same run is resumed without profiling
    assert f"resuming {profiled.folder}" in capsys.readouterr().out
    traces = sorted(path.relative_to(profiled.folder).parts[:2] for path in profiled.folder.rglob("*.xplane.pb"))
    assert traces == [("profile", "features"), ("profile", "fine-tuning"), ("profile", "head")]
    plain = training.train(settings)
    assert not (plain.folder / "profile").exists()
    for key in ("history", "best_epoch", "test", "validation", "checkpoint"):
        assert plain.report[key] == profiled.report[key]


@pytest.mark.slow
def test_fine_tuning_a_part(dataset: Dataset, graphs: None, capsys: pytest.CaptureFixture[str]) -> None:
    settings = {**FINETUNE, "unfreeze": "3 layers", "precision": "mixed_bfloat16", "refit": "all"}
    outcome = training.train(recipe(finetune=settings, augmentation={"views": 2}))
    check_scores(outcome.report, outcome.checkpoint, dataset)
    out = capsys.readouterr().out
    assert out.count("every epoch draws from each photo and its 2 views") == 2
    # The refit finds the activations that fine-tuning had computed.
    assert ["84 photos and views computed" in out, "60 photos and views computed" in out] == [True, True]
    pairs = [checkpoint.load(path).get_layer("backbone") for path in (outcome.checkpoint, outcome.refitted)]
    same = [np.array_equal(a, b) for a, b in zip(*(network.get_weights() for network in pairs), strict=True)]
    assert same[:5] == [True] * 5  # kernel and BatchNormalization of the frozen part
    assert not same[5]


def test_invalid_unfreeze_is_reported_before_the_run(dataset: Dataset) -> None:
    with pytest.raises(HeadstandError, match=r"finetune\.unfreeze = '99 layers': the backbone has 7 layers"):
        training.train(recipe(finetune={**FINETUNE, "unfreeze": "99 layers"}))
    assert not Path("runs").exists()


def test_missing_data_is_reported_with_the_command(workplace: Path) -> None:
    with pytest.raises(
        ManifestError, match=r"no prepared data at data/shapes: run `python -m headstand explore PHOTOS --name shapes`"
    ):
        training.train(recipe())
    assert not Path("runs").exists()


def test_a_changed_photo_stops_the_run(dataset: Dataset) -> None:
    path = dataset.folder / dataset.split("test")[0].path
    Image.new("RGB", (40, 40)).save(path)
    with pytest.raises(FeatureError, match=re.escape(str(path))):
        training.train(recipe())
    assert not list(Path("runs").glob("*/*/report.json"))


def test_head_worse_than_the_baseline_is_reported(dataset: Dataset) -> None:
    outcome = training.train(recipe(head={"epochs": 1, "learning_rate": 1e-7, "inner": 4}))
    floor = outcome.report["baseline"]["val_accuracy"]
    (finding,) = [finding for finding in outcome.findings if finding.code == "baseline-not-beaten"]
    assert f"logistic regression on the same features has {floor:.4f}" in finding.evidence


def test_diverging_training_is_reported(dataset: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    real = heads.fit

    def diverging(*arguments: Any) -> heads.Fit:
        fit = real(*arguments)
        return dataclasses.replace(fit, history=[{**figures, "val_loss": float("nan")} for figures in fit.history])

    monkeypatch.setattr(heads, "fit", diverging)
    with pytest.raises(HeadstandError, match=r"try a lower --head\.learning_rate"):
        training.train(recipe())
    assert not list(Path("runs").glob("*/*/*.h5"))


def test_class_weights_follow_the_recipe(dataset: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[np.ndarray] = []

    def run(model: keras.Model, photos: finetune.LabelledPhotos, *rest: Any, **more: Any) -> None:
        given.append(photos.weights)
        raise Cut

    monkeypatch.setattr(finetune, "run", run)
    photos = [photo for photo in dataset.photos if photo.split != "train" or photo.class_ != "circle"]
    photos += [photo for photo in dataset.split("train") if photo.class_ == "circle"][:2]
    manifest.write(Dataset(dataset.folder, tuple(photos)))
    for weighted in (True, False):
        with pytest.raises(Cut):
            training.train(recipe(head={"epochs": 1, "class_weights": weighted}, finetune=FINETUNE))
    assert sorted(given[0].round(4).tolist()) == [0.75] * 16 + [3.0] * 2
    assert given[1].tolist() == [1] * 18


KILLED = """
import os, signal, sys
from tests import networks
for name in networks.backbones.names():
    setattr(networks.keras.applications, name, networks.tiny)
from headstand import training
from headstand.features import cache, decoding
from headstand.finetune import callbacks
from headstand.heads.search import trial
calls = 0
def killing(function):
    def counted(*arguments, **keys):
        global calls
        calls += 1
        if calls == int(sys.argv[2]):
            os.kill(os.getpid(), signal.SIGKILL)
        return function(*arguments, **keys)
    return counted
owner, name = {"features": (cache.FeatureCache, "append"), "search": (trial.TrialJournal, "add"),
               "finetune": (callbacks.ProgressBarCallback, "on_train_batch_end")}[sys.argv[1]]
decoding.BATCH = 8
setattr(owner, name, killing(getattr(owner, name)))
from tests.test_training import FINETUNE, SEARCH
training.train(networks.recipe(search=SEARCH, finetune=FINETUNE))
"""


@pytest.mark.slow
@pytest.mark.parametrize(("at", "call"), [("features", 3), ("search", 3), ("finetune", 4)])
def test_killed_run_is_resumed(dataset: Dataset, at: str, call: int, capsys: pytest.CaptureFixture[str]) -> None:
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])}
    killed = subprocess.run([sys.executable, "-c", KILLED, at, str(call)], env=environment, capture_output=True)
    assert killed.returncode == -signal.SIGKILL, killed.stderr.decode()
    settings = recipe(search=SEARCH, finetune=FINETUNE)
    resumed = training.train(settings)
    out = capsys.readouterr().out
    assert f"resuming {resumed.folder}" in out
    assert "48 photos, 32 computed" in out if at == "features" else "48 photos, 0 computed" in out
    assert out.count("(from the journal)") == {"features": 0, "search": 2, "finetune": 5}[at]
    assert ("epoch 1/2" in out) == (at != "finetune")
    whole = training.train(settings)
    assert whole.folder != resumed.folder
    assert resumed.report["trials"] == whole.report["trials"]
    assert resumed.report["test"]["accuracy"] == whole.report["test"]["accuracy"]
    assert resumed.checkpoint.name == whole.checkpoint.name
