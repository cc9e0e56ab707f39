from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from headstand.learn import plots
from headstand.learn.evaluation.score import evaluate

HISTORY = [
    {"loss": 1.0, "accuracy": 0.3, "val_loss": 1.1, "val_accuracy": 0.4},
    {"loss": 0.5, "accuracy": 0.6, "val_loss": 0.9, "val_accuracy": 0.5},
]


def test_curves_show_every_figure_and_the_kept_epoch() -> None:
    left, right = plots.curves(HISTORY, 2).axes
    for axes, key in ((left, "loss"), (right, "accuracy")):
        training, validation, kept = axes.lines
        assert list(training.get_xdata()) == [1, 2]
        assert list(training.get_ydata()) == [figures[key] for figures in HISTORY]
        assert list(validation.get_ydata()) == [figures[f"val_{key}"] for figures in HISTORY]
        assert kept.get_xdata()[0] == 2
        assert axes.get_ylabel() == key


def test_curves_without_validation() -> None:
    history = [{"loss": 1.0, "accuracy": 0.5}]
    assert [len(axes.lines) for axes in plots.curves(history, 1).axes] == [1, 1]


@pytest.mark.parametrize("classes", [2, 3, 66])
def test_confusion_writes_every_count(classes: int) -> None:
    rng = np.random.default_rng(0)
    labels = rng.integers(0, classes, 400)
    names = tuple(f"pose {number}" for number in range(classes))
    evaluation = evaluate(rng.dirichlet(np.ones(classes), 400), labels, names)
    (axes,) = plots.confusion(evaluation, names).axes
    counts = np.array(evaluation.confusion)
    assert sum(int(text.get_text()) for text in axes.texts) == 400
    for text in axes.texts:
        column, row = text.get_position()
        assert int(text.get_text()) == counts[row, column] > 0
    assert [label.get_text() for label in axes.get_yticklabels()] == list(names)
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("answer", "truth")
    assert f"{evaluation.accuracy:.3f} of 400" in axes.get_title()


def test_saved_as_png_in_one_step(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = plots.save(plots.curves(HISTORY, 1), tmp_path / "curves.png")
    with Image.open(path) as image:
        assert image.format == "PNG"
        assert image.width > 500
        assert len(image.convert("RGB").getcolors(2**24) or ()) > 10
    assert [file.name for file in tmp_path.iterdir()] == ["curves.png"]
