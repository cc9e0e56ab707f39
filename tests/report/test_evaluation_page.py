import json
from pathlib import Path

import pytest

from headstand.evaluation import evaluated_model as models
from headstand.evaluation import evaluation_set
from headstand.evaluation.evaluate_model import EvaluationResult, evaluate_model
from headstand.preparation.manifest import Dataset
from headstand.report import evaluation_page
from tests import tiny
from tests.evaluation import colours
from tests.pages import Tags


@pytest.fixture
def result(checkpoint: Path, dataset: Dataset) -> EvaluationResult:
    model = models.load(checkpoint)
    return evaluate_model(model, evaluation_set.of_dataset(dataset.folder, "test", model.about))


def test_the_page_has_the_metrics_and_needs_no_other_file(result: EvaluationResult) -> None:
    evaluation_page.write(Path("out/here"), result)
    names = {path.name for path in Path("out/here").iterdir()}
    assert names == {"evaluation.json", "evaluation.html", "confusion.png", "calibration.png", "coverage.png"}
    assert json.loads(Path("out/here/evaluation.json").read_text()) == json.loads(json.dumps(result.record))
    text = Path("out/here/evaluation.html").read_text(encoding="utf-8")
    tags = Tags()
    tags.feed(text)
    assert not tags.open
    assert all(address.startswith(("data:image/", "#")) for address in tags.addresses)
    right = round(result.scores.accuracy * 12)
    assert f"<b>{right} of 12 photos</b> are classified correctly" in text
    low, high = result.scores.interval
    assert f"between {low:.3f} and {high:.3f}" in text
    assert "The photos are the test split of data/shapes." in text
    assert "the training run has scored this test split already" in text
    assert result.mistakes and text.count("<figure>") == len(result.mistakes)
    assert text.count('alt="areas that contributed to the prediction"') == len(result.mistakes)
    assert result.model.sha256 in text


def test_mistakes_of_a_bundle_are_shown_without_grad_cam(workplace: Path) -> None:
    folder = colours.write(workplace / "<b>", {"blue/1.png": "blue", "blue/2.png": "red", "red/1.png": "red"})
    model = models.load(tiny.bundle(workplace / "tiny.tflite"))
    evaluation_page.write(Path("out"), evaluate_model(model, evaluation_set.of_folder(folder, None, model.about)))
    text = Path("out/evaluation.html").read_text(encoding="utf-8")
    assert text.count("<figure>") == 1
    assert "areas that contributed" not in text and "Grad-CAM" not in text
    assert "blue/2.png" in text
    assert "<b>." not in text and "&lt;b&gt;" in text
