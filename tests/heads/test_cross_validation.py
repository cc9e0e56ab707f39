"""Cross-validation of heads: folds that keep groups together, figures of held-out photos, and the selection rule."""

from dataclasses import replace

import numpy as np
import pytest

from headstand import heads
from headstand.heads import FeatureSplit, cross_validation, linear
from headstand.recipe import Head
from tests.heads.test_linear import noisy

HEAD = Head(inner=(8,), epochs=3, learning_rate=0.01, class_weights=False)

LINEAR = HEAD.model_copy(update={"inner": (), "optimizer": "lbfgs"})


def halves(count: int = 90, classes: int = 3) -> tuple[FeatureSplit, FeatureSplit, FeatureSplit]:
    """Returns train, validation, and both together."""
    data = noisy(count, 6, 1, classes)
    cut = count * 2 // 3
    train, validation = (
        FeatureSplit(data.features[part], data.labels[part]) for part in (slice(cut), slice(cut, None))
    )
    return train, validation, data


def test_each_photo_is_held_out_once_and_groups_stay_together() -> None:
    train, validation, _ = halves()
    groups = np.arange(90) // 3
    folds = cross_validation.split_folds(train, validation, groups, 1)
    assert len(folds) == 5
    assert sorted(np.concatenate([held_out for _, held_out in folds]).tolist()) == list(range(90))
    for training, held_out in folds:
        assert not set(groups[training]) & set(groups[held_out])
        assert len(training) + len(held_out) == 90
    again = cross_validation.split_folds(train, validation, groups, 1)
    other = cross_validation.split_folds(train, validation, groups, 2)
    assert all((one[1] == two[1]).all() for one, two in zip(folds, again, strict=True))
    assert any(len(one[1]) != len(two[1]) or (one[1] != two[1]).any() for one, two in zip(folds, other, strict=True))


@pytest.mark.parametrize("reason", ["many rows", "few groups"])
def test_validation_is_the_only_fold_otherwise(reason: str, monkeypatch: pytest.MonkeyPatch) -> None:
    train, validation, _ = halves()
    groups = np.arange(90) if reason == "many rows" else np.arange(90) % 4
    if reason == "many rows":
        monkeypatch.setattr(cross_validation, "MOST", 89)
    ((training, held_out),) = cross_validation.split_folds(train, validation, groups, 1)
    assert training.tolist() == list(range(60)) and held_out.tolist() == list(range(60, 90))


