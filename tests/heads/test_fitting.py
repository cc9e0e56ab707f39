from pathlib import Path
from typing import Any

import numpy as np
import pytest

from headstand import heads
from headstand.features.cache import FeatureTable
from headstand.heads import FeatureSplit, Fit, epoch, fitting
from headstand.heads.epoch import EpochData
from headstand.recipe import Head
from tests.heads.test_head import blobs

SETTINGS = Head(inner=(8,), epochs=6, learning_rate=0.02, batch_size=7)
TRAIN, VALIDATION = blobs(30, 1, spread=1), blobs(15, 2, spread=1)


def changed(**values: Any) -> Head:
    return Head.model_validate({**SETTINGS.model_dump(), **values})


MANY = [
    SETTINGS,
    changed(learning_rate=0.2),
    changed(dropout=0.4),
    changed(inner=(20, 3), epochs=4),
    changed(inner=(5,), batch_norm=True, batch_size=9),
    changed(optimizer="sgd", momentum=0.9, schedule="cosine"),
    changed(patience=1),
    changed(activation="selu", label_smoothing=0.1, loss_from="probabilities"),
]


@pytest.fixture(scope="module")
def one_by_one() -> list[Fit]:
    return [heads.fit(head, TRAIN, VALIDATION, 3, seed=5) for head in MANY]


def test_parallel_training_equals_sequential_training(one_by_one: list[Fit]) -> None:
    for fit, alone in zip(heads.fit_many(MANY, TRAIN, VALIDATION, 3, seed=5), one_by_one, strict=True):
        assert fit.best_epoch == alone.best_epoch
        assert len(fit.history) == len(alone.history)
        for mine, its in zip(fit.history, alone.history, strict=True):
            assert mine == pytest.approx(its, rel=1e-4)
        for mine, its in zip(fit.model.get_weights(), alone.model.get_weights(), strict=True):
            np.testing.assert_allclose(mine, its, rtol=1e-4, atol=1e-5)


def test_settings_matter(one_by_one: list[Fit]) -> None:
    """Graphs are shared between heads, and must not carry one's values into another."""
    assert len({round(fit.history[1]["loss"], 4) for fit in one_by_one}) == len(MANY) - 1  # patience stops, no more
    assert one_by_one[0].history[: len(one_by_one[6].history)] == one_by_one[6].history


def test_after_fit_is_called_for_each_head(one_by_one: list[Fit]) -> None:
    results: dict[int, Fit] = {}
    fits = heads.fit_many(MANY[:3], TRAIN, VALIDATION, 3, 5, after_fit=results.__setitem__)
    assert sorted(results) == [0, 1, 2]
    assert all(results[index] is fit for index, fit in enumerate(fits))
    assert heads.fit_many([], TRAIN, VALIDATION, 3, 5) == []


def test_exception_of_the_callback_ends_the_training() -> None:
    results: list[int] = []

    def stop(index: int, fit: Fit) -> None:
        results.append(index)
        raise KeyboardInterrupt

    long = [changed(epochs=1_000_000, learning_rate=rate) for rate in (0.1, 0.2, 0.3, 0.4)]
    with pytest.raises(KeyboardInterrupt):
        heads.fit_many([changed(epochs=1), *long], TRAIN, VALIDATION, 3, 5, after_fit=stop)
    assert results == [0]  # and those in flight were not waited for


def test_a_graph_serves_all_sizes_and_values() -> None:
    epoch.training.cache_clear()
    for head in (SETTINGS, changed(inner=(3,)), changed(learning_rate=0.5), changed(batch_size=4), changed(epochs=2)):
        heads.fit(head, TRAIN, VALIDATION, 3, 1)
    assert epoch.training.cache_info().currsize == 1
    graph = epoch.training(epoch.graph_key(SETTINGS, views=False))
    assert graph.__wrapped__.experimental_get_tracing_count() == 1


