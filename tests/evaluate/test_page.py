import json
from pathlib import Path

import pytest

from headstand.evaluate import model as models
from headstand.evaluate import page, photos
from headstand.evaluate.evaluate_model import EvaluationResult, evaluate_model
from headstand.prepare.manifest import Dataset
from tests import tiny
from tests.evaluate import colours
from tests.pages import Tags


@pytest.fixture
def made(checkpoint: Path, dataset: Dataset) -> EvaluationResult:
    model = models.load(checkpoint)
    return evaluate_model(model, photos.of_dataset(dataset.folder, "test", model.about))


def test_the_page_stands_alone_and_tells_the_figures(made: EvaluationResult) -> None:
    page.write(Path("out/here"), made)
    names = {path.name for path in Path("out/here").iterdir()}
    assert names == {"evaluation.json", "evaluation.html", "confusion.png", "calibration.png", "coverage.png"}
    assert json.loads(Path("out/here/evaluation.json").read_text()) == json.loads(json.dumps(made.record))
    text = Path("out/here/evaluation.html").read_text(encoding="utf-8")
    tags = Tags()
    tags.feed(text)
    assert not tags.open
    assert all(address.startswith(("data:image/", "#")) for address in tags.addresses)
    right = round(made.scores.accuracy * 12)
    assert f"<b>{right} of 12 photos</b> are classified correctly" in text
    low, high = made.scores.interval
    assert f"between {low:.3f} and {high:.3f}" in text
    assert "The photos are the test split of data/shapes." in text
    assert "the run has scored this test split before" in text
    assert made.mistakes and text.count("<figure>") == len(made.mistakes)
    assert text.count('alt="areas that contributed to the answer"') == len(made.mistakes)
    assert made.model.sha256 in text


def test_a_bundles_mistakes_are_shown_without_where_it_looked(workplace: Path) -> None:
    folder = colours.write(workplace / "<b>", {"blue/1.png": "blue", "blue/2.png": "red", "red/1.png": "red"})
    model = models.load(tiny.bundle(workplace / "tiny.tflite"))
    page.write(Path("out"), evaluate_model(model, photos.of_folder(folder, None, model.about)))
    text = Path("out/evaluation.html").read_text(encoding="utf-8")
    assert text.count("<figure>") == 1
    assert "areas that contributed" not in text and "Grad-CAM" not in text
    assert "blue/2.png" in text
    assert "<b>." not in text and "&lt;b&gt;" in text
