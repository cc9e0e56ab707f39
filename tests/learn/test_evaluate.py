import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headstand.learn.evaluate import evaluate, wilson


@pytest.mark.parametrize(
    ("right", "count", "low", "high"),
    [
        # Newcombe 1998 ("Two-sided confidence intervals for the single proportion", table I, method 3: score).
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0, 0.1611),
        (1, 29, 0.0061, 0.1718),
    ],
)
def test_wilson_interval_is_the_published_one(right: int, count: int, low: float, high: float) -> None:
    assert wilson(right, count) == (pytest.approx(low, abs=5e-5), pytest.approx(high, abs=5e-5))


counts = st.integers(1, 5000).flatmap(lambda count: st.tuples(st.integers(0, count), st.just(count)))


@given(counts)
def test_wilson_interval_holds_the_share_and_solves_its_equation(pair: tuple[int, int]) -> None:
    right, count = pair
    low, high = wilson(right, count)
    assert 0 <= low <= right / count + 1e-12
    assert right / count - 1e-12 <= high <= 1
    for bound in (low, high):
        # At either end the share lies 1.96 standard errors of that end away.
        distance = abs(right / count - bound)
        assert distance == pytest.approx(1.959963985 * math.sqrt(bound * (1 - bound) / count), abs=1e-6)
    mirrored = wilson(count - right, count)
    assert mirrored == (pytest.approx(1 - high, abs=1e-9), pytest.approx(1 - low, abs=1e-9))


@given(counts)
def test_more_photos_narrow_the_interval(pair: tuple[int, int]) -> None:
    right, count = pair
    wide, narrow = wilson(right, count), wilson(4 * right, 4 * count)
    assert narrow[1] - narrow[0] < wide[1] - wide[0]


def scored(answers: list[int], labels: list[int], classes: tuple[str, ...] = ("a", "b", "c")):
    probabilities = np.full((len(answers), len(classes)), 0.2, np.float32)
    probabilities[np.arange(len(answers)), answers] = 1 - 0.2 * (len(classes) - 1)
    return evaluate(probabilities, np.array(labels), classes)


def test_figures_worked_by_hand() -> None:
    result = scored([0, 0, 1, 1, 1, 2, 0, 2], [0, 0, 0, 1, 1, 2, 2, 1])
    assert result.count == 8
    assert result.accuracy == 5 / 8
    assert result.interval == wilson(5, 8)
    assert result.confusion == [[2, 1, 0], [0, 2, 1], [1, 0, 1]]
    assert result.per_class["a"] == pytest.approx({"precision": 2 / 3, "recall": 2 / 3, "f1": 2 / 3, "count": 3})
    assert result.per_class["b"] == pytest.approx({"precision": 2 / 3, "recall": 2 / 3, "f1": 2 / 3, "count": 3})
    assert result.per_class["c"] == pytest.approx({"precision": 1 / 2, "recall": 1 / 2, "f1": 1 / 2, "count": 2})
    assert result.macro_f1 == pytest.approx((2 / 3 + 2 / 3 + 1 / 2) / 3)
    assert result.loss == pytest.approx(-(5 * math.log(0.6) + 3 * math.log(0.2)) / 8, rel=1e-6)


def test_a_class_without_test_photos_counts_as_nothing_learnt() -> None:
    result = scored([0, 1, 1, 2], [0, 1, 1, 0])
    assert result.confusion == [[1, 0, 1], [0, 2, 0], [0, 0, 0]]
    assert result.per_class["c"] == {"precision": 0.0, "recall": 0.0, "f1": 0.0, "count": 0}
    assert result.macro_f1 == pytest.approx((2 / 3 + 1 + 0) / 3)
    assert math.isfinite(result.loss)


def test_a_sure_and_wrong_answer_costs_much_but_no_infinity() -> None:
    result = evaluate(np.array([[1.0, 0.0]], np.float32), np.array([1]), ("a", "b"))
    assert result.accuracy == 0
    assert 10 < result.loss < 1000


def test_probabilities_are_left_as_they_are() -> None:
    probabilities = np.array([[0.5, 0.25], [0.1, 0.9]], np.float64)
    before = probabilities.copy()
    evaluate(probabilities, np.array([0, 1]), ("a", "b"))
    assert (probabilities == before).all()