@pytest.mark.parametrize("optimizer", ["adam", "sgd"])
def test_the_result_does_not_depend_on_what_was_trained_before(optimizer: str) -> None:
    """A resumed search, in a process of its own, must end as the whole one did."""

    def split(count: int, width: int) -> FeatureSplit:
        features = np.random.default_rng(count).normal(size=(count, width)).astype(np.float32)
        return FeatureSplit(features, np.arange(count, dtype=np.int32) % 3)

    head = Head(inner=(8,), epochs=12, learning_rate=0.02, batch_size=8, batch_norm=True)
    histories = []
    for before in ([], [(500, 300), (100, 300)]):
        for graphs in (epoch.training, epoch.statistics, epoch.validation):
            graphs.cache_clear()
        if before:
            other = head.model_copy(update={"optimizer": optimizer})
            heads.fit(other, *(split(*size) for size in before), 3, 0)
        histories.append(heads.fit(head, split(24, 12), split(15, 12), 3, 0).history)
    assert histories[0] == histories[1]


def test_the_gradient_norm_is_the_largest_of_the_epochs_steps() -> None:
    """With SGD the weights themselves tell: one step an epoch moves them by rate times gradient."""
    head = Head(inner=(), optimizer="sgd", learning_rate=0.1, epochs=1, batch_size=30)
    before = heads.build(head, 4, 3, 2).get_weights()
    fit = heads.fit(head, TRAIN, VALIDATION, 3, 2)
    moved = np.sqrt(sum(((a - b) ** 2).sum() for a, b in zip(before, fit.model.get_weights(), strict=True)))
    assert fit.history[0]["gradient_norm"] == pytest.approx(moved / 0.1, rel=1e-3)
    norms = []
    for size in (10, 30):
        norms.append(heads.fit(head.model_copy(update={"batch_size": size}), TRAIN, VALIDATION, 3, 2).history[0])
    assert norms[0]["gradient_norm"] > norms[1]["gradient_norm"]


def test_non_finite_gradient_norm_is_recorded() -> None:
    poisoned = FeatureSplit(TRAIN.features.copy(), TRAIN.labels)
    poisoned.features[0, 0] = np.nan
    assert np.isnan(heads.fit(SETTINGS, poisoned, VALIDATION, 3, 1).history[0]["gradient_norm"])


def test_learning_rate_of_each_epoch_is_recorded() -> None:
    fit = heads.fit(changed(schedule="cosine", epochs=4), TRAIN, VALIDATION, 3, 1)
    rates = [figures["learning_rate"] for figures in fit.history]
    assert rates == pytest.approx([0.02 * (1 + np.cos(np.pi * done / 4)) / 2 for done in range(4)], rel=1e-5)


def test_patience_stops_after_so_many_epochs_without_a_better_one() -> None:
    whole = heads.fit(changed(epochs=40), TRAIN, VALIDATION, 3, 1)
    for patience in (1, 3, 8):
        fit = heads.fit(changed(epochs=40, patience=patience), TRAIN, VALIDATION, 3, 1)
        assert fit.history == whole.history[: len(fit.history)]
        assert len(fit.history) == fit.best_epoch + patience < 40
        ranks = [heads.rank(figures) for figures in fit.history]
        assert ranks.index(max(ranks)) + 1 == fit.best_epoch


@pytest.mark.parametrize(
    "settings",
    [
        {"schedule": "constant"},
        {"schedule": "cosine"},
        {"schedule": "plateau", "learning_rate": 0.3},
        {"patience": 2, "epochs": 40},
        {"batch_norm": True, "dropout": 0.2},
    ],
    ids=str,
)
def test_a_refit_repeats_the_selected_epochs(settings: dict[str, Any]) -> None:
    """On the same rows it is the selected head: as many epochs, with the learning rates that they had."""
    head = changed(**{"epochs": 12, **settings})
    fit = heads.fit(head, TRAIN, VALIDATION, 3, 1)
    again = heads.refit(head, TRAIN, 3, 1, fit)
    assert len(again.history) == again.best_epoch == fit.best_epoch <= len(fit.history)
    for mine, its in zip(again.model.get_weights(), fit.model.get_weights(), strict=True):
        np.testing.assert_allclose(mine, its, rtol=1e-5, atol=1e-6)
    for metrics, before in zip(again.history, fit.history, strict=False):
        assert set(metrics) == {"loss", "accuracy", "learning_rate", "gradient_norm"}
        assert metrics["learning_rate"] == before["learning_rate"]


