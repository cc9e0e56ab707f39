import dataclasses
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from headstand.export.parity import FLOAT32_LIMIT, Parity, ParityError, compare, require
from headstand.serve.classifier import Classifier
from tests import tiny

COLORS = [(255, 0, 0), (0, 200, 0), (10, 0, 250), (90, 80, 100)]


@pytest.fixture
def served(tmp_path: Path) -> Classifier:
    return Classifier(tiny.bundle(tmp_path / "tiny.tflite"))


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    paths = [tmp_path / f"{place}.png" for place in range(len(COLORS))]
    for path, color in zip(paths, COLORS, strict=True):
        Image.new("RGB", (50, 40), color).save(path)
    return paths


def trained(changes: dict[int, tuple[float, float, float]] | None = None) -> Callable[[np.ndarray], np.ndarray]:
    """The tiny model in NumPy; the answer to the photo of a number is moved by `changes`."""

    def call(pixels: np.ndarray) -> np.ndarray:
        assert pixels.dtype == np.uint8
        assert pixels.shape == (1, tiny.SIZE, tiny.SIZE, 3)
        color = pixels[0].mean(axis=(0, 1))
        number = COLORS.index(tuple(round(value) for value in color.tolist()))
        moved = np.array((changes or {}).get(number, (0, 0, 0)))
        return np.array([[*tiny.expected(color).values()]]) + moved

    return call


def test_a_model_that_answers_alike_passes(served: Classifier, files: list[Path]) -> None:
    parity = compare(trained(), served, files, tiny.LABELS)
    assert parity.count == 4
    assert parity.agreement == 1
    assert parity.largest_difference < 1e-6
    assert parity.disagreeing == ()
    require(parity)


def test_figures_worked_by_hand(served: Classifier, files: list[Path]) -> None:
    parity = compare(trained({1: (0.02, -0.01, 0), 3: (0, 0.005, 0)}), served, files, tiny.LABELS)
    assert parity.largest_difference == pytest.approx(0.02, abs=1e-5)
    assert parity.mean_difference == pytest.approx(0.035 / 12, abs=1e-5)
    assert [path for path, _ in parity.worst[:2]] == [str(files[1]), str(files[3])]
    assert [difference for _, difference in parity.worst[:2]] == pytest.approx([0.02, 0.005], abs=1e-5)
    assert parity.agreement == 1


def test_another_top_class_is_counted_and_named(served: Classifier, files: list[Path]) -> None:
    parity = compare(trained({0: (1, 0, 0)}), served, files, tiny.LABELS)
    assert parity.agreement == 0.75
    assert parity.disagreeing == (str(files[0]),)
    with pytest.raises(ParityError, match=r"of 4 test photos 1 get another class.*" + files[0].name):
        require(parity)


def test_labels_are_matched_by_name(served: Classifier, files: list[Path]) -> None:
    """A trained model with another order of outputs compares rightly, and wrongly named outputs do not pass."""
    straight = trained()
    turned = compare(lambda pixels: straight(pixels)[:, ::-1], served, files, tiny.LABELS[::-1])
    require(turned)
    with pytest.raises(ParityError):
        require(compare(straight, served, files, tiny.LABELS[::-1]))


ALIKE = Parity(9, 1.0, 1e-6, 1e-7, (("a.jpg", 1e-6),), ())


@pytest.mark.parametrize(
    "change",
    [
        {"largest_difference": FLOAT32_LIMIT * 1.001},
        {"largest_difference": float("nan")},
        {"largest_difference": float("inf")},
        {"disagreeing": ("a.jpg",)},
    ],
)
def test_the_gate(change: dict[str, object]) -> None:
    require(ALIKE)
    require(dataclasses.replace(ALIKE, largest_difference=1e-4))
    with pytest.raises(ParityError, match="nothing was written"):
        require(dataclasses.replace(ALIKE, **change))


def test_answers_that_are_no_numbers_do_not_pass(served: Classifier, files: list[Path]) -> None:
    with pytest.raises(ParityError):
        require(compare(trained({2: (np.nan, np.nan, np.nan)}), served, files, tiny.LABELS))
