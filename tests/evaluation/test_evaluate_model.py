import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from headstand.evaluation import evaluated_model as models
from headstand.evaluation import evaluation_set, leakage
from headstand.evaluation.evaluate_model import evaluate_model
from headstand.evaluation.evaluated_model import EvaluatedModel, ModelError
from headstand.evaluation.metrics import evaluate
from headstand.evaluation.predictions import predict
from headstand.features import compiled
from headstand.heads import checkpoint as checkpoints
from headstand.heads.checkpoint import ModelMetadata
from headstand.images import ImageError
from headstand.inputs import PhotoInput
from headstand.preparation.manifest import Dataset
from tests import networks
from tests.evaluation import colours

LABELS = ("blue", "green", "red")


def predict_colour(pixels: np.ndarray) -> np.ndarray:
    """Predicts the class of the brightest channel with a probability of 0.8."""
    brightest = 2 - pixels.mean(axis=(1, 2)).argmax(axis=1)
    return np.where(np.eye(3)[brightest] > 0, 0.8, 0.1).astype(np.float32)


def colour_model(**about: object) -> EvaluatedModel:
    known = replace(ModelMetadata("tiny", LABELS, 32, "", "", threshold=0.5), **about)
    return EvaluatedModel(
        Path("tiny.tflite"), "0" * 64, known, history=True, input=PhotoInput(32), predict=predict_colour
    )


def test_figures_are_those_of_training(checkpoint: Path, dataset: Dataset) -> None:
    model = models.load(checkpoint)
    result = evaluate_model(model, evaluation_set.of_dataset(dataset.folder, "validation", model.about))
    probabilities = predict(compiled(checkpoints.load(checkpoint)), dataset, "validation", PhotoInput(networks.SIZE))
    labels = np.array([dataset.classes.index(photo.class_) for photo in dataset.split("validation")])
    assert result.scores == evaluate(probabilities, labels, dataset.classes)
    assert result.confident_share.coverage == (probabilities.max(axis=1) >= 0.34).mean()


def test_figures_worked_by_hand(workplace: Path) -> None:
    shown = {"blue/1.png": "blue", "blue/2.png": "red", "red/1.png": "red", "red/2.png": "red"}
    result = evaluate_model(
        colour_model(), evaluation_set.of_folder(colours.write(workplace / "p", shown), None, colour_model().about)
    )
    assert result.scores.accuracy == 0.75
    assert result.scores.balanced_accuracy == 0.75
    assert result.scores.confusion == [[1, 0, 1], [0, 0, 0], [0, 0, 2]]
    assert (result.confident_share.coverage, result.confident_share.accuracy) == (1.0, 0.75)
    (mistake,) = result.mistakes
    assert (mistake.photo.path, mistake.truth, mistake.answer) == ("blue/2.png", "blue", "red")
    assert mistake.confidence == pytest.approx(0.8)
    assert result.notes == ["no photos of green: that class was not evaluated"]


def test_the_record_is_json_with_everything(workplace: Path) -> None:
    shown = {"blue/1.png": "blue", "green/1.png": "red", "red/1.png": "red"}
    folder = colours.write(workplace / "p", shown)
    (folder / "red/2.png").write_bytes(b"none")
    record = json.loads(
        json.dumps(evaluate_model(colour_model(), evaluation_set.of_folder(folder, None, colour_model().about)).record)
    )
    assert record["model"]["labels"] == list(LABELS)
    assert record["photos"]["folder"] == str(folder)
    assert (record["photos"]["count"], record["photos"]["split"]) == (3, None)
    assert record["photos"]["left_out"][0][0] == "red/2.png"
    assert record["scores"]["accuracy"] == pytest.approx(2 / 3)
    assert record["scores"]["intervals"]["accuracy"] == record["scores"]["interval"]
    assert record["scores"]["calibrated"] is True
    assert record["calibration"]["threshold"] == 0.5
    assert record["calibration"]["confident"]["coverage"] == 1.0
    assert [one["photo"] for one in record["mistakes"]] == ["green/1.png"]
    assert record["training_leak"] == {"photos": [], "accuracy_without": pytest.approx(2 / 3), "compared": 0}
    assert record["notes"] == [f"1 files left out: red/2.png: {record['photos']['left_out'][0][1]}"]


