"""Principal components: the same information in fewer numbers, and layers on the features that equal those on them."""

from typing import Any

import numpy as np
import pytest

from headstand import heads
from headstand.heads import FeatureSplit, components
from headstand.heads.components import FeatureValueError, principal_components
from headstand.recipe import Head

SHAPES = [(70, 20), (30, 80), (40, 40)]


def noisy(count: int, width: int, seed: int) -> FeatureSplit:
    """Returns three classes whose features have different scales; one feature is constant."""
    rng = np.random.default_rng(seed)
    labels = np.arange(count) % 3
    centers = np.random.default_rng(99).normal(0, 2, (3, width))
    features = (centers[labels] + rng.normal(0, 1, (count, width))) * np.geomspace(0.01, 100, width) + 5
    features[:, 0] = 3
    return FeatureSplit(features.astype(np.float32), labels.astype(np.int32))


@pytest.mark.parametrize("shape", SHAPES)
def test_distances_between_standardised_rows_are_kept(shape: tuple[int, int]) -> None:
    features = noisy(*shape, 1).features
    found = principal_components(features)
    standardised = (features - features.mean(axis=0)) / np.maximum(features.std(axis=0), 1e-6)
    products = found.rows @ found.rows.T / found.factor**2
    np.testing.assert_allclose(products, standardised @ standardised.T, atol=0.02)
    assert found.rows.shape[1] <= min(shape)
    # Components are uncorrelated, the weakest first; each feature that is not constant has a variance of 1, and each
    # component on average.
    np.testing.assert_allclose(found.rows.T @ found.rows / shape[0], np.diag(found.variances), atol=1e-3)
    assert (np.diff(found.variances) >= 0).all()
    assert found.variances.sum() / found.factor**2 == pytest.approx(shape[1] - 1, rel=1e-3)
    assert found.variances.mean() == pytest.approx(1)
    np.testing.assert_allclose(found.project(features), found.rows, atol=2e-3)


@pytest.mark.parametrize("shape", SHAPES)
def test_a_layer_for_the_features_equals_the_one_for_their_components(shape: tuple[int, int]) -> None:
    features, other = noisy(*shape, 1).features, noisy(9, shape[1], 2).features
    found = principal_components(features)
    rng = np.random.default_rng(1)
    kernel, bias = rng.normal(0, 1, (found.rows.shape[1], 5)), rng.normal(0, 1, 5)
    layer = found.layer(kernel, bias)
    assert layer[0].shape == (shape[1], 5)
    np.testing.assert_allclose(other @ layer[0] + layer[1], found.project(other) @ kernel + bias, atol=0.01)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize(
    "settings",
    [{}, {"inner": ()}, {"batch_norm": True}, {"optimizer": "lbfgs", "inner": (), "weight_decay": 0.03}],
    ids=str,
)
def test_a_head_trained_on_components_takes_features(shape: tuple[int, int], settings: dict[str, Any]) -> None:
    """Its figures during training, on components, are those of the model that is returned, on features."""
    train, validation = noisy(*shape, 1), noisy(50, shape[1], 2)
    head = Head(standardise=True, inner=(8,), epochs=6, learning_rate=0.03).model_copy(update=settings)
    fit = heads.fit(head, train, validation, 3, 1)
    found = heads.probabilities(fit.model, validation.features)
    right = found[np.arange(50), validation.labels]
    assert fit.best["val_accuracy"] == pytest.approx((found.argmax(axis=1) == validation.labels).mean())
    assert np.array_equal(fit.correct, found.argmax(axis=1) == validation.labels)
    assert fit.best["val_loss"] == pytest.approx(-np.log(right).mean(), abs=1e-3)
    assert fit.best["val_accuracy"] > 0.8


@pytest.mark.parametrize("settings", [{}, {"optimizer": "lbfgs", "inner": ()}], ids=str)
def test_chunks_and_a_temporary_file_make_no_difference(
    settings: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    head = Head(standardise=True, inner=(8,), epochs=3, learning_rate=0.01).model_copy(update=settings)
    for shape in SHAPES[:2]:
        other = noisy(50, shape[1], 2)
        whole = heads.probabilities(heads.fit(head, noisy(*shape, 1), other, 3, 1).model, other.features)
        for name, value in {"_CHUNK": 7, "_IN_MEMORY": 0}.items():
            with monkeypatch.context() as patch:
                patch.setattr(components, name, value)
                parts = heads.probabilities(heads.fit(head, noisy(*shape, 1), other, 3, 1).model, other.features)
            np.testing.assert_allclose(parts, whole, atol=0.01)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_features_that_are_not_finite_are_reported(value: float) -> None:
    data = noisy(40, 8, 1)
    data.features[3, 2] = value
    with pytest.raises(FeatureValueError, match="not finite: its weights are damaged"):
        heads.fit(Head(inner=(), optimizer="lbfgs"), data, data, 3, 1)