def test_logistic_regression_selects_the_strongest_penalty_of_the_indistinguishable(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    train, validation, data = halves()
    folds = cross_validation.split_folds(train, validation, np.arange(90), 1)
    probabilities = []
    # Two penalties in a row that are no better than 0.6 on average end the path before the best one.
    for right in (0.4, 0.6, [0.7, 0.5], 0.59, 0.9):
        one = np.full((90, 3), 0.1, np.float32)
        one[np.arange(90), data.labels] = np.resize(np.array(right, np.float32), 90)
        probabilities.append(one)
    strengths = (0.5, 0.4, 0.3, 0.2, 0.1)
    monkeypatch.setattr(linear, "STRENGTHS", strengths)
    monkeypatch.setattr(linear, "cross_validate", lambda *_: iter(probabilities))
    found = cross_validation.logistic_regression(HEAD, data, folds, 3)
    assert found.head == Head(
        inner=(), optimizer="lbfgs", weight_decay=0.4, class_weights=False, epochs=3, learning_rate=0.01
    )
    assert found.losses == pytest.approx(np.full(90, -np.log(0.6)), rel=1e-6)
    assert found.accuracy == 1
    fixed = cross_validation.logistic_regression(LINEAR.model_copy(update={"weight_decay": 0.1}), data, folds, 3)
    assert fixed.losses == pytest.approx(np.full(90, -np.log(0.9)), rel=1e-6)


def test_logistic_regression_is_scored_on_photos_held_out() -> None:
    train, validation, data = halves()
    folds = cross_validation.split_folds(train, validation, np.arange(90), 1)
    found = cross_validation.logistic_regression(HEAD, data, folds, 3)
    assert found.head.weight_decay in linear.STRENGTHS
    fixed = cross_validation.logistic_regression(found.head, data, folds, 3)
    assert found.losses.tolist() == fixed.losses.tolist()
    assert (found.folds, len(found.losses), len(found.correct)) == (5, 90, 90)
    wrong = data.labels.copy()
    wrong[folds[0][1]] = (wrong[folds[0][1]] + 1) % 3
    other = cross_validation.logistic_regression(found.head, replace(data, labels=wrong), folds, 3)
    ours = slice(0, len(folds[0][1]))  # the photos of the first fold, whose own labels do not change the model
    right = np.exp(-found.losses[ours])
    assert (np.exp(-other.losses[ours]) <= 1 - right + 1e-6).all()


def test_the_weight_decay_of_another_optimizer_is_no_penalty() -> None:
    train, validation, data = halves()
    folds = cross_validation.split_folds(train, validation, np.arange(90), 1)
    decayed = Head(inner=(8,), optimizer="adamw", weight_decay=1.0, dropout=0.5, label_smoothing=0.1, momentum=0.0)
    found = cross_validation.logistic_regression(decayed, data, folds, 3)
    plain = cross_validation.logistic_regression(Head(inner=()), data, folds, 3)
    assert found.head.weight_decay == plain.head.weight_decay in linear.STRENGTHS
    assert found.losses.tolist() == plain.losses.tolist()


def test_a_single_fold_has_the_figures_of_validation() -> None:
    train, validation, data = halves()
    fold = [(np.arange(60), np.arange(60, 90))]
    selected = heads.fit(HEAD, train, validation, 3, 1)
    found = cross_validation.trained(HEAD, selected, data, fold, 3, 1)
    again = heads.refit(HEAD, train, 3, 1, selected)
    probabilities = heads.probabilities(again.model, validation.features)
    assert found.losses == pytest.approx(-np.log(probabilities[np.arange(30), validation.labels]), rel=1e-5)
    assert found.correct.tolist() == (probabilities.argmax(axis=1) == validation.labels).tolist()
    assert found.spread == 0


def test_validated_figures_are_those_of_the_trained_head() -> None:
    train, validation, _ = halves()
    fit = heads.fit(HEAD, train, validation, 3, 1)
    found = cross_validation.validated(HEAD, fit, validation)
    assert found.losses.mean() == pytest.approx(fit.best["val_loss"], rel=1e-5)
    assert found.accuracy == pytest.approx(fit.best["val_accuracy"])
    assert (found.folds, found.spread) == (1, 0)


def test_held_out_photos_do_not_affect_their_own_prediction() -> None:
    train, validation, data = halves()
    folds = cross_validation.split_folds(train, validation, np.arange(90), 1)
    selected = heads.fit(HEAD, train, validation, 3, 1)
    found = cross_validation.trained(HEAD, selected, data, folds, 3, 1)
    wrong = data.labels.copy()
    wrong[folds[0][1]] = (wrong[folds[0][1]] + 1) % 3
    other = cross_validation.trained(HEAD, selected, replace(data, labels=wrong), folds, 3, 1)
    first = slice(len(folds[0][1]))
    assert not np.allclose(found.losses[first], other.losses[first])
    # The other way round: photos of the other folds were trained with the wrong labels.
    assert not np.allclose(found.losses[len(folds[0][1]) :], other.losses[len(folds[0][1]) :])
    assert found.spread == pytest.approx(
        np.std([found.correct[start : start + len(rows)].mean() for start, rows in _positions(folds)])
    )


def _positions(folds: cross_validation.Folds) -> list[tuple[int, np.ndarray]]:
    starts = np.cumsum([0, *(len(held_out) for _, held_out in folds)])
    return [(int(start), held_out) for start, (_, held_out) in zip(starts, folds, strict=False)]


def candidate(losses: list[float]) -> cross_validation.CrossValidated:
    return cross_validation.CrossValidated(HEAD, 5, np.array(losses), np.ones(len(losses), bool), 0.0, 0.0)


@pytest.mark.parametrize(
    ("network", "better"),
    [
        ([0.1, 0.2, 0.3, 0.2], True),  # 0.8 better, the standard error of the difference is 0.04
        ([1.0, 1.0, 1.0, 1.0], False),
        ([0.0, 1.9, 0.2, 1.85], False),  # better by less than one standard error
        ([2.0, 2.0, 2.0, 2.0], False),
        ([0.1, 0.1, 0.1, np.inf], False),  # diverged in a fold
    ],
)
def test_a_head_must_be_better_by_one_standard_error(network: list[float], better: bool) -> None:
    assert cross_validation.better(candidate(network), candidate([1.0] * 4)) is better


def test_the_record_has_the_figures() -> None:
    record = replace(candidate([0.5, 1.5]), correct=np.array([True, False])).record
    assert record["log_loss"] == 1.0 and record["accuracy"] == 0.5
    assert record["standard_error"] == pytest.approx(np.std([0.5, 1.5], ddof=1) / np.sqrt(2))
