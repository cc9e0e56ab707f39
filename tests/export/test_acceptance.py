import dataclasses

import pytest

from headstand.export.acceptance import FORMATS, judge
from headstand.export.parity import Accuracy, Disagreement, Parity

ALIKE = Parity(400, 1.0, 1e-6, 1e-7, (("a.jpg", 1e-6),), (), Accuracy(0.9, 0.9, 0, (-0.01, 0.01)))


def other(margin: float) -> tuple[Disagreement, ...]:
    return (Disagreement("a.jpg", "red", "blue", margin),)


@pytest.mark.parametrize("kind", FORMATS)
def test_what_is_alike_passes(kind: str) -> None:
    assert judge(kind, ALIKE).passed
    assert judge(kind, dataclasses.replace(ALIKE, accuracy=None)).passed


@pytest.mark.parametrize(
    ("kind", "change", "missing"),
    [
        ("float32", {"largest_difference": 1e-4}, ()),
        ("float32", {"largest_difference": 1.1e-4}, ("a probability differs by 0.00011",)),
        ("float32", {"largest_difference": float("nan")}, ("a probability differs by nan",)),
        ("float32", {"largest_difference": float("inf")}, ("a probability differs by inf",)),
        # Two classes as likely as each other may change places.
        ("float32", {"disagreeing": other(9e-5)}, ()),
        ("float32", {"disagreeing": other(2e-4)}, ("1 of 400 photos get another class",)),
        ("float32", {"disagreeing": other(float("nan"))}, ("1 of 400 photos get another class",)),
        ("float16", {"largest_difference": 0.01}, ()),
        ("float16", {"largest_difference": 0.011}, ("a probability differs by 0.011",)),
        ("float16", {"disagreeing": other(0.009)}, ()),
        ("float16", {"disagreeing": other(0.011)}, ("1 of 400 photos get another class",)),
        ("int8", {"largest_difference": 0.4}, ()),
        ("int8", {"largest_difference": float("nan")}, ("probabilities are no numbers",)),
        ("int8", {"agreement": 0.97}, ()),
        ("dynamic", {"agreement": 0.965}, ("only 96.50% of 400 photos get the same class",)),
        ("int8", {"agreement": float("nan")}, ("only nan% of 400 photos get the same class",)),
    ],
)
def test_each_limit(kind: str, change: dict[str, object], missing: tuple[str, ...]) -> None:
    assert judge(kind, dataclasses.replace(ALIKE, **change)).missing == missing


@pytest.mark.parametrize(
    ("count", "lost", "passes"),
    [(100, 1, True), (100, 2, False), (399, 1, True), (400, 2, True), (400, 3, False), (599, 3, False), (600, 3, True)],
)
def test_half_a_point_or_one_photo_may_be_lost(count: int, lost: int, passes: bool) -> None:
    accuracy = Accuracy(0.9, 0.9 - lost / count, lost, (-0.5, 0.5))
    gate = judge("int8", dataclasses.replace(ALIKE, count=count, accuracy=accuracy))
    assert gate.passed == passes
    if not passes:
        assert gate.missing == (f"{lost} photos fewer are right, of {count} ({max(1, count // 200)} may be)",)


@pytest.mark.parametrize(("high", "passes"), [(0.0199, True), (0.02, False), (float("nan"), False)])
def test_with_many_photos_the_interval_counts(high: float, passes: bool) -> None:
    accuracy = Accuracy(0.9, 0.9, 0, (-0.02, high))
    assert judge("dynamic", dataclasses.replace(ALIKE, count=1000, accuracy=accuracy)).passed == passes
    assert judge("dynamic", dataclasses.replace(ALIKE, count=999, accuracy=accuracy)).passed
