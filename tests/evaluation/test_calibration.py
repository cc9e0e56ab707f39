from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headstand.evaluation import calibration
from headstand.evaluation.calibration import Calibration, reliability, temperature, tempered, threshold
from headstand.heads import checkpoint
from headstand.stats import lower_bound, wilson
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
    probabilities = softmax(np.eye(4)[labels] * 3)
    sure = tempered(probabilities, temperature(probabilities, labels)).max(axis=1)
    assert sure == pytest.approx(1 - 1 / (count + 2), abs=2e-3)


@given(st.integers(0, 1000), st.floats(0.05, 20))
def test_tempering_divides_logits_and_keeps_the_order(seed: int, factor: float) -> None:
    logits = np.random.default_rng(seed).normal(0, 3, (8, 6))
    got = tempered(softmax(logits), factor)
    np.testing.assert_allclose(got, softmax(logits / factor), atol=2e-5)
    np.testing.assert_allclose(got.sum(axis=1), 1, atol=1e-5)


def test_probabilities_that_have_rounded_to_zero_are_borne() -> None:
    probabilities = np.array([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]], np.float32)
    assert np.isfinite(temperature(probabilities, np.array([0, 2])))
    assert np.isfinite(tempered(probabilities, 3.0)).all()


def confident(levels: list[tuple[float, bool]]) -> tuple[np.ndarray, np.ndarray]:
    """Two-class probabilities of given confidence, right or wrong."""
    probabilities = np.array([[level, 1 - level] for level, _ in levels], np.float32)
    return probabilities, np.array([0 if right else 1 for _, right in levels])


def test_the_threshold_is_the_lowest_whose_lower_bound_reaches_the_target() -> None:
    # From the top: 120 right at 0.95, then 1 of 30 wrong at 0.8, then half wrong at 0.6.
    levels = [(0.95, True)] * 120 + [(0.8, n > 0) for n in range(30)] + [(0.6, n % 2 == 0) for n in range(150)]
    probabilities, labels = confident(levels)
    half = threshold(probabilities, labels, 0.93)
    # 149 of the 150 from 0.8 on; the bound holds for all ten candidates together, each at 0.5 %.
    assert half.value == pytest.approx(0.8, abs=2e-4)
    assert half.at_least == lower_bound(149, 150, 0.995) > 0.93
    assert (half.accepted, half.photos, half.reached, half.level) == (150, 300, True, 0.95)
    # 120 of 120 from 0.95 on.
    high = threshold(probabilities, labels, 0.955)
    assert high.value == pytest.approx(0.95, abs=2e-4)
    assert high.at_least == pytest.approx(0.005 ** (1 / 120))
    # No threshold reaches 0.99: the highest bound, and it says so.
    best = threshold(probabilities, labels, 0.99)
    assert (best.value, best.reached) == (high.value, False)
    # Every prediction is accepted for a target of 0.6.
    assert (threshold(probabilities, labels, 0.6).value, threshold(probabilities, labels, 0.6).accepted) == (0.0, 300)


def test_the_threshold_never_separates_equal_confidences() -> None:
    probabilities, labels = confident([(0.9, True)] * 30 + [(0.9, False)] * 2 + [(0.55, False)] * 20)
    got = threshold(probabilities, labels, 0.99)
    assert got.value == pytest.approx(0.9, abs=2e-4)
    assert (got.accepted, got.at_least, got.reached) == (32, lower_bound(30, 32, 0.995), False)


def test_rounding_does_not_move_a_photo_across_the_threshold() -> None:
    probabilities, labels = confident([(0.9, True)] * 40 + [(0.55, False)] * 40)
    value = threshold(probabilities, labels, 0.85).value
    for factor in (1 - 1e-6, 1 + 1e-6):
        assert calibration.guarantee(probabilities * factor, labels, value, 0.85).accepted == 40


def test_every_prediction_is_confident_without_mistakes_or_with_few_photos() -> None:
    right = threshold(*confident([(0.6, True)] * 50), 0.95)
    assert (right.value, right.accepted, right.at_least) == (0.0, 50, pytest.approx(0.005 ** (1 / 50)))
    few = threshold(*confident([(0.9, True), (0.6, False)]), 0.95)
    assert (few.value, few.at_least, few.reached) == (0.0, None, False)


def test_the_lower_bound_holds_at_its_confidence_level() -> None:
    """The accuracy of confident predictions on all other photos is below the bound in at most 5 % of the runs."""
    rng = np.random.default_rng(1)

    def chance(top: np.ndarray | float) -> np.ndarray | float:
        """Probability that a prediction of this confidence, which is uniform over 0.5 to 1, is correct."""
        return 0.55 + 0.9 * (top - 0.5)

    broken = reached = 0
    for _ in range(200):
        top = rng.uniform(0.5, 1, 300)
        labels = np.where(rng.random(300) < chance(top), 0, 1)
        fitted = threshold(np.stack([top, 1 - top], axis=1), labels, 0.85)
        real = (chance(max(0.5, fitted.value)) + 1) / 2
        assert fitted.at_least is not None
        broken += real < fitted.at_least
        reached += fitted.reached
    assert broken <= 10
    assert reached > 25


