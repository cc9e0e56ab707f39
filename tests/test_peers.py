"""Figures and resumption of `python -m benchmarks.peers`, and its ways that need no optional packages."""

from pathlib import Path

import numpy as np
import pytest

from benchmarks import peers
from benchmarks.peers import Result, Task
from headstand.preparation.manifest import Dataset
from tests import photos

TRUTH = [0] * 4 + [1] * 4 + [2] * 4
"""Class indices of the test photos of `tests.photos`."""


def result(wrong: tuple[int, ...], seconds: float = 60.0, megabytes: float = 8.0) -> Result:
    """Returns a result that is right on all test photos but those of the given indices."""
    predicted = [(label + (index in wrong)) % 3 for index, label in enumerate(TRUTH)]
    return Result(predicted, seconds, megabytes)


FOUND = {"Headstand": result((0, 5)), "timm": result((0, 1, 2, 3, 4, 6, 7, 8, 9, 10), 66.6, 16.04)}


def test_the_table_has_intervals_and_paired_differences(dataset: Dataset) -> None:
    assert peers.table(dataset, FOUND).splitlines() == [
        "| | accuracy | 95 % interval | to Headstand | 95 % interval | seconds | MB |",
        "|---|---|---|---|---|---|---|",
        "| Headstand | 0.833 | 0.552 to 0.953 |  |  | 60 | 8.0 |",
        "| timm | 0.167 | 0.047 to 0.448 | -0.667 | -0.953 to -0.190 | 67 | 16.0 |",
    ]


def test_the_means_count_the_differences_beyond_noise(dataset: Dataset) -> None:
    level = {"Headstand": result((0,), 70, 9), "timm": result((1,), 61.4, 16.04)}
    assert peers.means([(dataset, FOUND), (dataset, level)]).splitlines() == [
        "| mean | accuracy | to Headstand | better | worse | seconds | MB |",
        "|---|---|---|---|---|---|---|",
        "| Headstand | 0.875 |  |  |  | 65 | 8.5 |",
        "| timm | 0.542 | -0.333 | 0 | 1 | 64 | 16.0 |",
    ]


def test_an_interrupted_comparison_continues_with_the_missing_results(dataset: Dataset, tmp_path: Path) -> None:
    weights, store, ran = tmp_path / "weights", tmp_path / "peers.json", list[tuple[str, int]]()
    weights.write_bytes(b"weights")

    def run(way: str, task: Task) -> Result:
        ran.append((way, task.seed))
        if len(ran) == 2:
            raise KeyboardInterrupt
        return FOUND[way]

    task = Task(dataset.folder, weights, 1, 10)
    with pytest.raises(KeyboardInterrupt):
        peers.results(task, list(FOUND), store, run)
    assert peers.results(task, list(FOUND), store, run) == FOUND
    assert ran == [("Headstand", 1), ("timm", 1), ("timm", 1)]
    assert peers.results(task, list(FOUND), store, run) == FOUND
    assert len(ran) == 3
    peers.results(Task(dataset.folder, weights, 2, 10), ["timm"], store, run)
    weights.write_bytes(b"other weights")
    peers.results(task, ["timm"], store, run)
    assert ran[3:] == [("timm", 2), ("timm", 1)]


@pytest.fixture
def task(workplace: Path, monkeypatch: pytest.MonkeyPatch) -> Task:
    """A task on the photos of shapes with a small network of 1,160 weights; its time is over after the first batch."""
    from tests import networks

    for variable in ("HEADSTAND_CACHE", "HEADSTAND_RUNS"):  # restored after the test
        monkeypatch.setenv(variable, str(workplace))
    dataset = photos.prepare(workplace / "shapes")
    networks.keras.utils.set_random_seed(1)
    network = networks.tiny(False, None, (224, 224, 3))
    network.save(workplace / "tiny.keras")
    return Task(dataset.folder, workplace / "tiny.keras", 1, 0.001)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("way", "least", "weights"), [("scikit-learn", 12, 1160 + 3 * 12), ("Keras guide", 0, 1160 + 3 * 12 + 3)]
)
def test_ways_on_keras(task: Task, way: str, least: int, weights: int) -> None:
    found = peers.perform(way, task)
    assert len(found.predicted) == 12 and set(found.predicted) <= {0, 1, 2}
    assert np.equal(found.predicted, TRUTH).sum() >= least
    assert found.megabytes == pytest.approx(4 * weights / 1e6)


@pytest.mark.slow
def test_headstand_trains_on_the_prepared_splits(task: Task) -> None:
    found = peers.perform("Headstand", task)
    assert np.equal(found.predicted, TRUTH).all()
    assert 0.005 < found.megabytes < 0.1


def test_the_epoch_with_the_highest_validation_accuracy_is_kept() -> None:
    from benchmarks.peers_keras import Clock

    class Model:
        stop_training = False

        def get_weights(self) -> float:
            return accuracy

    clock, model = Clock(deadline=float("inf")), Model()
    clock.set_model(model)
    for epoch, accuracy in enumerate((0.5, 0.7, 0.7, 0.6)):
        clock.on_train_batch_end(0)
        clock.on_epoch_end(epoch, {"val_accuracy": accuracy})
    assert clock.weights == 0.7 and not model.stop_training
    clock.deadline = 0.0
    clock.on_train_batch_end(0)
    assert model.stop_training
