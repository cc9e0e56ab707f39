import shutil
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from headstand import finetune
from headstand.finetune.callbacks import CheckpointCallback, ProgressBarCallback, TimingCallback
from headstand.heads import checkpoint
from headstand.heads.checkpoint import CheckpointError
from headstand.preparation.manifest import Dataset
from headstand.tracking.timing import Stopwatch
from tests import networks
from tests.finetune.tuned import (
    PARTLY,
    PLAIN,
    SETTINGS,
    VIEWS,
    Cut,
    checkpoints,
    cut_after_state,
    cut_before_state,
    cut_within_epoch,
    data,
    tune,
)
from tests.networks import keras
from tests.photos import prepare

pytestmark = pytest.mark.usefixtures("small_networks", "eager")


@pytest.mark.parametrize("validated", [True, False])
def test_moving_average_of_the_weights_is_saved(
    dataset: Dataset, monkeypatch: pytest.MonkeyPatch, validated: bool
) -> None:
    momentum = 0.7
    steps: list[list[np.ndarray]] = []
    kept: dict[str, list[np.ndarray]] = {}
    real_batch, real_save = ProgressBarCallback.on_train_batch_end, checkpoint.save

    def batch(self: Any, number: int, logs: Any = None) -> None:
        real_batch(self, number, logs)
        steps.append([variable.numpy() for variable in self.model.trainable_variables])

    def save(model: keras.Model, path: Path, about: checkpoint.ModelMetadata) -> Path:
        kept[path.name] = [variable.numpy() for variable in model.trainable_variables]
        return real_save(model, path, about)

    monkeypatch.setattr(ProgressBarCallback, "on_train_batch_end", batch)
    monkeypatch.setattr(checkpoint, "save", save)
    settings = SETTINGS.model_copy(update={"ema": momentum})
    tuned = tune(networks.classifier(), dataset, Path("run"), settings, validated)
    each = len(steps) // settings.epochs
    average = steps[0]
    for weights in steps[1 : each * tuned.best_epoch]:
        average = [momentum * a + (1 - momentum) * w for a, w in zip(average, weights, strict=True)]
    for found, wanted in zip(kept[tuned.checkpoint.name], average, strict=True):
        np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-6)
    # The averages are not what training goes on with.
    assert any(abs(f - w).max() > 1e-5 for f, w in zip(average, steps[each * tuned.best_epoch - 1], strict=True))


def test_weights_are_saved_without_moving_average(dataset: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    last: list[np.ndarray] = []
    real = ProgressBarCallback.on_train_batch_end

    def batch(self: Any, number: int, logs: Any = None) -> None:
        real(self, number, logs)
        last[:] = [variable.numpy() for variable in self.model.trainable_variables]

    monkeypatch.setattr(ProgressBarCallback, "on_train_batch_end", batch)
    settings = SETTINGS.model_copy(update={"epochs": 1, "ema": 0.0})
    tuned = tune(networks.classifier(), dataset, Path("run"), settings, validated=False)
    kernel, bias = checkpoint.load(tuned.checkpoint).get_layer("logits").get_weights()
    assert np.array_equal(last[-2], kernel) and np.array_equal(last[-1], bias)


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory) -> tuple[finetune.FinetuneResult, list[np.ndarray]]:
    folder = tmp_path_factory.mktemp("uninterrupted")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(keras.applications, "MobileNet", networks.tiny)
        real = keras.Model.compile
        patch.setattr(keras.Model, "compile", lambda self, *rest, **more: real(self, *rest, **more, run_eagerly=True))
        model = networks.classifier()
        tuned = tune(model, prepare(folder / "data" / "shapes"), folder / "whole")
    return tuned, model.get_weights()


@pytest.mark.parametrize(
    ("cut", "epoch"),
    [(cut_within_epoch, 2), (cut_before_state, 2), (cut_after_state, 1)],
)
def test_a_resumed_run_ends_like_an_uninterrupted_one(
    dataset: Dataset,
    uninterrupted: tuple[finetune.FinetuneResult, list[np.ndarray]],
    monkeypatch: pytest.MonkeyPatch,
    cut: Any,
    epoch: int,
) -> None:
    with monkeypatch.context() as patch, pytest.raises(Cut):
        cut(patch, epoch)
        tune(networks.classifier(), dataset, Path("run"))
    model = networks.classifier()
    tuned = tune(model, dataset, Path("run"))
    whole, weights = uninterrupted
    assert tuned.best_epoch == whole.best_epoch
    assert tuned.checkpoint.name == whole.checkpoint.name
    for one, other in zip(tuned.history, whole.history, strict=True):
        assert one == pytest.approx(other, abs=1e-4)
    for one, other in zip(model.get_weights(), weights, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-4)
    kept, wanted = (checkpoint.load(one.checkpoint).get_weights() for one in (tuned, whole))
    for one, other in zip(kept, wanted, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-4)
    assert not list(Path("run").glob("part-*"))


