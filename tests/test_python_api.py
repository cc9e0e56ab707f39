import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image

import headstand
from headstand import HOME, python_api
from headstand.cli import train as command
from headstand.errors import HeadstandError
from headstand.serve.classifier import Prediction
from tests.preparation.photos import class_folders
from tests.skips import unix

SHIPPED = HOME / "models" / "yoga6" / "yoga6.tflite"


def test_the_package_has_the_functions_of_the_api() -> None:
    names = ("prepare", "train", "load", "evaluate", "convert")
    assert [getattr(headstand, name) for name in names] == [getattr(python_api, name) for name in names]
    with pytest.raises(AttributeError, match="no attribute 'tarin'"):
        headstand.tarin  # noqa: B018


def test_an_image_is_given_in_any_form(workplace: Path) -> None:
    model = headstand.load(SHIPPED)
    assert model.labels == ("chair", "cobra", "downdog", "goddess", "tree", "warrior")
    assert repr(model) == f"Model({str(SHIPPED)!r}, 6 classes)"
    pixels = np.random.default_rng(0).integers(0, 256, (60, 80, 3), dtype=np.uint8)
    Image.fromarray(pixels).save("photo.png")
    expected = model.predict("photo.png")
    assert expected.label == max(expected.probabilities, key=expected.probabilities.__getitem__)
    for image in (Path("photo.png"), Path("photo.png").read_bytes(), Image.fromarray(pixels), pixels):
        assert model.predict(image) == expected
    with pytest.raises(HeadstandError, match="missing"):
        headstand.load("missing.tflite")


def test_a_prediction_is_displayed_as_a_table() -> None:
    found = Prediction({"<b>": 0.75, "tree": 0.25}, confident=False, known=False)
    assert found.label == "<b>"
    assert found._repr_html_() == (
        "<table><tr><td>&lt;b&gt;<td>0.750<tr><td>tree<td>0.250</table>not confident, unlike the training photos"
    )
    assert Prediction({"tree": 1.0}, confident=True)._repr_html_() == "<table><tr><td>tree<td>1.000</table>"


def test_photos_are_prepared(workplace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    class_folders(Path("my photos"), {"cobra": 8, "tree": 8})
    found = headstand.prepare("my photos", seed=2, split={"train": 0.5, "validation": 0.25, "test": 0.25})
    expected = {"train": 4, "validation": 2, "test": 2}
    assert found.folder == Path("data/my-photos") and found.counts == {"cobra": expected, "tree": expected}
    assert found._repr_html_().startswith("<pre>class ")
    assert found._repr_html_().endswith('</pre><a href="data/my-photos/explore/index.html">plots</a>')
    assert "make metrics wrong" not in capsys.readouterr().out
    shutil.copy("my photos/cobra/0.jpg", "my photos/tree/copy.jpg")
    headstand.prepare("my photos")
    assert "warning: 1 error would make metrics wrong" in capsys.readouterr().out


def test_training_takes_keys_of_the_recipe(monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[Any] = []
    monkeypatch.setattr(command, "trained", lambda *arguments: given.append(arguments))
    headstand.train(Path("photos"))
    headstand.train(
        "clothes.zip", minutes=3, recipe="yoga6", seed=2, head={"inner": [8, 4]}, search={"strategy": "none"}
    )
    assert given == [
        ("photos", "photos", []),
        (
            "clothes.zip",
            "yoga6",
            ["--seed", "2", "--head.inner", "[8, 4]", "--search.strategy", "none", "--minutes", "3"],
        ),
    ]


def test_a_trained_model_is_displayed() -> None:
    report = {"test": {"accuracy": 0.9, "count": 20, "interval": [0.7, 0.97]}}
    notes = [SimpleNamespace(severity=each) for each in ("warning", "note")]
    outcome: Any = SimpleNamespace(report=report, findings=notes, folder=Path("runs/a&b"))
    exported: Any = SimpleNamespace(bundle=Path("runs/a.tflite"))
    recipe: Any = None
    result = command.Trained(recipe, "2 errors", outcome, exported)
    sentence = "The model is right on 90.0% of 20 photos that it was not trained on (95 % interval 70.0% to 97.0%)."
    assert str(result) == sentence and result.findings == notes[:1] and result.bundle == Path("runs/a.tflite")
    assert result._repr_html_() == (
        f"<p>{sentence}</p><p>warning: 2 errors</p><p>namespace(severity=&#x27;warning&#x27;)</p>"
        '<p><a href="runs/a&amp;b/report.html">report</a></p>'
    )


@unix
def test_a_checkpoint_is_converted_and_evaluated(checkpoint: Path) -> None:
    exported = headstand.convert(checkpoint, "float32")
    assert exported.bundle == checkpoint.with_suffix(".tflite") and exported.kind == "float32"
    found = headstand.evaluate(exported.bundle, split="validation")
    assert found.scores.count == 12
    of_folder = headstand.evaluate(exported.bundle, Path("data/shapes"), split="validation")
    assert of_folder.scores.accuracy == found.scores.accuracy
