from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headstand.learn import checkpoint
from headstand.learn.evaluation import calibration
from headstand.learn.evaluation.calibration import Calibration, reliability, temperature, tempered, threshold
from headstand.learn.evaluation.intervals import wilson
from tests import networks


def softmax(logits: np.ndarray) -> np.ndarray:
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    return (powers / powers.sum(axis=1, keepdims=True)).astype(np.float32)


def drawn(count: int = 6000, classes: int = 5, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Logits, and labels drawn from the probabilities that they stand for."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(0, 2, (count, classes))
    labels = (softmax(logits).cumsum(axis=1) < rng.random((count, 1))).sum(axis=1)
    return logits, np.minimum(labels, classes - 1)


@pytest.mark.parametrize("factor", [0.4, 1.0, 3.0])
def test_the_temperature_is_found_that_logits_were_multiplied_by(factor: float) -> None:
    logits, labels = drawn()
    assert temperature(softmax(logits * factor), labels) == pytest.approx(factor, rel=0.06)


@pytest.mark.parametrize("count", [12, 400])
def test_perfect_answers_are_as_sure_as_their_number_allows(count: int) -> None:
    labels = np.arange(count) % 4
    answers = softmax(np.eye(4)[labels] * 3)
    sure = tempered(answers, temperature(answers, labels)).max(axis=1)
    assert sure == pytest.approx(1 - 1 / (count + 2), abs=2e-3)


@given(st.integers(0, 1000), st.floats(0.05, 20))
def test_tempering_divides_logits_and_keeps_the_order(seed: int, factor: float) -> None:
    logits = np.random.default_rng(seed).normal(0, 3, (8, 6))
    got = tempered(softmax(logits), factor)
    np.testing.assert_allclose(got, softmax(logits / factor), atol=2e-5)
    np.testing.assert_allclose(got.sum(axis=1), 1, atol=1e-5)


def test_probabilities_that_have_rounded_to_zero_are_borne() -> None:
    answers = np.array([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]], np.float32)
    assert np.isfinite(temperature(answers, np.array([0, 2])))
    assert np.isfinite(tempered(answers, 3.0)).all()


def confident(levels: list[tuple[float, bool]]) -> tuple[np.ndarray, np.ndarray]:
    """Two-class answers of given confidence, right or wrong."""
    answers = np.array([[level, 1 - level] for level, _ in levels], np.float32)
    return answers, np.array([0 if right else 1 for _, right in levels])


def test_the_threshold_is_the_lowest_that_is_right_often_enough() -> None:
    # From the top: 40 right at 0.95, then 1 of 10 wrong at 0.8, then half wrong at 0.6.
    levels = [(0.95, True)] * 40 + [(0.8, n > 0) for n in range(10)] + [(0.6, n % 2 == 0) for n in range(30)]
    answers, labels = confident(levels)
    assert threshold(answers, labels, 0.95) == pytest.approx(0.8)  # 49 of 50
    assert threshold(answers, labels, 0.99) == pytest.approx(0.95)
    # All are right in 64 of 80; a lax wish still halves the mistakes: 0.9, which 0.8 reaches and 0.6 does not.
    assert threshold(answers, labels, 0.5) == pytest.approx(0.8)


def test_the_threshold_never_parts_equal_confidences() -> None:
    answers, labels = confident([(0.9, True)] * 30 + [(0.9, False)] * 2 + [(0.55, False)] * 20)
    got = threshold(answers, labels, 0.99)
    assert got == pytest.approx(0.9)  # the nearest that can be had: 30 of 32


def test_no_threshold_without_mistakes_or_from_a_handful() -> None:
    assert threshold(*confident([(0.6, True)] * 50), 0.95) == 0.0
    assert threshold(*confident([(0.9, True), (0.6, False)]), 0.95) == 0.0


def test_the_confident_answers_are_judged_apart() -> None:
    answers, labels = confident([(0.95, True)] * 3 + [(0.8, False)] + [(0.6, True)] + [(0.55, False)] * 3)
    found = calibration.sure(answers, labels, 0.8)
    assert (found.coverage, found.accuracy, found.accuracy_of_others) == (0.5, 0.75, 0.25)
    assert found.interval == wilson(3, 4)
    nobody = calibration.sure(answers, labels, 0.99)
    assert (nobody.coverage, nobody.accuracy, nobody.interval, nobody.accuracy_of_others) == (0.0, None, None, 0.5)
    assert calibration.sure(answers, labels, 0.0).accuracy_of_others is None


def test_folding_divides_the_logits_of_a_checkpoint_once(tmp_path: Path, small_networks: None) -> None:
    path = checkpoint.save(networks.classifier(), tmp_path / "m.h5", networks.about())
    pixels = np.random.default_rng(0).uniform(0, 255, (6, networks.SIZE, networks.SIZE, 3)).astype(np.float32)
    before = checkpoint.load(path)(pixels).numpy()
    calibration.settle(path, Calibration(0.25, 0.6))
    after = checkpoint.load(path)(pixels).numpy()
    np.testing.assert_allclose(after, tempered(before, 0.25), atol=1e-5)
    assert abs(after - before).max() > 0.01
    assert calibration.of(path) == Calibration(0.25, 0.6)
    assert checkpoint.about(path).labels == networks.about().labels
    # As a resumed run does.
    bytes_before = path.read_bytes()
    calibration.settle(path, Calibration(0.5, 0.1))
    assert path.read_bytes() == bytes_before


def test_the_expected_calibration_error_of_a_case_by_hand() -> None:
    # One bin at 0.9 with 8 of 10 right, one at 0.6 with 3 of 10: gaps 0.1 and 0.3, equal shares.
    answers, labels = confident([(0.9, n < 8) for n in range(10)] + [(0.6, n < 3) for n in range(10)])
    found = reliability(answers, labels)
    assert found.ece == pytest.approx(0.2, abs=1e-6)
    assert [(round(c, 3), round(a, 3), n) for c, a, n in found.bins] == [(0.6, 0.3, 10), (0.9, 0.8, 10)]
    # 2 (1 - p)^2 where right, 2 p^2 where wrong.
    assert found.brier == pytest.approx((8 * 0.02 + 2 * 1.62 + 3 * 0.32 + 7 * 0.72) / 20, abs=1e-6)
    assert found.coverage[-1] == pytest.approx((1.0, 11 / 20))


def test_the_band_holds_the_error_of_calibrated_models_and_not_of_others() -> None:
    inside = 0
    for seed in range(60):
        logits, labels = drawn(300, seed=seed)
        inside += reliability(softmax(logits), labels).calibrated
    assert inside >= 54  # 97.5 % expected
    logits, labels = drawn(300)
    assert not reliability(softmax(logits * 3), labels).calibrated


def test_calibrating_lowers_the_error_of_a_model_that_is_too_sure() -> None:
    logits, labels = drawn(4000)
    answers = softmax(logits * 2.5)
    found = calibration.calibrate(answers[:2000], labels[:2000], 0.8)
    better = tempered(answers[2000:], found.temperature)
    assert reliability(better, labels[2000:]).calibrated
    assert reliability(answers[2000:], labels[2000:]).ece > 0.1
    sure = better.max(axis=1) >= found.threshold
    right = better.argmax(axis=1) == labels[2000:]
    # Half the mistakes of all are asked, since that is more than 0.8.
    assert right[sure].mean() == pytest.approx(1 - (1 - right.mean()) / 2, abs=0.02)
