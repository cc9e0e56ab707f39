import dataclasses
import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.linear_model import Ridge
from sklearn.preprocessing import StandardScaler

from headstand.heads import FeatureSplit, baseline
from headstand.heads.baseline import BaselineError, ridge
from headstand.stats import wilson


def noisy(count: int, width: int, seed: int, classes: int = 4) -> FeatureSplit:
    """Classes apart in some features, on different scales, one feature that never changes."""
    rng = np.random.default_rng(seed)
    centers = np.random.default_rng(99).normal(0, 0.6, (classes, width))
    labels = np.arange(count) % classes
    features = (centers[labels] + rng.normal(0, 1, (count, width))) * np.geomspace(0.01, 100, width) + 5
    features[:, 0] = 3
    return FeatureSplit(features.astype(np.float32), labels.astype(np.int32))


def by_the_book(train: FeatureSplit, validation: FeatureSplit, strength: float) -> float:
    """Accuracy of scikit-learn's ridge regression, one strength at a time."""
    scaler = StandardScaler().fit(train.features.astype(np.float64))
    model = Ridge(alpha=strength * len(train.labels), solver="svd")
    model.fit(scaler.transform(train.features), np.eye(4)[train.labels])
    answers = model.predict(scaler.transform(validation.features.astype(np.float64)))
    return float((answers.argmax(axis=1) == validation.labels).mean())


@settings(deadline=None, max_examples=12)
@given(st.integers(0, 1000), st.sampled_from([(120, 10), (40, 90), (60, 60)]))
def test_it_is_ridge_regression_with_the_strength_that_validates_best(seed: int, shape: tuple[int, int]) -> None:
    train, validation = noisy(*shape, seed), noisy(50, shape[1], seed + 1)
    found = ridge(train, validation, 4)
    by_strength = [by_the_book(train, validation, strength) for strength in baseline.STRENGTHS]
    assert found.val_accuracy == pytest.approx(max(by_strength))
    best = max(index for index, accuracy in enumerate(by_strength) if accuracy == max(by_strength))
    assert found.strength == baseline.STRENGTHS[best]
    assert found.edge == (best in (0, len(by_strength) - 1))
    assert found.interval == wilson(round(found.val_accuracy * 50), 50)
    assert found.photos == shape[0]


def test_result_fields() -> None:
    train, validation = noisy(400, 60, 1), noisy(200, 60, 2)
    assert ridge(train, validation, 4).val_accuracy > 0.9
    shuffled = dataclasses.replace(train, labels=np.random.default_rng(0).permutation(train.labels))
    assert ridge(shuffled, validation, 4).val_accuracy < 0.45


def test_chunks_make_no_difference(monkeypatch: pytest.MonkeyPatch) -> None:
    for shape in ((70, 20), (30, 80)):
        train, validation = noisy(*shape, 1), noisy(50, shape[1], 2)
        whole = ridge(train, validation, 4)
        with monkeypatch.context() as patch:
            patch.setattr(baseline, "_CHUNK", 7)
            parts = ridge(train, validation, 4)
        assert dataclasses.replace(parts, seconds=0) == dataclasses.replace(whole, seconds=0)


def test_rows_are_sampled_if_rows_and_features_are_many(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(baseline, "MOST", 50)
    found = ridge(noisy(400, 60, 1), noisy(200, 60, 2), 4)
    assert found.photos == 50
    assert found.val_accuracy > 0.7
    assert ridge(noisy(400, 40, 1), noisy(200, 40, 2), 4).photos == 400


def test_class_without_photos() -> None:
    train, validation = noisy(40, 8, 1, classes=3), noisy(40, 8, 2, classes=3)
    assert 0 < ridge(train, validation, 5).val_accuracy <= 1


@pytest.mark.parametrize("split", ["train", "validation"])
def test_non_finite_features_are_reported(split: str) -> None:
    splits = {"train": noisy(40, 8, 1), "validation": noisy(40, 8, 2)}
    splits[split].features[3, 2] = np.nan
    with pytest.raises(BaselineError, match="features are not finite"):
        ridge(splits["train"], splits["validation"], 4)


@pytest.mark.parametrize("count", [300, 32])
def test_memory_does_not_grow_with_the_validation_photos(count: int) -> None:
    """More rows than features and the other way round, chunk by chunk: 20,000 rows of float64 would be 10 MB."""
    train, validation = noisy(count, 64, 1), noisy(20_000, 64, 2)
    found = ridge(train, noisy(2100, 64, 2), 4)
    tracemalloc.start()
    try:
        ridge(train, validation, 4)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 8e6
    # Two chunks of validation rows, each judged as by the book.
    assert found.val_accuracy == by_the_book(train, noisy(2100, 64, 2), found.strength)
