"""Logistic regression: the same results as scikit-learn's, whatever the shape, and its limits."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from headstand import heads
from headstand.heads import FeatureSplit, linear
from headstand.recipe import Head

CONVERGED = 1e-9

LBFGS = Head(inner=(), optimizer="lbfgs", weight_decay=0.03)


def noisy(count: int, width: int, seed: int, classes: int = 4) -> FeatureSplit:
    """Returns classes that differ in some features, on different scales; one feature is constant."""
    rng = np.random.default_rng(seed)
    centers = np.random.default_rng(99).normal(0, 0.6, (classes, width))
    labels = np.arange(count) % classes
    labels[: count // 5] = 0
    features = (centers[labels] + rng.normal(0, 1, (count, width))) * np.geomspace(0.01, 100, width) + 5
    features[:, 0] = 3
    return FeatureSplit(features.astype(np.float32), labels.astype(np.int32))


def reference(
    train: FeatureSplit, features: np.ndarray, strength: float, balanced: bool, scaled_by: FeatureSplit | None = None
) -> np.ndarray:
    """Returns the probabilities of scikit-learn's logistic regression on features that are standardised by a split."""
    scaler = StandardScaler().fit((scaled_by or train).features.astype(np.float64))
    model = LogisticRegression(
        C=1 / (strength * len(train.labels)), class_weight="balanced" if balanced else None, max_iter=5000, tol=1e-8
    )
    model.fit(scaler.transform(train.features.astype(np.float64)), train.labels)
    found: np.ndarray = model.predict_proba(scaler.transform(features.astype(np.float64)))
    return found


@settings(deadline=None, max_examples=12)
@given(
    st.integers(0, 1000),
    st.sampled_from([(120, 10), (40, 90), (60, 60)]),
    st.sampled_from([0.3, 0.03, 0.002]),
    st.booleans(),
)
def test_it_equals_logistic_regression_of_scikit_learn(
    seed: int, shape: tuple[int, int], strength: float, balanced: bool
) -> None:
    train, other = noisy(*shape, seed), noisy(50, shape[1], seed + 1)
    head = LBFGS.model_copy(update={"weight_decay": strength, "class_weights": balanced})
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(linear, "_TOLERANCE", CONVERGED)
        fit = heads.fit(head, train, other, 4, 1)
    expected = reference(train, other.features, strength, balanced)
    np.testing.assert_allclose(heads.probabilities(fit.model, other.features), expected, atol=0.005)
    assert fit.best_epoch == len(fit.history) == 1
    right = expected[np.arange(50), other.labels]
    assert fit.best["val_loss"] == pytest.approx(-np.log(right).mean(), abs=0.03)
    assert fit.best["val_accuracy"] == pytest.approx((expected.argmax(axis=1) == other.labels).mean(), abs=0.021)


def test_views_are_rows() -> None:
    data = noisy(60, 8, 1)
    halves = FeatureSplit(data.features[:30], data.labels[:30], views=data.features[None, 30:])
    labels = np.tile(data.labels[:30], 2)
    one = heads.refit(LBFGS, halves, 4, 1, heads.fit(LBFGS, halves, data, 4, 1)).model.get_weights()
    two = heads.fit(LBFGS, FeatureSplit(data.features, labels), data, 4, 1).model.get_weights()
    # The class weights are those of the photos, which have the same labels.
    for first, second in zip(one, two, strict=True):
        np.testing.assert_array_equal(first, second)


def test_a_class_without_photos_is_improbable() -> None:
    train = noisy(40, 8, 1, classes=3)
    found = heads.probabilities(heads.fit(LBFGS, train, train, 5, 1).model, train.features)
    assert found.shape == (40, 5)
    assert found[:, 3:].max() < 0.05


def test_two_classes_and_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(linear, "_TOLERANCE", CONVERGED)
    train = noisy(60, 8, 1, classes=2)
    found = heads.probabilities(heads.fit(LBFGS, train, train, 2, 1).model, train.features)
    # The penalty of two logits of opposite sign is that of their difference, which scikit-learn has, with half of it.
    np.testing.assert_allclose(found, reference(train, train.features, 0.015, True), atol=0.005)
    same = FeatureSplit(train.features, np.ones(60, np.int32))
    one = heads.probabilities(heads.fit(LBFGS, same, same, 3, 1).model, train.features)
    assert one[:, 1].min() > 0.98


def test_constant_features_leave_the_frequencies() -> None:
    data = FeatureSplit(np.full((40, 3), 7, np.float32), (np.arange(40) % 4 // 3).astype(np.int32))
    plain = LBFGS.model_copy(update={"class_weights": False})
    found = heads.probabilities(heads.fit(plain, data, data, 2, 1).model, data.features)
    np.testing.assert_allclose(found, np.tile([0.75, 0.25], (40, 1)), atol=1e-3)


def test_cross_validation_predicts_held_out_rows_by_strength(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(linear, "_TOLERANCE", CONVERGED)
    data = noisy(100, 12, 1)
    rows = np.arange(100)
    folds = [(rows[rows // 4 % 2 == side], rows[rows // 4 % 2 != side]) for side in (0, 1)]
    weights, strengths = np.ones(4, np.float32), (0.1, 0.01)
    found = list(linear.cross_validate(data.components, data.labels, weights, strengths, folds))
    assert [each.shape for each in found] == [(100, 4)] * 2
    for number, strength in enumerate(strengths):
        for training, held_out in folds:
            train = FeatureSplit(data.features[training], data.labels[training])
            expected = reference(train, data.features[held_out], strength, False, scaled_by=data)
            np.testing.assert_allclose(found[number][held_out], expected, atol=0.005)


def test_the_path_to_a_strength() -> None:
    assert linear.strengths(0.5) == (0.5,)
    assert linear.strengths(linear.STRENGTHS[2]) == linear.STRENGTHS[:3]
    assert linear.strengths(0.0)[-1] == 0.0
