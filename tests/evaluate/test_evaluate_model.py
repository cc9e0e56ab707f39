import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from headstand.evaluate import model as models
from headstand.evaluate import photos
from headstand.evaluate.evaluate_model import evaluate_model
from headstand.evaluate.model import EvaluatedModel, ModelError
from headstand.evaluation import leakage
from headstand.evaluation.predictions import predict
from headstand.evaluation.score import evaluate
from headstand.features import compiled
from headstand.heads import checkpoint as checkpoints
from headstand.heads.checkpoint import ModelMetadata
from headstand.images import ImageError
from headstand.inputs import PhotoInput
from headstand.prepare.manifest import Dataset
from tests import networks
from tests.evaluate import colours

LABELS = ("blue", "green", "red")


def answer(pixels: np.ndarray) -> np.ndarray:
    """Says the brightest channel with 0.8."""
    brightest = 2 - pixels.mean(axis=(1, 2)).argmax(axis=1)
    return np.where(np.eye(3)[brightest] > 0, 0.8, 0.1).astype(np.float32)


def colour_model(**about: object) -> EvaluatedModel:
    known = replace(ModelMetadata("tiny", LABELS, 32, "", "", threshold=0.5), **about)
    return EvaluatedModel(Path("tiny.tflite"), "0" * 64, known, history=True, input=PhotoInput(32), answer=answer)


def test_figures_are_those_of_training(checkpoint: Path, dataset: Dataset) -> None:
    model = models.load(checkpoint)
    made = evaluate_model(model, photos.of_dataset(dataset.folder, "validation", model.about))
    probabilities = predict(compiled(checkpoints.load(checkpoint)), dataset, "validation", PhotoInput(networks.SIZE))
    labels = np.array([dataset.classes.index(photo.class_) for photo in dataset.split("validation")])
    assert made.scores == evaluate(probabilities, labels, dataset.classes)
    assert made.sure.coverage == (probabilities.max(axis=1) >= 0.34).mean()


def test_figures_worked_by_hand(workplace: Path) -> None:
    shown = {"blue/1.png": "blue", "blue/2.png": "red", "red/1.png": "red", "red/2.png": "red"}
    made = evaluate_model(
        colour_model(), photos.of_folder(colours.write(workplace / "p", shown), None, colour_model().about)
    )
    assert made.scores.accuracy == 0.75
    assert made.scores.balanced_accuracy == 0.75
    assert made.scores.confusion == [[1, 0, 1], [0, 0, 0], [0, 0, 2]]
    assert (made.sure.coverage, made.sure.accuracy) == (1.0, 0.75)
    (mistake,) = made.mistakes
    assert (mistake.photo.path, mistake.truth, mistake.answer) == ("blue/2.png", "blue", "red")
    assert mistake.confidence == pytest.approx(0.8)
    assert made.notes == ["no photos of green: nothing is known of that class"]


def test_the_record_is_json_with_everything(workplace: Path) -> None:
    shown = {"blue/1.png": "blue", "green/1.png": "red", "red/1.png": "red"}
    folder = colours.write(workplace / "p", shown)
    (folder / "red/2.png").write_bytes(b"none")
    record = json.loads(
        json.dumps(evaluate_model(colour_model(), photos.of_folder(folder, None, colour_model().about)).record)
    )
    assert record["model"]["labels"] == list(LABELS)
    assert record["photos"]["folder"] == str(folder)
    assert (record["photos"]["count"], record["photos"]["split"]) == (3, None)
    assert record["photos"]["left_out"][0][0] == "red/2.png"
    assert record["scores"]["accuracy"] == pytest.approx(2 / 3)
    assert record["scores"]["intervals"]["accuracy"] == record["scores"]["interval"]
    assert record["scores"]["calibrated"] is True
    assert record["calibration"]["threshold"] == 0.5
    assert record["calibration"]["sure"]["coverage"] == 1.0
    assert [one["photo"] for one in record["mistakes"]] == ["green/1.png"]
    assert record["trained"] == {"photos": [], "accuracy_without": pytest.approx(2 / 3), "compared": 0}
    assert record["notes"] == [f"1 files left out: red/2.png: {record['photos']['left_out'][0][1]}"]


def test_the_test_split_is_told_to_be_scored_again(checkpoint: Path, dataset: Dataset) -> None:
    model = models.load(checkpoint)
    notes = evaluate_model(model, photos.of_dataset(dataset.folder, "test", model.about)).notes
    assert notes == ["the run has scored this test split before: do not choose anything by these figures"]
    notes = evaluate_model(model, photos.of_dataset(dataset.folder, "validation", model.about)).notes
    assert notes == ["epoch, temperature and threshold were chosen on these photos: expect a little less on others"]


def test_photos_that_the_model_learnt_from_are_told(checkpoint: Path, dataset: Dataset) -> None:
    model = models.load(checkpoint)
    model = replace(model, about=replace(model.about, seen=leakage.of(dataset, ["train", "test"])))
    made = evaluate_model(model, photos.of_dataset(dataset.folder, "test", model.about))
    assert made.notes[0] == "WARNING: all 12 photos have near duplicates among those that the model was trained on"
    assert made.record["trained"]["accuracy_without"] is None


def test_photos_elsewhere_are_held_against_the_models_own(checkpoint: Path, dataset: Dataset) -> None:
    model = models.load(checkpoint)
    learnt, looked_at, fresh = (dataset.split(split)[0] for split in ("train", "test", "validation"))
    about = replace(model.about, examined=leakage.of(dataset, ["test"]))
    for photo in (learnt, looked_at, fresh):
        path = Path("other") / photo.class_ / Path(photo.path).with_stem(photo.split).name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes((dataset.folder / photo.path).read_bytes())
    made = evaluate_model(replace(model, about=about), photos.of_folder(Path("other"), None, about))
    assert made.trained is not None and made.examined is not None
    assert [Path(path).stem for path in made.trained.photos] == ["train"]
    assert [Path(path).stem for path in made.examined.photos] == ["test"]
    without = made.trained.accuracy_without
    assert made.notes[0] == (
        "WARNING: 1 of the 3 photos have near duplicates among those that the model was trained on; without them the "
        f"accuracy is {without:.4f}"
    )
    assert made.notes[1].startswith(
        "1 of the 3 photos have near duplicates among the model's own validation and test photos"
    )


def test_a_bundle_without_its_checkpoint_says_what_is_not_known(workplace: Path) -> None:
    folder = colours.write(workplace / "p", {f"{name}/1.png": name for name in LABELS})
    model = replace(colour_model(), history=False)
    made = evaluate_model(model, photos.of_folder(folder, None, model.about))
    assert (made.trained, made.examined) == (None, None)
    assert made.notes[0].startswith("the model's training photos are not known")


def test_a_photo_that_is_damaged(workplace: Path) -> None:
    folder = colours.write(workplace / "p", {f"{name}/1.png": name for name in LABELS})
    sample = photos.of_folder(folder, None, colour_model().about)
    (folder / "red/1.png").write_bytes(b"none")
    with pytest.raises(ImageError, match=r"p/red/1\.png: the data is not an image"):
        evaluate_model(colour_model(), sample)


def test_answers_that_are_no_numbers(workplace: Path) -> None:
    folder = colours.write(workplace / "p", {f"{name}/1.png": name for name in LABELS})
    model = replace(colour_model(), answer=lambda pixels: np.full((len(pixels), 3), np.nan, np.float32))
    with pytest.raises(ModelError, match="probabilities that are not numbers"):
        evaluate_model(model, photos.of_folder(folder, None, model.about))
