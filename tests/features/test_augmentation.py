import io

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from headstand import images
from headstand.features.augmentation import view, view_key, view_rng, view_sampler
from headstand.inputs import PhotoInput
from headstand.recipe import Augmentation

PLAIN = Augmentation(smallest_crop=1.0, flip="none", brightness=0, contrast=0)


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
    turn=st.sampled_from([0.0, 10.0, 180.0]),
    zoom=st.sampled_from([0.0, 0.5]),
    shift=st.sampled_from([0.0, 0.9]),
    seed=st.integers(0, 2**32 - 1),
)
def test_any_photo_gives_a_view(
    height: int, width: int, size: int, crop: float, color: float, turn: float, zoom: float, shift: float, seed: int
) -> None:
    pixels = gradient(height, width)
    before = pixels.copy()
    chosen = Augmentation(
        smallest_crop=crop, flip="both", brightness=color, saturation=color, rotation=turn, zoom=zoom, shift=shift
    )
    first, again = (view(pixels, size, chosen, np.random.default_rng(seed)) for _ in range(2))
    assert (first.dtype, first.shape) == (np.uint8, (size, size, 3))
    assert np.array_equal(first, again)
    assert np.array_equal(pixels, before)


def test_views_differ() -> None:
    rng = np.random.default_rng(0)
    views = [view(gradient(40, 40), 32, Augmentation(), rng) for _ in range(20)]
    assert len({one.tobytes() for one in views}) == 20


def spans(settings: Augmentation, count: int = 300) -> np.ndarray:
    """Shares of the photo's width and height that views show, and whether they are mirrored: `[N, 3]`."""
    rng, found = np.random.default_rng(0), []
    for _ in range(count):
        shown = view(gradient(64, 64), 64, settings, rng).astype(int)
        across = (shown[32, -2, 0] - shown[32, 1, 0]) / 255 * 64 / 61
        down = (shown[-2, 32, 1] - shown[1, 32, 1]) / 255 * 64 / 61
        found.append((abs(across), down, across < 0))
    return np.array(found)


def test_crops_cover_at_least_the_smallest_share() -> None:
    found = spans(Augmentation(flip="none", brightness=0, contrast=0))
    area = found[:, 0] * found[:, 1]
    assert 0.42 < area.min() < 0.6  # a narrow crop of a square photo loses a little at its edge
    assert area.max() > 0.9
    assert not found[:, 2].any()
    ratio = found[:, 0] / found[:, 1]
    assert 3 / 4 - 0.05 < ratio.min() < 0.85
    assert 1.18 < ratio.max() < 4 / 3 + 0.05


def test_half_of_the_views_are_mirrored() -> None:
    found = spans(Augmentation(brightness=0, contrast=0))
    assert 0.4 < found[:, 2].mean() < 0.6


@pytest.mark.parametrize("color", [0.0, 0.3])
def test_brightness_stays_within_its_bounds(color: float) -> None:
    grey = np.full((20, 20, 3), 100, np.uint8)
    rng = np.random.default_rng(0)
    chosen = PLAIN.model_copy(update={"brightness": color, "contrast": color})
    # On one grey, contrast has nothing to change.
    means = np.array([view(grey, 16, chosen, rng).mean() for _ in range(200)])
    assert means.min() == pytest.approx(100 * (1 - color), abs=2)
    assert means.max() == pytest.approx(100 * (1 + color), abs=2)


STILL = {"smallest_crop": 1.0, "flip": "none", "brightness": 0, "contrast": 0}


def markers(aspect: float = 1.0) -> np.ndarray:
    """Grey with a red, a green and a blue spot at known positions: enough to find any affine map again."""
    height = 200
    pixels = np.full((height, round(height * aspect), 3), 90, np.uint8)
    for channel, (x, y) in enumerate(SPOTS):
        column, row = round(x * pixels.shape[1]), round(y * height)
        pixels[row - 3 : row + 4, column - 3 : column + 4] = 0
        pixels[row - 3 : row + 4, column - 3 : column + 4, channel] = 255
    return pixels


SPOTS = ((0.4, 0.4), (0.6, 0.4), (0.4, 0.6))


def found(shown: np.ndarray) -> np.ndarray:
    """Where the three spots are, `[3, 2]`, x and y as shares of the sides."""
    positions = []
    for channel in range(3):
        other = np.delete(shown.astype(float), channel, axis=2).max(axis=2)
        weight = np.maximum(0, shown[..., channel] - other - 30)
        y, x = np.mgrid[: shown.shape[0], : shown.shape[1]] + 0.5
        positions.append([(weight * x).sum() / weight.sum() / shown.shape[1], (weight * y).sum() / weight.sum() / 200])
    return np.array(positions)


@pytest.mark.parametrize("aspect", [1.0, 2.0, 0.5])
def test_rotation_keeps_right_angles_and_lengths(aspect: float) -> None:
    """The view is squashed to a square as the photo is; stretched back, its spots are as far apart as they were."""
    rng, turns = np.random.default_rng(0), []
    for _ in range(40):
        settings = Augmentation(**STILL, rotation=30)
        squashed = np.asarray(Image.fromarray(markers(aspect)).resize((200, 200), Image.Resampling.BILINEAR))
        spots = found(view(squashed, 200, settings, rng, aspect)) * (aspect, 1)
        right, down = spots[1] - spots[0], spots[2] - spots[0]
        assert np.hypot(*right) == pytest.approx(0.2 * aspect, rel=0.05)
        assert np.hypot(*down) == pytest.approx(0.2, rel=0.05)
        assert abs(right @ down) / np.hypot(*right) / np.hypot(*down) < 0.05
        turns.append(np.degrees(np.arctan2(right[1], right[0])))
    assert -31 < min(turns) < -20
    assert 20 < max(turns) < 31


