import json

import pytest
from PIL import Image

from headstand.evaluation.metrics import evaluate
from headstand.evaluation.predictions import class_indices, predict
from headstand.features import compiled
from headstand.heads import checkpoint
from headstand.inputs import PhotoInput
from headstand.preparation import manifest
from headstand.training import Outcome
from tests import networks


def test_the_files(outcome: Outcome) -> None:
    names = {path.name for path in outcome.folder.iterdir()}
    plots = {"loss", "accuracy", "confusion", "calibration", "coverage", "resources"}
    plots |= {"search_history", "search_slices"}
    drawn = {name.removesuffix(".png") for name in names if name.endswith(".png")}
    # Too few trials for the importance of the parameters.
    assert drawn - {"search_importance"} == plots
    assert names >= {"report.json", "report.html", "MODEL_CARD.md", "trials.csv"}
    assert not any(name.endswith(".part") for name in names)
    for name in drawn:
        with Image.open(outcome.folder / f"{name}.png") as image:
            assert image.format == "PNG"
    assert json.loads((outcome.folder / "report.json").read_text()) == json.loads(json.dumps(outcome.report))


def test_metrics_are_those_of_the_checkpoint(outcome: Outcome) -> None:
    dataset = manifest.read(outcome.folder.parents[2] / "data/shapes")
    call = compiled(checkpoint.load(outcome.checkpoint))
    for split in ("validation", "test"):
        probabilities = predict(call, dataset, split, PhotoInput(networks.SIZE))
        scores = evaluate(probabilities, class_indices(dataset, dataset.split(split)), dataset.classes)
        record = outcome.report[split]
        assert record["accuracy"] == scores.accuracy
        assert record["confusion"] == scores.confusion
        assert record["interval"] == pytest.approx(list(scores.interval))
        assert record["loss"] == pytest.approx(scores.loss, rel=1e-4)
        assert record["calibrated"] == scores.reliability.calibrated


def test_data_recipe_and_versions(outcome: Outcome) -> None:
    record, dataset = outcome.report, manifest.read(outcome.folder.parents[2] / "data/shapes")
    assert record["data"] == {
        "digest": dataset.digest,
        "classes": ["circle", "cross", "square"],
        "photos": {"train": 24, "validation": 12, "test": 12},
    }
    assert record["recipe"]["head"]["inner"] == []
    assert record["head"]["inner"] in ([2], [8])
    assert record["checkpoint"] == outcome.checkpoint.name
    assert record["refitted"] is None
    assert [row["stage"] for row in record["trials"]] == [1, 1, 2, 2]
    assert set(record["versions"]) == {"headstand", "python", "tensorflow", "keras", "numpy", "pillow"}
    assert record["calibration"]["temperature"] == checkpoint.metadata(outcome.checkpoint).temperature
    assert len(record["history"]) == record["best_epoch"] == 1


def test_mistakes_and_slices_are_those_of_the_test_split(outcome: Outcome) -> None:
    record = outcome.report
    wrong = sum(map(sum, record["test"]["confusion"])) - sum(
        row[index] for index, row in enumerate(record["test"]["confusion"])
    )
    assert len(record["mistakes"]) == min(12, wrong) > 0
    for one in record["mistakes"]:
        assert one["photo"].startswith(f"test/{one['truth']}/")
        assert one["answer"] != one["truth"]
        assert one["confidence"] >= one["own"]
    assert [one["confidence"] for one in record["mistakes"]] == sorted(
        (one["confidence"] for one in record["mistakes"]), reverse=True
    )
    formats = {one["value"]: one["count"] for one in record["slices"] if one["by"] == "format"}
    assert formats == {"jpg": 6, "png": 6}
    for split in ("leak", "split_leak"):
        assert record[split]["accuracy_without"] == record["test"]["accuracy"]
