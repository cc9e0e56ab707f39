import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics

from headstand.evaluation.metrics import evaluate
from headstand.stats import wilson


def scored(predictions: list[int], labels: list[int], classes: tuple[str, ...] = ("a", "b", "c")):
    probabilities = np.full((len(predictions), len(classes)), 0.2, np.float32)
    probabilities[np.arange(len(predictions)), predictions] = 1 - 0.2 * (len(classes) - 1)
    return evaluate(probabilities, np.array(labels), classes)


def test_figures_worked_by_hand() -> None:
    result = scored([0, 0, 1, 1, 1, 2, 0, 2], [0, 0, 0, 1, 1, 2, 2, 1])
    assert result.count == 8
    assert result.accuracy == 5 / 8
    assert result.interval == wilson(5, 8)
    assert result.confusion == [[2, 1, 0], [0, 2, 1], [1, 0, 1]]
    low, high = wilson(2, 3)
    thirds = {"precision": 2 / 3, "recall": 2 / 3, "f1": 2 / 3, "count": 3, "low": low, "high": high}
    assert result.per_class["a"] == result.per_class["b"] == pytest.approx(thirds)
    low, high = wilson(1, 2)
    assert result.per_class["c"] == pytest.approx(
        {"precision": 1 / 2, "recall": 1 / 2, "f1": 1 / 2, "count": 2, "low": low, "high": high}
    )
    assert result.balanced_accuracy == pytest.approx((2 / 3 + 2 / 3 + 1 / 2) / 3)
    assert result.macro_f1 == pytest.approx((2 / 3 + 2 / 3 + 1 / 2) / 3)
    assert result.loss == pytest.approx(-(5 * math.log(0.6) + 3 * math.log(0.2)) / 8, rel=1e-6)


def test_means_are_taken_over_the_classes_that_have_photos() -> None:
    result = scored([0, 1, 1, 2], [0, 1, 1, 0])
    assert result.confusion == [[1, 0, 1], [0, 2, 0], [0, 0, 0]]
    empty = {"precision": 0.0, "recall": 0.0, "f1": 0.0, "count": 0, "low": 0.0, "high": 1.0}
    assert result.per_class["c"] == empty
    assert result.balanced_accuracy == pytest.approx((1 / 2 + 1) / 2)
    assert result.macro_recall == pytest.approx((1 / 2 + 1) / 2)
    assert result.macro_precision == 1
    assert result.macro_f1 == pytest.approx((2 / 3 + 1) / 2)
    assert math.isfinite(result.loss)


@settings(deadline=None, max_examples=20)
@given(st.integers(0, 10_000))
def test_figures_are_those_of_scikit_learn(seed: int) -> None:
    rng = np.random.default_rng(seed)
    probabilities = rng.dirichlet(np.ones(12), 60)
    labels = np.append(rng.integers(0, 12, 48), np.arange(12))
    result = evaluate(probabilities, labels, tuple("abcdefghijkl"))
    predicted = probabilities.argmax(axis=1)
    assert result.balanced_accuracy == pytest.approx(metrics.balanced_accuracy_score(labels, predicted))
    for average in ("macro", "weighted"):
        expected = metrics.precision_recall_fscore_support(labels, predicted, average=average, zero_division=0)
        for name, value in zip(("precision", "recall", "f1"), expected, strict=False):
            assert getattr(result, f"{average}_{name}") == pytest.approx(value), name
    assert result.k == 5
    assert result.top_k == pytest.approx(metrics.top_k_accuracy_score(labels, probabilities, k=5))
    assert result.loss == pytest.approx(metrics.log_loss(labels, probabilities), rel=1e-6)
    for name, (low, high) in result.intervals.items():
        assert low <= getattr(result, name) <= high, name


def test_with_few_classes_top_k_is_2_and_a_tie_counts_as_wrong() -> None:
    probabilities = np.array([[0.5, 0.3, 0.2], [0.2, 0.3, 0.5], [1 / 3, 1 / 3, 1 / 3]])
    result = evaluate(probabilities, np.array([1, 0, 0]), ("a", "b", "c"))
    assert (result.k, result.top_k) == (2, pytest.approx(1 / 3))


def test_the_loss_of_a_confident_wrong_prediction_is_large_but_finite() -> None:
    result = evaluate(np.array([[1.0, 0.0]], np.float32), np.array([1]), ("a", "b"))
    assert result.accuracy == 0
    assert 10 < result.loss < 1000


def test_probabilities_are_left_as_they_are() -> None:
    probabilities = np.array([[0.5, 0.25], [0.1, 0.9]], np.float64)
    before = probabilities.copy()
    evaluate(probabilities, np.array([0, 1]), ("a", "b"))
    assert (probabilities == before).all()