def test_a_refit_selects_nothing_by_its_own_accuracy() -> None:
    """Its training accuracy is highest after an earlier epoch, and patience would have stopped it."""
    head = changed(epochs=9, learning_rate=0.5, patience=1)
    selected = Fit(
        [{"val_loss": 1.0, "val_accuracy": 0.5}] * 9, 8, np.zeros(0, bool), lambda: heads.build(head, 4, 3, 1)
    )
    again = heads.refit(head, TRAIN, 3, 1, selected)
    accuracies = [metrics["accuracy"] for metrics in again.history]
    assert len(accuracies) == again.best_epoch == 8
    assert max(accuracies[:-1]) > accuracies[-1]


def mapped(folder: Path, split: FeatureSplit) -> FeatureSplit:
    with FeatureTable(folder, len(split.labels), split.features.shape[1]) as rows:
        rows.write(0, split.features)
        return FeatureSplit(rows.mapped(), split.labels)


def test_features_on_disk_are_not_copied_into_memory(tmp_path: Path, one_by_one: list[Fit]) -> None:
    train, validation = mapped(tmp_path, TRAIN), mapped(tmp_path, VALIDATION)

    def tensors(split: FeatureSplit) -> EpochData:
        return fitting._tensors(split, None, standardise=False).train

    assert np.shares_memory(memoryview(tensors(train).features), train.features)
    viewed = FeatureSplit(TRAIN.features, TRAIN.labels, train.features.reshape(1, *train.features.shape))
    assert np.shares_memory(memoryview(tensors(viewed).views), train.features)
    # An array that the caller may change is copied.
    assert not np.shares_memory(memoryview(tensors(TRAIN).features), TRAIN.features)
    fit = heads.fit(SETTINGS, train, validation, 3, seed=5)
    assert fit.history == one_by_one[0].history


def test_views_are_drawn_by_row_and_epoch() -> None:
    """Originals say nothing, one view says what is true, the other what is false: the loss tells the draws."""
    count = 900
    labels = (np.arange(count) % 2).astype(np.int32)
    true = np.eye(2, dtype=np.float32)[labels]
    nothing = np.zeros_like(true)
    settings = Head(inner=(), optimizer="sgd", learning_rate=0.5, epochs=60, batch_size=900, class_weights=False)
    validation = FeatureSplit(np.eye(2, dtype=np.float32), np.array([0, 1], np.int32))

    def last_loss(originals: np.ndarray, views: list[np.ndarray]) -> list[float]:
        fit = heads.fit(settings, FeatureSplit(originals, labels, np.stack(views) if views else None), validation, 2, 1)
        return [figures["val_loss"] for figures in fit.history]

    plain = last_loss(true, [])
    assert last_loss(true, [true, true]) == pytest.approx(plain)
    half = last_loss(true, [nothing])
    assert last_loss(nothing, [true]) != half  # drawn, not averaged
    third = last_loss(true, [nothing, 1 - true])
    assert plain[-1] < half[-1] < third[-1]
    # As often true as false: nothing is learnt.
    assert third[-1] == pytest.approx(np.log(2), abs=0.02)
    assert last_loss(true, [nothing]) == half


def test_views_are_not_for_validation(one_by_one: list[Fit]) -> None:
    viewed = FeatureSplit(VALIDATION.features, VALIDATION.labels, np.full((2, 15, 4), 9, np.float32))
    assert heads.fit(SETTINGS, TRAIN, viewed, 3, 5).history == one_by_one[0].history
