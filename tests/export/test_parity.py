from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from headstand.export.parity import Parity, ParityError, compare, paired, served_outputs, trained_outputs
from headstand.export.photo_samples import PhotoSample
from headstand.inputs import PhotoInput
from headstand.serve.classifier import Classifier
from tests import tiny

COLORS = [(255, 0, 0), (0, 200, 0), (10, 0, 250), (90, 80, 100)]
Trained = Callable[[np.ndarray], np.ndarray]


@pytest.fixture
def served(tmp_path: Path) -> Classifier:
    return Classifier(tiny.bundle(tmp_path / "tiny.tflite"))


@pytest.fixture
def sample(tmp_path: Path) -> PhotoSample:
    """Red, green, blue and something blue."""
    paths = tuple(tmp_path / f"{number}.png" for number in range(len(COLORS)))
    for path, color in zip(paths, COLORS, strict=True):
        Image.new("RGB", (50, 40), color).save(path)
    return PhotoSample("test", paths, np.array([2, 1, 0, 1]))


def trained(changes: dict[int, tuple[float, float, float]] | None = None) -> Trained:
    """The tiny model in NumPy; the prediction for the photo with an index is shifted by `changes`."""

    def call(pixels: np.ndarray) -> np.ndarray:
        assert pixels.dtype == np.uint8
        assert pixels.shape == (1, tiny.SIZE, tiny.SIZE, 3)
        color = pixels[0].mean(axis=(0, 1))
        number = COLORS.index(tuple(round(value) for value in color.tolist()))
        moved = np.array((changes or {}).get(number, (0, 0, 0)))
        return np.array([[*tiny.expected(color).values()]]) + moved

    return call


def compared(call: Trained, served: Classifier, sample: PhotoSample, labels: tuple[str, ...] = tiny.LABELS) -> Parity:
    expected = trained_outputs(call, sample, PhotoInput(tiny.SIZE), len(labels))
    return compare(expected, served_outputs(served, sample, labels), sample, labels)


def test_models_with_the_same_predictions(served: Classifier, sample: PhotoSample) -> None:
    parity = compared(trained(), served, sample)
    assert parity.count == 4
    assert parity.agreement == 1
    assert parity.largest_difference < 1e-6
    assert parity.disagreeing == ()
    assert parity.accuracy
    assert (parity.accuracy.trained, parity.accuracy.served, parity.accuracy.lost) == (0.75, 0.75, 0)


def test_figures_worked_by_hand(served: Classifier, sample: PhotoSample) -> None:
    parity = compared(trained({1: (0.02, -0.01, 0), 3: (0, 0.005, 0)}), served, sample)
    assert parity.largest_difference == pytest.approx(0.02, abs=1e-5)
    assert parity.mean_difference == pytest.approx(0.035 / 12, abs=1e-5)
    assert [path for path, _ in parity.worst[:2]] == [str(sample.paths[1]), str(sample.paths[3])]
    assert [difference for _, difference in parity.worst[:2]] == pytest.approx([0.02, 0.005], abs=1e-5)
    assert parity.agreement == 1


def test_another_top_class_is_counted_and_named(served: Classifier, sample: PhotoSample) -> None:
    """As trained, red was blue by 1 - 2 * 0.012 / ..., and the last photo barely green: the clearest comes first."""
    parity = compared(trained({0: (1, 0, 0), 3: (0, 0.4, 0)}), served, sample)
    assert parity.agreement == 0.5
    first, second = parity.disagreeing
    assert (first.photo, first.trained, first.served) == (str(sample.paths[3]), "green", "blue")
    assert (second.photo, second.trained, second.served) == (str(sample.paths[0]), "blue", "red")
    blue, green, red = tiny.expected((90, 80, 100)).values()
    assert first.margin == pytest.approx(green + 0.4 - max(blue, red), abs=1e-5)
    assert first.margin > second.margin > 0
    assert parity.accuracy
    # The trained model had green rightly and red wrongly; the served one the other way round.
    assert (parity.accuracy.trained, parity.accuracy.served, parity.accuracy.lost) == (0.75, 0.75, 0)


def test_labels_are_matched_by_name(served: Classifier, sample: PhotoSample) -> None:
    """The order of the outputs does not matter if the labels have the same order, and matters otherwise."""
    original = trained()
    mirrored = compared(lambda pixels: original(pixels)[:, ::-1], served, sample, tiny.LABELS[::-1])
    assert mirrored.agreement == 1
    assert compared(original, served, sample, tiny.LABELS[::-1]).agreement < 1


def test_photos_without_classes_have_no_accuracy(served: Classifier, sample: PhotoSample) -> None:
    assert compared(trained(), served, PhotoSample("test", sample.paths, None)).accuracy is None


def test_the_similarities_are_compared_too(sample: PhotoSample, tmp_path: Path) -> None:
    """The trained model takes the second photo, of brightness 0.26, for brighter by 0.1 than the served one."""
    served = Classifier(tiny.known_bundle(tmp_path / "known.tflite", threshold=0.3))
    original = trained()

    def both(pixels: np.ndarray) -> np.ndarray:
        brightness = pixels.mean() / 255
        more = 0.1 if round(brightness * 765) == 200 else 0
        return np.append(original(pixels), [[brightness + more]], axis=1)

    expected = trained_outputs(both, sample, PhotoInput(tiny.SIZE), 4)
    given = served_outputs(served, sample, tiny.LABELS)
    assert given.shape == (4, 4)
    parity = compare(expected, given, sample, tiny.LABELS, known=(0.3, 0.3))
    assert parity.largest_difference < 1e-6
    assert parity.detection and parity.detection.changed == 1
    lower = compare(expected, given, sample, tiny.LABELS, known=(0.3, 0.2))  # each model has its own threshold
    assert lower.detection and lower.detection.changed == 0
    assert parity.detection.largest_difference == pytest.approx(0.1, abs=1e-6)


def test_a_damaged_photo_is_named(served: Classifier, sample: PhotoSample) -> None:
    sample.paths[2].write_bytes(b"no photo")
    with pytest.raises(ParityError, match=r"the test photo .*2\.png cannot be used for .*; prepare the data again"):
        compared(trained(), served, sample)


def test_a_loss_worked_by_hand() -> None:
    """Of 98 photos the served model loses 3 and wins 1: (3 + 1) / 100 - (1 + 1) / 100, and its spread."""
    right = np.ones(98, bool)
    first, second = right.copy(), right.copy()
    second[:3] = False
    first[3] = False
    accuracy = paired(first, second)
    assert (accuracy.trained, accuracy.served, accuracy.lost) == (97 / 98, 95 / 98, 2)
    spread = 1.959964 * ((0.06 - 0.02**2) / 100) ** 0.5
    assert accuracy.interval == pytest.approx((0.02 - spread, 0.02 + spread), abs=1e-6)


@given(st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1, max_size=60))
def test_the_reversed_comparison_is_a_gain(pairs: list[tuple[bool, bool]]) -> None:
    first, second = (np.array(side) for side in zip(*pairs, strict=True))
    there, back = paired(first, second), paired(second, first)
    assert there.lost == -back.lost
    assert there.interval == pytest.approx((-back.interval[1], -back.interval[0]))
    assert there.interval[0] < there.lost / len(pairs) < there.interval[1] or len(pairs) < 5