def test_finished_run_is_not_trained_again(
    dataset: Dataset,
    uninterrupted: tuple[finetune.FinetuneResult, list[np.ndarray]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    first, weights = uninterrupted
    shutil.copytree(first.checkpoint.parent, "run")
    monkeypatch.setattr(keras.Model, "fit", lambda *_, **__: pytest.fail("it trained"))
    model = networks.classifier()
    assert tune(model, dataset, Path("run")) == replace(first, checkpoint=Path("run", first.checkpoint.name))
    for one, other in zip(model.get_weights(), weights, strict=True):
        np.testing.assert_array_equal(one, other)


def test_without_validation_the_last_epoch_is_kept(dataset: Dataset) -> None:
    model = networks.classifier()
    tuned = tune(model, dataset, Path("run"), validated=False)
    assert tuned.checkpoint == Path("run/shapes_02_all.h5")
    assert tuned.best_epoch == 2
    assert set(tuned.history[0]) == {"loss", "accuracy", "learning_rate", "gradient_norm"}
    assert checkpoints(Path("run")) == ["shapes_02_all.h5"]
    for one, other in zip(checkpoint.load(tuned.checkpoint).get_weights(), model.get_weights(), strict=True):
        assert np.array_equal(one, other)


def test_non_finite_loss_is_never_selected(dataset: Dataset) -> None:
    callback = CheckpointCallback(Path("run"), networks.about(), 3, networks.classifier(), "accuracy")
    nan = float("nan")
    callback.history = [
        {"val_accuracy": 0.9, "val_loss": nan},
        {"val_accuracy": 0.4, "val_loss": 1.0},
        {"val_accuracy": 0.9, "val_loss": nan},
    ]
    assert callback.best_epoch == 2


@pytest.mark.parametrize(("selection", "epoch"), [("accuracy", 2), ("log_loss", 3), (None, 4)])
def test_the_epoch_is_selected_by_the_criterion_of_the_run(selection: Any, epoch: int) -> None:
    callback = CheckpointCallback(Path("run"), networks.about(), 4, networks.classifier(), selection)
    figures = [(0.5, 0.9), (0.8, 0.6), (0.7, 0.4), (0.8, 0.7)]
    callback.history = [{"val_accuracy": accuracy, "val_loss": loss} for accuracy, loss in figures]
    assert callback.best_epoch == epoch


def test_full_disk_is_reported_and_the_last_state_is_kept(dataset: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    real, calls = keras.Model.save_weights, []

    def save(self: keras.Model, path: Path, overwrite: bool = True) -> None:
        calls.append(path)
        if len(calls) == 2:
            path.write_bytes(b"half")
            raise OSError(28, "Can't synchronously write data\n(two lines of it)")
        real(self, path, overwrite=overwrite)

    with monkeypatch.context() as patch, pytest.raises(CheckpointError) as caught:
        patch.setattr(keras.Model, "save_weights", save)
        tune(networks.classifier(), dataset, Path("run"))
    assert str(caught.value) == "cannot write run/tuning.weights.h5: No space left on device"
    assert not list(Path("run").glob("part-*"))
    assert len(tune(networks.classifier(), dataset, Path("run")).history) == 2


@pytest.mark.parametrize("cut", [cut_within_epoch, cut_before_state, cut_after_state])
@pytest.mark.slow
def test_a_partly_frozen_run_resumes_too(dataset: Dataset, monkeypatch: pytest.MonkeyPatch, cut: Any) -> None:
    wanted = networks.classifier()
    whole = tune(wanted, dataset, Path("whole"), PARTLY, augmentation=VIEWS)
    with monkeypatch.context() as patch, pytest.raises(Cut):
        cut(patch, 2)
        tune(networks.classifier(), dataset, Path("run"), PARTLY, augmentation=VIEWS)
    model = networks.classifier()
    tuned = tune(model, dataset, Path("run"), PARTLY, augmentation=VIEWS)
    assert tuned.checkpoint.name == whole.checkpoint.name
    for one, other in zip(tuned.history, whole.history, strict=True):
        assert one == pytest.approx(other, abs=1e-4)
    for one, other in zip(model.get_weights(), wanted.get_weights(), strict=True):
        np.testing.assert_allclose(one, other, atol=1e-4)


def test_waiting_and_computing_are_timed_separately(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter([0.0, 10.0, 11.0, 13.0, 14.0, 20.0, 22.0])
    monkeypatch.setattr("time.perf_counter", lambda: next(clock))
    batches, stopwatch = SimpleNamespace(ready={0: -1.0}), Stopwatch()
    callback = TimingCallback(batches, stopwatch)  # type: ignore[arg-type]
    callback.on_epoch_begin(0)
    assert batches.ready == {}
    batches.ready |= {0: 9.5, 1: 9.9, 2: 12.5, 3: 12.6}
    for batch in range(4):  # ends at 10, 11, 13 and 14; the third is waited for from 11 to 12.5
        callback.on_train_batch_end(batch)
    callback.on_test_begin()
    callback.on_test_end()
    assert stopwatch.seconds == {"compiling": 10.0, "waiting for photos": 1.5, "network": 2.5, "validation": 2.0}


def test_fine_tuning_reports_its_time_and_every_epoch(dataset: Dataset) -> None:
    stopwatch, epochs = Stopwatch(), []
    folder = Path("run")
    folder.mkdir()
    finetune.run(
        networks.classifier(), data(dataset, "train"), SETTINGS, PLAIN, 1, folder, networks.about(dataset.digest), None,
        stopwatch, lambda history: epochs.append(len(history)),
    )  # fmt: skip
    assert epochs == [1, 2]
    assert set(stopwatch.seconds) == {"compiling", "waiting for photos", "network"}
