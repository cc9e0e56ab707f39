import dataclasses

import pytest

from headstand.export.acceptance import check
from headstand.export.parity import Accuracy, Detection, Disagreement, Parity
from headstand.export_formats import FORMATS

EQUAL = Parity(400, 1.0, 1e-6, 1e-7, (("a.jpg", 1e-6),), (), Accuracy(0.9, 0.9, 0, (-0.01, 0.01)))


def other(margin: float) -> tuple[Disagreement, ...]:
    return (Disagreement("a.jpg", "red", "blue", margin),)


@pytest.mark.parametrize("kind", FORMATS)
def test_equal_predictions_pass(kind: str) -> None:
    assert check(kind, EQUAL).passed
    assert check(kind, dataclasses.replace(EQUAL, accuracy=None)).passed


@pytest.mark.parametrize(
    ("kind", "change", "unmet"),
    [
        ("float32", {"largest_difference": 1e-4}, ()),
        ("float32", {"largest_difference": 1.1e-4}, ("a probability differs by 0.00011",)),
        ("float32", {"largest_difference": float("nan")}, ("a probability differs by nan",)),
        ("float32", {"largest_difference": float("inf")}, ("a probability differs by inf",)),
        # Two almost equally probable classes may be swapped.
        ("float32", {"disagreeing": other(9e-5)}, ()),
        ("float32", {"disagreeing": other(2e-4)}, ("1 of 400 photos get another class",)),
        ("float32", {"disagreeing": other(float("nan"))}, ("1 of 400 photos get another class",)),
        ("float16", {"largest_difference": 0.01}, ()),
        ("float16", {"largest_difference": 0.011}, ("a probability differs by 0.011",)),
        ("float16", {"disagreeing": other(0.009)}, ()),
        ("float16", {"disagreeing": other(0.011)}, ("1 of 400 photos get another class",)),
        ("int8", {"largest_difference": 0.4}, ()),
        ("int8", {"largest_difference": float("nan")}, ("some probabilities are not finite",)),
        ("int8", {"agreement": 0.97}, ()),
        ("dynamic", {"agreement": 0.965}, ("only 96.50% of 400 photos get the same class",)),
        ("int8", {"agreement": float("nan")}, ("only nan% of 400 photos get the same class",)),
    ],
)
def test_each_limit(kind: str, change: dict[str, object], unmet: tuple[str, ...]) -> None:
    assert check(kind, dataclasses.replace(EQUAL, **change)).unmet == unmet


@pytest.mark.parametrize(
    ("count", "lost", "passes"),
    [(50, 1, True), (100, 2, False), (299, 2, False), (301, 2, True), (400, 3, False), (499, 3, False), (501, 3, True)],
)
def test_half_a_point_in_whole_photos_may_be_lost(count: int, lost: int, passes: bool) -> None:
    accuracy = Accuracy(0.9, 0.9 - lost / count, lost, (-0.5, 0.5))
    criteria = check("int8", dataclasses.replace(EQUAL, count=count, accuracy=accuracy))
    assert criteria.passed == passes
    if not passes:
        allowed = max(1, round(count / 200))
        assert criteria.unmet == (f"{lost} fewer of {count} photos are classified correctly (allowed: {allowed})",)


@pytest.mark.parametrize(("high", "passes"), [(0.0199, True), (0.02, False), (float("nan"), False)])
def test_with_many_photos_the_interval_counts(high: float, passes: bool) -> None:
    accuracy = Accuracy(0.9, 0.9, 0, (-0.02, high))
    assert check("dynamic", dataclasses.replace(EQUAL, count=1000, accuracy=accuracy)).passed == passes
    assert check("dynamic", dataclasses.replace(EQUAL, count=999, accuracy=accuracy)).passed


@pytest.mark.parametrize(
    ("kind", "count", "difference", "changed", "unmet"),
    [
        ("float32", 400, 1e-4, 0, ()),
        ("float32", 400, 2e-4, 0, ("a similarity to the training photos differs by 0.0002",)),
        ("float16", 400, float("nan"), 0, ("a similarity to the training photos differs by nan",)),
        ("int8", 400, 0.3, 12, ()),
        ("int8", 400, 0.3, 13, ("13 of 400 photos change between known and unknown",)),
        ("dynamic", 20, 0.3, 1, ()),
        ("dynamic", 20, 0.3, 2, ("2 of 20 photos change between known and unknown",)),
        ("int8", 400, float("nan"), 0, ("0 of 400 photos change between known and unknown",)),
    ],
)
def test_the_score_of_unknown_inputs_has_limits(
    kind: str, count: int, difference: float, changed: int, unmet: tuple[str, ...]
) -> None:
    parity = dataclasses.replace(EQUAL, count=count, detection=Detection(difference, changed))
    assert check(kind, parity).unmet == unmet