def test_reuse_of_a_split_is_noted(checkpoint: Path, dataset: Dataset) -> None:
    model = models.load(checkpoint)
    notes = evaluate_model(model, evaluation_set.of_dataset(dataset.folder, "test", model.about)).notes
    assert notes == ["the training run has scored this test split already: do not select models by these metrics"]
    notes = evaluate_model(model, evaluation_set.of_dataset(dataset.folder, "validation", model.about)).notes
    assert notes == ["epoch, temperature and threshold were selected on these photos: the metrics are optimistic"]


def test_training_photos_in_the_sample_are_noted(checkpoint: Path, dataset: Dataset) -> None:
    model = models.load(checkpoint)
    model = replace(model, about=replace(model.about, training_fingerprints=leakage.of(dataset, ["train", "test"])))
    result = evaluate_model(model, evaluation_set.of_dataset(dataset.folder, "test", model.about))
    assert result.notes[0] == "WARNING: all 12 photos have near duplicates among those that the model was trained on"
    assert result.record["training_leak"]["accuracy_without"] is None


def test_photos_of_a_folder_are_compared_with_those_of_the_training_run(checkpoint: Path, dataset: Dataset) -> None:
    model = models.load(checkpoint)
    trained_on, tested_on, held_out = (dataset.split(split)[0] for split in ("train", "test", "validation"))
    about = replace(model.about, evaluation_fingerprints=leakage.of(dataset, ["test"]))
    for photo in (trained_on, tested_on, held_out):
        path = Path("other") / photo.class_ / Path(photo.path).with_stem(photo.split).name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes((dataset.folder / photo.path).read_bytes())
    result = evaluate_model(replace(model, about=about), evaluation_set.of_folder(Path("other"), None, about))
    assert result.training_leak is not None and result.evaluation_leak is not None
    assert [Path(path).stem for path in result.training_leak.photos] == ["train"]
    assert [Path(path).stem for path in result.evaluation_leak.photos] == ["test"]
    without = result.training_leak.accuracy_without
    assert result.notes[0] == (
        "WARNING: 1 of the 3 photos have near duplicates among those that the model was trained on; without them the "
        f"accuracy is {without:.4f}"
    )
    assert result.notes[1].startswith(
        "1 of the 3 photos have near duplicates among the model's own validation and test photos"
    )


def test_a_bundle_without_its_checkpoint_has_unknown_training_photos(workplace: Path) -> None:
    folder = colours.write(workplace / "p", {f"{name}/1.png": name for name in LABELS})
    model = replace(colour_model(), history=False)
    result = evaluate_model(model, evaluation_set.of_folder(folder, None, model.about))
    assert (result.training_leak, result.evaluation_leak) == (None, None)
    assert result.notes[0].startswith("the model's training photos are not known")


def test_a_damaged_photo_is_an_error(workplace: Path) -> None:
    folder = colours.write(workplace / "p", {f"{name}/1.png": name for name in LABELS})
    sample = evaluation_set.of_folder(folder, None, colour_model().about)
    (folder / "red/1.png").write_bytes(b"none")
    with pytest.raises(ImageError, match=r"p/red/1\.png: the data is not an image"):
        evaluate_model(colour_model(), sample)


def test_probabilities_that_are_not_finite_are_an_error(workplace: Path) -> None:
    folder = colours.write(workplace / "p", {f"{name}/1.png": name for name in LABELS})
    model = replace(colour_model(), predict=lambda pixels: np.full((len(pixels), 3), np.nan, np.float32))
    with pytest.raises(ModelError, match="probabilities that are not finite"):
        evaluate_model(model, evaluation_set.of_folder(folder, None, model.about))