def test_zoom_magnifies_about_the_center() -> None:
    rng = np.random.default_rng(0)
    shown = [found(view(markers(), 200, Augmentation(**STILL, zoom=0.3), rng)) for _ in range(60)]
    scales = [(spots[1] - spots[0])[0] / 0.2 for spots in shown]
    assert 0.68 < min(scales) < 0.8
    assert 1.2 < max(scales) < 1.32
    for spots in shown:
        assert (spots[1] + spots[2]) / 2 == pytest.approx([0.5, 0.5], abs=0.01)


def test_shift_only_moves() -> None:
    rng = np.random.default_rng(0)
    shown = np.array([found(view(markers(), 200, Augmentation(**STILL, shift=0.2), rng)) for _ in range(60)])
    moved = shown - SPOTS
    np.testing.assert_allclose(moved, moved[:, :1].repeat(3, axis=1), atol=0.01)
    assert -0.21 < moved.min() < -0.15
    assert 0.15 < moved.max() < 0.21


def test_view_without_augmentation_is_the_photo() -> None:
    pixels = np.asarray(Image.fromarray(gradient(64, 64)))
    rng = np.random.default_rng(0)
    assert np.array_equal(view(pixels, 64, Augmentation(**STILL), rng), pixels)
    # Nor does the other way of resampling move or blur it.
    turned = view(pixels, 64, Augmentation(**STILL, rotation=1e-9), rng)
    assert abs(turned.astype(int) - pixels).max() <= 2


def test_padding_is_the_mirrored_photo() -> None:
    rng = np.random.default_rng(0)
    pixels = np.full((50, 50, 3), (200, 150, 100), np.uint8)
    wild = Augmentation(**STILL, rotation=180, zoom=0.5, shift=0.9)
    for _ in range(30):
        shown = view(pixels, 40, wild, rng).reshape(-1, 3)
        assert shown.min(axis=0).tolist() == shown.max(axis=0).tolist() == [200, 150, 100]


@pytest.mark.parametrize("settings", [Augmentation(**STILL, zoom=0.01), Augmentation(**STILL)], ids=["turned", "plain"])
def test_fine_stripes_do_not_alias(settings: Augmentation) -> None:
    """Stripes finer than the view's pixels turn grey; points taken one a pixel would make broad stripes of them."""
    stripes = np.zeros((300, 300, 3), np.uint8)
    stripes[:, ::2] = 255
    shown = view(stripes, 110, settings, np.random.default_rng(0)).astype(float)
    assert shown.std() < 30
    assert shown.mean() == pytest.approx(127, abs=8)


@pytest.mark.parametrize(
    ("flip", "across", "down"),
    [("none", 0, 0), ("horizontal", 0.5, 0), ("vertical", 0, 0.5), ("both", 0.5, 0.5)],
)
def test_flips(flip: str, across: float, down: float) -> None:
    rng = np.random.default_rng(0)
    views = [view(gradient(20, 20), 20, Augmentation(**{**STILL, "flip": flip}), rng).astype(int) for _ in range(200)]
    assert np.mean([one[10, -1, 0] < one[10, 0, 0] for one in views]) == pytest.approx(across, abs=0.12)
    assert np.mean([one[-1, 10, 1] < one[0, 10, 1] for one in views]) == pytest.approx(down, abs=0.12)


def test_saturation_keeps_grey_and_changes_colours() -> None:
    chosen, rng = Augmentation(**STILL, saturation=0.5), np.random.default_rng(0)
    grey = np.full((8, 8, 3), 120, np.uint8)
    assert np.array_equal(view(grey, 8, chosen, rng), grey)
    red = np.full((8, 8, 3), (180, 60, 60), np.uint8)
    spread = [np.ptp(view(red, 8, chosen, rng)[0, 0].astype(int)) for _ in range(100)]
    assert 55 < min(spread) < 75
    assert 165 < max(spread) < 185


def test_view_key_depends_on_all_settings() -> None:
    photo, settings = b"p" * 32, Augmentation(views=2)
    name = view_key(photo, settings, 1, 0)
    assert len(name) == 32
    changes = {"flip": "none", "smallest_crop": 0.6, "rotation": 1.0, "zoom": 0.1, "shift": 0.1, "brightness": 0.1,
               "contrast": 0.1, "saturation": 0.1, "jitter": 0.1, "joint_dropout": 0.1}  # fmt: skip
    assert set(changes) | {"views"} == set(Augmentation.model_fields)
    others = [view_key(photo, settings.model_copy(update={key: value}), 1, 0) for key, value in changes.items()]
    others += [view_key(b"q" * 32, settings, 1, 0), view_key(photo, settings, 2, 0), view_key(photo, settings, 1, 1)]
    assert len({name, *others}) == 1 + len(others)
    # More views leave those that there are as they are.
    assert view_key(photo, Augmentation(views=9), 1, 0) == name


def test_view_is_a_function_of_its_key() -> None:
    stream = io.BytesIO()
    Image.fromarray(gradient(60, 90)).save(stream, "PNG")
    settings = Augmentation(rotation=10)
    sample = view_sampler(stream.getvalue(), PhotoInput(32), settings)
    first, again, other = (sample(view_rng(bytes([number]) * 32)) for number in (1, 1, 2))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)
    # Decoded to a square of 8/7 of the side; the rotation takes the proportions before that into account.
    pixels = images.decode(stream.getvalue(), 37)
    assert np.array_equal(first, view(pixels, 32, settings, view_rng(bytes([1]) * 32), aspect=1.5))
