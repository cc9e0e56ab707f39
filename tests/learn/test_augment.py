import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headstand.learn.augment import view
from headstand.recipe import Finetune

PLAIN = Finetune(smallest_crop=1.0, mirror=False, color=0.0)


def gradient(height: int, width: int) -> np.ndarray:
    """Red grows to the right, green downwards."""
    y, x = np.mgrid[:height, :width]
    red, green = x * 255 / max(1, width - 1), y * 255 / max(1, height - 1)
    return np.stack([red, green, np.full_like(red, 60)], axis=-1).astype(np.uint8)


@settings(max_examples=50, deadline=None)
@given(
    height=st.integers(1, 60),
    width=st.integers(1, 60),
    size=st.integers(1, 50),
    crop=st.floats(0.01, 1),
    color=st.floats(0, 0.99),
    seed=st.integers(0, 2**32 - 1),
)
def test_any_photo_gives_a_view(height: int, width: int, size: int, crop: float, color: float, seed: int) -> None:
    pixels = gradient(height, width)
    before = pixels.copy()
    chosen = Finetune(smallest_crop=crop, color=color)
    first, again = (view(pixels, size, chosen, np.random.default_rng(seed)) for _ in range(2))
    assert (first.dtype, first.shape) == (np.uint8, (size, size, 3))
    assert np.array_equal(first, again)
    assert np.array_equal(pixels, before)


def test_views_differ() -> None:
    rng = np.random.default_rng(0)
    views = [view(gradient(40, 40), 32, Finetune(), rng) for _ in range(20)]
    assert len({one.tobytes() for one in views}) == 20


def spans(settings: Finetune, count: int = 300) -> np.ndarray:
    """Shares of the photo's width and height that views show, and whether they are mirrored: `[N, 3]`."""
    rng, found = np.random.default_rng(0), []
    for _ in range(count):
        shown = view(gradient(64, 64), 64, settings, rng).astype(int)
        across = (shown[32, -2, 0] - shown[32, 1, 0]) / 255 * 64 / 61
        down = (shown[-2, 32, 1] - shown[1, 32, 1]) / 255 * 64 / 61
        found.append((abs(across), down, across < 0))
    return np.array(found)


def test_crops_hold_at_least_the_least_share() -> None:
    found = spans(Finetune(smallest_crop=0.5, mirror=False, color=0))
    area = found[:, 0] * found[:, 1]
    assert 0.42 < area.min() < 0.6  # a narrow crop of a square photo loses a little at its edge
    assert area.max() > 0.9
    assert not found[:, 2].any()
    ratio = found[:, 0] / found[:, 1]
    assert 3 / 4 - 0.05 < ratio.min() < 0.85
    assert 1.18 < ratio.max() < 4 / 3 + 0.05


def test_half_of_the_views_are_mirrored() -> None:
    found = spans(Finetune(smallest_crop=0.5, mirror=True, color=0))
    assert 0.4 < found[:, 2].mean() < 0.6


@pytest.mark.parametrize("color", [0.0, 0.3])
def test_brightness_stays_within_its_bounds(color: float) -> None:
    grey = np.full((20, 20, 3), 100, np.uint8)
    rng = np.random.default_rng(0)
    chosen = PLAIN.model_copy(update={"color": color})
    # On one grey, contrast has nothing to change.
    means = np.array([view(grey, 16, chosen, rng).mean() for _ in range(200)])
    assert means.min() == pytest.approx(100 * (1 - color), abs=2)
    assert means.max() == pytest.approx(100 * (1 + color), abs=2)
