from pathlib import Path

import numpy as np
from PIL import Image

from headstand.report import search_plots as plots
from headstand.stats import wilson
from tests.heads.search.test_trial_table import TRIALS, trial


def points(collection: object) -> list[list[float]]:
    return collection.get_offsets().tolist()


def test_the_history_shows_every_trial_the_best_so_far_and_its_interval() -> None:
    (axes,) = plots.history(TRIALS, 100, 0.85).axes
    so_far = next(line for line in axes.lines if line.get_label() == "best so far")
    assert so_far.get_ydata().tolist() == [0.8, 0.9, 0.9, 0.9, 0.9]  # the pruned one's 0.95 does not count
    baseline = next(line for line in axes.lines if line.get_label() == "baseline")
    assert set(baseline.get_ydata()) == {0.85}
    by_label = {collection.get_label(): collection for collection in axes.collections}
    assert points(by_label["trial"]) == [[1, 0.8], [2, 0.9], [4, 0.87], [5, 0.9]]
    assert points(by_label["stopped early"]) == [[3, 0.95]]
    (band,) = [patch for patch in axes.patches if patch.get_label().startswith("95 % interval")]
    low, high = wilson(90, 100)
    np.testing.assert_allclose([band.get_y(), band.get_y() + band.get_height()], [low, high])
    # A line where the second stage begins.
    assert [line.get_xdata()[0] for line in axes.lines if line.get_linestyle() == ":"] == [4.5]


def test_legend_omits_missing_baseline_and_pruning() -> None:
    (axes,) = plots.history(TRIALS[:2], 100, None).axes
    labels = [text.get_text() for text in axes.figure.legends[0].get_texts()]
    assert labels == ["95 % interval of the best", "best so far", "trial"]


def test_each_parameter_has_a_slice() -> None:
    trials = [
        trial(1, 0.5, learning_rate=0.1),
        trial(2, 0.6, learning_rate=0.01),
        trial(1, 0.7, stage=2, inner=(50,)),
        trial(2, 0.8, stage=2, inner=(6, 5)),
        trial(3, 0.9, stage=2, inner=()),
    ]
    first, second = plots.slices(trials, None).axes
    assert (first.get_xlabel(), second.get_xlabel()) == ("learning rate", "inner")
    assert [label.get_text() for label in first.get_xticklabels()] == ["0.01", "0.1"]
    assert points(first.collections[1]) == [[1, 0.5], [0, 0.6]]
    assert [label.get_text() for label in second.get_xticklabels()] == ["50", "6+5", "none"]
    assert points(second.collections[-1]) == [[2, 0.9]]  # the winner's ring
    assert len(first.collections) == 2


def test_many_numbers_have_a_numeric_axis() -> None:
    rates = np.geomspace(1e-4, 0.1, 9)
    trials = [trial(index, 0.5, learning_rate=rate, dropout=index / 20) for index, rate in enumerate(rates, start=1)]
    first, second = plots.slices(trials, 0.4).axes
    assert (first.get_xscale(), second.get_xscale()) == ("log", "linear")
    np.testing.assert_allclose([x for x, _ in points(first.collections[1])], rates)
    assert first.lines[0].get_ydata()[0] == 0.4
    first.figure.canvas.draw()
    labels = [label.get_text() for label in first.get_xticklabels()]
    assert {"0.0001", "0.001", "0.01", "0.1"} <= set(labels)


def test_legend_of_the_slices_has_each_label_once() -> None:
    (legend,) = plots.slices(TRIALS, 0.85).legends
    names = [text.get_text() for text in legend.get_texts()]
    assert sorted(names) == ["baseline", "best", "stopped early", "trial"]


def test_plots_are_written(tmp_path: Path) -> None:
    trials = [trial(index, 0.5 + index / 50, dropout=index / 20, epochs=1 + index % 2) for index in range(1, 9)]
    plots.write(tmp_path, trials, 50, 0.4)
    names = ["search_history.png", "search_importance.png", "search_slices.png"]
    assert sorted(path.name for path in tmp_path.iterdir()) == names
    for name in names:
        with Image.open(tmp_path / name) as image:
            assert image.format == "PNG"
            assert min(image.size) > 100
