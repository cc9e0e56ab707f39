import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headstand import stats
from headstand.stats import (
    BLOCK,
    RESAMPLES,
    Outcomes,
    blocks,
    bootstrap,
    difference,
    lower_bound,
    paired,
    photos_needed,
    unpaired,
    wilson,
)


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
def test_wilson_interval_matches_published_values(right: int, count: int, low: float, high: float) -> None:
    assert wilson(right, count) == (pytest.approx(low, abs=5e-5), pytest.approx(high, abs=5e-5))


def test_wilson_interval_ends_at_0_or_1_if_all_are_wrong_or_right() -> None:
    for count in range(1, 500):
        assert wilson(count, count)[1] == 1.0
        assert wilson(0, count)[0] == 0.0


counts = st.integers(1, 5000).flatmap(lambda count: st.tuples(st.integers(0, count), st.just(count)))


@given(counts)
def test_wilson_interval_contains_the_share_and_solves_its_equation(pair: tuple[int, int]) -> None:
    right, count = pair
    low, high = wilson(right, count)
    assert 0 <= low <= right / count + 1e-12
    assert right / count - 1e-12 <= high <= 1
    for bound in (low, high):
        # The proportion is 1.96 standard errors away from either bound, with the standard error at that bound.
        distance = abs(right / count - bound)
        assert distance == pytest.approx(1.959963985 * math.sqrt(bound * (1 - bound) / count), abs=1e-6)
    mirrored = wilson(count - right, count)
    assert mirrored == (pytest.approx(1 - high, abs=1e-9), pytest.approx(1 - low, abs=1e-9))


@given(counts)
def test_more_photos_narrow_the_interval(pair: tuple[int, int]) -> None:
    right, count = pair
    wide, narrow = wilson(right, count), wilson(4 * right, 4 * count)
    assert narrow[1] - narrow[0] < wide[1] - wide[0]


def test_the_bootstrap_of_a_mean_agrees_with_the_normal_interval() -> None:
    values = np.random.default_rng(3).normal(2.0, 1.5, 400)
    low, high = bootstrap(400, lambda weights: (weights @ values / 400)[:, None])[0]
    half = 1.96 * values.std() / 20
    assert low == pytest.approx(values.mean() - half, abs=0.03)
    assert high == pytest.approx(values.mean() + half, abs=0.03)


def test_the_bootstrap_depends_only_on_its_seed() -> None:
    def share(weights: np.ndarray) -> np.ndarray:
        return (weights @ np.sqrt(np.arange(100)))[:, None]

    assert np.array_equal(bootstrap(100, share), bootstrap(100, share))
    assert not np.array_equal(bootstrap(100, share), bootstrap(100, share, seed=1))


def test_the_coverage_of_the_bootstrap() -> None:
    rng = np.random.default_rng(0)
    covered = 0
    for seed in range(200):
        sample = rng.exponential(1.0, 120)
        low, high = bootstrap(120, lambda weights, s=sample: (weights @ s / 120)[:, None], seed)[0]
        covered += low <= 1.0 <= high
    assert 0.89 <= covered / 200 <= 0.99


def test_the_bootstrap_limits_the_size_of_a_block(monkeypatch: pytest.MonkeyPatch) -> None:
    shapes = []

    def metrics(weights: np.ndarray) -> np.ndarray:
        shapes.append(weights.shape)
        return weights[:, :1]

    expected = bootstrap(300, metrics)
    assert shapes == [(RESAMPLES, 300)]
    monkeypatch.setattr(stats, "BLOCK", 30_000)
    shapes.clear()
    # The same resamples, whatever the size of a block.
    assert np.array_equal(bootstrap(300, metrics), expected)
    assert shapes == [(100, 300)] * 10


@pytest.mark.parametrize(("draws", "count"), [(2000, 24_000), (1000, 7), (3, 10 * BLOCK), (0, 5), (5, 0)])
def test_blocks_bound_the_values_and_contain_all_draws(draws: int, count: int) -> None:
    sizes = list(blocks(draws, count))
    assert sum(sizes) == draws
    assert all(size * count <= BLOCK or size == 1 for size in sizes)


