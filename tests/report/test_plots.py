from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from headstand.evaluation.calibration import Reliability
from headstand.evaluation.metrics import evaluate
from headstand.report import plots

HISTORY = [
    {"loss": 1.0, "accuracy": 0.3, "val_loss": 1.1, "val_accuracy": 0.4},
    {"loss": 0.5, "accuracy": 0.6, "val_loss": 0.9, "val_accuracy": 0.5},
]


@pytest.mark.parametrize("key", ["loss", "accuracy"])
def test_a_curve_shows_every_figure_and_the_kept_epoch(key: str) -> None:
    (axes,) = plots.curve(HISTORY, 2, key).axes
    training, validation, kept = axes.lines
    assert list(training.get_xdata()) == [1, 2]
    assert list(training.get_ydata()) == [figures[key] for figures in HISTORY]
    assert list(validation.get_ydata()) == [figures[f"val_{key}"] for figures in HISTORY]
    assert kept.get_xdata()[0] == 2
    assert axes.get_ylabel() == key
    assert all(tick == round(tick) for tick in axes.get_xticks())


def test_a_curve_of_one_epoch_without_validation() -> None:
    (axes,) = plots.curve([{"loss": 1.0, "accuracy": 0.5}], 1, "loss").axes
    assert len(axes.lines) == 1
    assert list(axes.get_xticks()) == [1]


def test_calibration_and_coverage_show_every_bin() -> None:
    found = Reliability(0.05, (0.01, 0.04), [(0.5, 0.4, 10), (0.9, 0.95, 30)], 0.2, [(0.5, 1.0), (1.0, 0.8)])
    (stated,) = plots.reliability(found, 0.7).axes
    assert stated.collections[0].get_offsets().tolist() == [[0.5, 0.4], [0.9, 0.95]]
    assert stated.lines[-1].get_xdata()[0] == 0.7
    assert stated.get_title() == "ECE 0.050; by chance up to 0.040"
    assert len(plots.reliability(found, 0.0).axes[0].lines) == len(stated.lines) - 1
    (covered,) = plots.coverage(found).axes
    assert [list(values) for values in covered.lines[0].get_data()] == [[0.5, 1.0], [1.0, 0.8]]


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
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("predicted class", "true class")
    assert axes.get_title() == f"accuracy {evaluation.accuracy:.3f} on 400 photos"


def test_saved_as_png_in_one_step(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = plots.save(plots.curve(HISTORY, 1, "loss"), tmp_path / "loss.png")
    with Image.open(path) as image:
        assert image.format == "PNG"
        assert image.width > 400
        assert len(image.convert("RGB").getcolors(2**24) or ()) > 10
    assert [file.name for file in tmp_path.iterdir()] == ["loss.png"]