def test_the_lower_bound_of_a_threshold_is_described() -> None:
    levels = [(0.95, True)] * 120 + [(0.6, n % 2 == 0) for n in range(120)]
    record = threshold(*confident(levels), 0.95).record
    assert calibration.described(record) == (
        "Predictions with a probability of 0.95 or more are confident: with 95% confidence, their accuracy on photos "
        "of the same kind is at least 95.7% (120 of 240 validation photos reach the threshold)."
    )
    assert calibration.described(threshold(*confident(levels[:40]), 0.95).record, "choosing") == (
        "Every prediction counts as confident: with 95% confidence, their accuracy on photos of the same kind is at "
        "least 87.6% (40 of 40 choosing photos reach the threshold). This lower bound is below the target of 95.0%; "
        "more photos may raise it."
    )
    assert calibration.described(threshold(*confident(levels[:3]), 0.95).record) == (
        "Every prediction counts as confident: 3 validation photos are too few to fit a threshold."
    )


def test_a_temperature_at_the_end_of_its_range_is_not_applied() -> None:
    labels = np.arange(300) % 3
    probabilities = np.tile(np.array([0.9998, 0.0001, 0.0001]), (300, 1))
    assert temperature(probabilities, labels) == pytest.approx(20, rel=0.01)
    assert calibration.at_limit(temperature(probabilities, labels))
    assert calibration.calibrate(probabilities, labels, 0.95).temperature == 1.0
    assert [calibration.at_limit(value) for value in (0.05, 0.06, 1.0, 18.0, 19.989)] == [
        True, False, False, False, True,
    ]  # fmt: skip


def test_the_calibration_error_is_described_with_its_random_variation() -> None:
    assert calibration.error_described({"ece": 0.083, "band": (0.064, 0.159)}, 60) == (
        "Predicted probabilities and measured accuracy differ by 0.083 on average (expected calibration error, ECE). "
        "On 60 photos random variation alone causes an ECE of up to 0.159: this is no sign of miscalibration."
    )
    assert calibration.error_described({"ece": 0.2, "band": (0.064, 0.159)}, 60).endswith(
        ": this is a sign of miscalibration, do not rely on them."
    )


def test_the_share_and_accuracy_of_confident_predictions() -> None:
    probabilities, labels = confident([(0.95, True)] * 3 + [(0.8, False)] + [(0.6, True)] + [(0.55, False)] * 3)
    found = calibration.confident_share(probabilities, labels, 0.8)
    assert (found.coverage, found.accuracy, found.accuracy_of_others) == (0.5, 0.75, 0.25)
    assert found.interval == wilson(3, 4)
    none = calibration.confident_share(probabilities, labels, 0.99)
    assert (none.coverage, none.accuracy, none.interval, none.accuracy_of_others) == (0.0, None, None, 0.5)
    assert calibration.confident_share(probabilities, labels, 0.0).accuracy_of_others is None


def test_folding_divides_the_logits_of_a_checkpoint_once(tmp_path: Path, small_networks: None) -> None:
    path = checkpoint.save(networks.classifier(), tmp_path / "m.h5", networks.about())
    pixels = np.random.default_rng(0).uniform(0, 255, (6, networks.SIZE, networks.SIZE, 3)).astype(np.float32)
    before = checkpoint.load(path)(pixels).numpy()
    calibration.save_calibration(path, Calibration(0.25, 0.6))
    after = checkpoint.load(path)(pixels).numpy()
    np.testing.assert_allclose(after, tempered(before, 0.25), atol=1e-5)
    assert abs(after - before).max() > 0.01
    assert calibration.of(path) == Calibration(0.25, 0.6)
    assert checkpoint.metadata(path).labels == networks.about().labels
    # As a resumed run does.
    bytes_before = path.read_bytes()
    calibration.save_calibration(path, Calibration(0.5, 0.1))
    assert path.read_bytes() == bytes_before


def test_the_expected_calibration_error_of_a_case_by_hand() -> None:
    # One bin at 0.9 with 8 of 10 right, one at 0.6 with 3 of 10: gaps 0.1 and 0.3, equal shares.
    probabilities, labels = confident([(0.9, n < 8) for n in range(10)] + [(0.6, n < 3) for n in range(10)])
    found = reliability(probabilities, labels)
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


def test_calibration_lowers_the_error_of_an_overconfident_model() -> None:
    logits, labels = drawn(4000)
    probabilities = softmax(logits * 2.5)
    found = calibration.calibrate(probabilities[:2000], labels[:2000], 0.8)
    better = tempered(probabilities[2000:], found.temperature)
    assert reliability(better, labels[2000:]).calibrated
    assert reliability(probabilities[2000:], labels[2000:]).ece > 0.1
    reached = better.max(axis=1) >= found.threshold
    right = better.argmax(axis=1) == labels[2000:]
    assert right.mean() < 0.8 <= right[reached].mean()


def test_memory_of_the_simulation_does_not_grow_with_the_photos(monkeypatch: pytest.MonkeyPatch) -> None:
    logits, labels = drawn(500)
    whole = reliability(softmax(logits), labels)
    monkeypatch.setattr("headstand.stats.BLOCK", 20_000)
    sizes = []
    real = calibration._error
    monkeypatch.setattr(calibration, "_error", lambda right, *rest: sizes.append(right.size) or real(right, *rest))
    assert reliability(softmax(logits), labels).band == whole.band
    assert max(sizes) <= 20_000
