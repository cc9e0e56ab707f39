import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headstand.learn.evaluation.intervals import bootstrap, wilson


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


def test_the_ends_are_exact_where_all_are_right_or_wrong() -> None:
    for count in range(1, 500):
        assert wilson(count, count)[1] == 1.0
        assert wilson(0, count)[0] == 0.0


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


def test_the_bootstrap_of_a_mean_agrees_with_the_normal_interval() -> None:
    values = np.random.default_rng(3).normal(2.0, 1.5, 400)
    low, high = bootstrap(400, lambda weights: (weights @ values / 400)[:, None])[0]
    half = 1.96 * values.std() / 20
    assert low == pytest.approx(values.mean() - half, abs=0.03)
    assert high == pytest.approx(values.mean() + half, abs=0.03)


def test_the_bootstrap_depends_on_its_seed_alone() -> None:
    def share(weights: np.ndarray) -> np.ndarray:
        return (weights @ np.sqrt(np.arange(100)))[:, None]

    assert np.array_equal(bootstrap(100, share), bootstrap(100, share))
    assert not np.array_equal(bootstrap(100, share), bootstrap(100, share, seed=1))


def test_the_bootstrap_covers_the_truth_as_often_as_it_says() -> None:
    rng = np.random.default_rng(0)
    covered = 0
    for seed in range(200):
        sample = rng.exponential(1.0, 120)
        low, high = bootstrap(120, lambda weights, s=sample: (weights @ s / 120)[:, None], seed)[0]
        covered += low <= 1.0 <= high
    assert 0.89 <= covered / 200 <= 0.99