@pytest.mark.parametrize(
    ("right", "count", "level", "bound"),
    [
        # All right: the bound is (1 - level) ** (1 / count); 59 without an error show 95 % with 95 % confidence.
        (59, 59, 0.95, 0.05 ** (1 / 59)),
        (58, 58, 0.95, 0.05 ** (1 / 58)),
        # Clopper & Pearson 1934: the 5 % point of Beta(right, count - right + 1).
        (9, 10, 0.95, 0.6058),
        (0, 10, 0.95, 0.0),
        (0, 0, 0.95, 0.0),
    ],
)
def test_the_lower_bound_is_that_of_clopper_and_pearson(right: int, count: int, level: float, bound: float) -> None:
    assert lower_bound(right, count, level) == pytest.approx(bound, abs=5e-5)


def test_a_paired_difference_matches_a_manual_calculation() -> None:
    """Of 98 photos 3 are right by the first model alone and 1 by the second: 4 / 100 - 2 / 100, with its interval."""
    first, second = np.ones(98, bool), np.ones(98, bool)
    second[:3] = False
    first[3] = False
    found = paired(first, second)
    half_width = 1.959964 * ((0.06 - 0.02**2) / 100) ** 0.5
    assert found.value == pytest.approx(2 / 98)
    assert found.interval == pytest.approx((0.02 - half_width, 0.02 + half_width), abs=1e-6)
    assert found.paired and found.within_noise


def test_an_unpaired_difference_matches_a_manual_calculation() -> None:
    """90 of 98 against 70 of 98 photos: 91 / 100 - 71 / 100, with its interval (Agresti & Caffo 2000)."""
    found = unpaired(Outcomes(90, 98), Outcomes(70, 98))
    half_width = 1.959964 * ((0.91 * 0.09 + 0.71 * 0.29) / 100) ** 0.5
    assert found.value == pytest.approx(20 / 98)
    assert found.interval == pytest.approx((0.2 - half_width, 0.2 + half_width), abs=1e-6)
    assert not found.paired and not found.within_noise


def test_paired_comparisons_detect_smaller_differences() -> None:
    """Ten photos of 200 by one model alone: beyond noise if they are the same photos, within if they are others."""
    first, second = np.ones(200, bool), np.ones(200, bool)
    first[:20] = False
    second[:30] = False
    assert not difference(Outcomes.of(first), Outcomes.of(second)).within_noise
    assert difference(Outcomes.of(first), Outcomes.counted(0.85, 200)).within_noise
    assert difference(Outcomes.counted(0.9, 200), Outcomes.counted(0.85, 200)).within_noise


def test_five_discordant_photos_are_within_noise_and_six_are_not() -> None:
    """As McNemar's exact test has it: p is 2 / 2^5 and 2 / 2^6."""
    second = np.ones(100, bool)
    for discordant, within in ((5, True), (6, False)):
        first = second.copy()
        first[:discordant] = False
        assert paired(second, first).within_noise is within


def test_outcomes_of_different_photos_are_not_paired() -> None:
    with pytest.raises(ValueError, match="3 and 4 outcomes: a paired difference needs the same photos"):
        paired(np.ones(3, bool), np.ones(4, bool))


pairs = st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1, max_size=60)


@given(pairs)
def test_the_reversed_difference_is_the_negative(pairs: list[tuple[bool, bool]]) -> None:
    first, second = (np.array(side) for side in zip(*pairs, strict=True))
    for one, two in ((first, second), (Outcomes.of(first), Outcomes.of(second))):
        compare = paired if isinstance(one, np.ndarray) else unpaired
        forward, backward = compare(one, two), compare(two, one)
        assert forward.value == pytest.approx(-backward.value)
        assert forward.interval == pytest.approx((-backward.interval[1], -backward.interval[0]))
        assert forward.within_noise == backward.within_noise
    assert paired(first, first).within_noise


def test_the_false_positive_rate_for_models_of_equal_accuracy() -> None:
    rng = np.random.default_rng(0)
    significant = np.zeros(2)
    for _ in range(600):
        easy = rng.random(120) < 0.8  # photos that both models get right
        first, second = (easy | (rng.random(120) < 0.5) for _ in range(2))
        significant[0] += not paired(first, second).within_noise
        significant[1] += not unpaired(Outcomes.of(first), Outcomes.of(second)).within_noise
    assert significant[0] / 600 < 0.07
    # Without the pairs the interval is too wide, and never too narrow.
    assert significant[1] < significant[0]


def test_photos_needed_is_the_count_where_the_difference_is_significant() -> None:
    count = photos_needed(0.96, 0.95)
    assert count == 3302
    assert not unpaired(Outcomes.counted(0.96, count * 2), Outcomes.counted(0.95, count * 2)).within_noise
    assert unpaired(Outcomes.counted(0.96, count // 2), Outcomes.counted(0.95, count // 2)).within_noise
