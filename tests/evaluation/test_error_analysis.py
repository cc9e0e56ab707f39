import numpy as np
import pytest

from headstand.evaluation import error_analysis
from headstand.evaluation.error_analysis import mistakes, slices
from headstand.preparation.manifest import Photo
from headstand.stats import wilson


def photo(number: int, width: int, height: int, ending: str = "jpg") -> Photo:
    return Photo(f"test/tree/tree{number:04d}.{ending}", "tree", "test", "0" * 64, width, height, number)


def test_slices_by_format_size_and_shape() -> None:
    photos = [photo(n, 100, 100) for n in range(40)]
    photos += [photo(n, 400, 200, "png") for n in range(40, 80)]
    photos += [photo(n, 600, 900) for n in range(80, 120)]
    right = np.array([True] * 40 + [False] * 30 + [True] * 10 + [True] * 38 + [False] * 2)
    found = {(one.by, one.value): one for one in slices(photos, right)}
    assert list(found) == [
        ("format", "jpg"), ("format", "png"),
        ("size", "up to 100 px"), ("size", "up to 283 px"), ("size", "larger"),
        ("shape", "square"), ("shape", "wide"), ("shape", "tall"),
    ]  # fmt: skip
    png = found["format", "png"]
    assert (png.count, png.accuracy, png.interval) == (40, 0.25, wilson(10, 40))
    assert png.differs and not png.few
    assert found["shape", "tall"].accuracy == pytest.approx(38 / 40)
    assert found["size", "larger"].count == found["shape", "tall"].count == 40


def test_small_slices_are_marked_and_constant_properties_are_left_out() -> None:
    photos = [photo(n, 100, 100) for n in range(50)] + [photo(n, 100, 100, "webp") for n in range(50, 60)]
    found = slices(photos, np.array([True] * 54 + [False] * 6))
    assert [(one.by, one.value, one.few) for one in found] == [("format", "jpg", False), ("format", "webp", True)]


def test_mistakes_are_the_most_confident_wrong_predictions_up_to_a_maximum() -> None:
    count = 30
    photos = [photo(n, 9, 9) for n in range(count)]
    confidence = np.linspace(0.4, 0.9, count)
    probabilities = np.stack([1 - confidence - 0.05, confidence, np.full(count, 0.05)], axis=1)
    labels = np.where(np.arange(count) % 2, 0, probabilities.argmax(axis=1))
    found = mistakes(photos, probabilities, labels, ("a", "b", "c"))
    wrong = [n for n in range(count) if n % 2 and confidence[n] > 0.475]
    assert [one.photo for one in found] == [photos[n] for n in reversed(wrong)][: error_analysis.MOST]
    assert (found[0].truth, found[0].answer) == ("a", "b")
    assert found[0].confidence == confidence[29]
    assert found[0].own == probabilities[29, 0]


def test_no_mistakes() -> None:
    assert mistakes([photo(1, 9, 9)], np.array([[0.9, 0.1]]), np.array([0]), ("a", "b")) == []
