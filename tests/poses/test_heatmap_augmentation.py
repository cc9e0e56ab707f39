import numpy as np
import pytest

from headstand.poses.heatmap_augmentation import MIRRORED, mirror, view
from headstand.poses.heatmap_file import JOINTS
from headstand.recipe import Augmentation
from tests.poses.heatmaps import LUNGING, heatmaps, positions

NO_CHANGE = {"flip": "none", "brightness": 0.0}


def drawn(seed: int = 0, **settings: object) -> np.ndarray:
    maps = heatmaps(positions(LUNGING))
    return view(maps, Augmentation.model_validate({**NO_CHANGE, **settings}), np.random.default_rng(seed))


def peaks(maps: np.ndarray) -> np.ndarray:
    """Centres of mass, `[17, 2]`, x and y."""
    rows, columns = np.mgrid[0:64, 0:48]
    weights = maps.sum(axis=(1, 2))
    return np.stack([(maps * columns).sum(axis=(1, 2)), (maps * rows).sum(axis=(1, 2))], axis=1) / weights[:, None]


def test_a_mirror_swaps_left_and_right_and_nothing_else():
    names = [JOINTS[index] for index in MIRRORED]
    assert names[0] == "nose"
    for joint, image in zip(JOINTS[1:], names[1:], strict=True):
        assert image == joint.replace("left", "x").replace("right", "left").replace("x", "right")
    points = positions(LUNGING)
    mirrored = peaks(mirror(heatmaps(points)))
    # The mirror's left wrist is where the right one was, on the other side of the map.
    left, right = JOINTS.index("left_wrist"), JOINTS.index("right_wrist")
    np.testing.assert_allclose(mirrored[left], (47 - points[right, 0], points[right, 1]), atol=0.05)
    np.testing.assert_array_equal(mirror(mirror(heatmaps(points))), heatmaps(points))
    np.testing.assert_array_equal(mirror(heatmaps(points)[None])[0], mirror(heatmaps(points)))


def test_without_any_setting_a_view_is_the_person():
    np.testing.assert_allclose(drawn(), heatmaps(positions(LUNGING)), atol=1e-6)
    np.testing.assert_array_equal(drawn(3, jitter=1.0), drawn(3, jitter=1.0))
    assert not np.array_equal(drawn(3, jitter=1.0), drawn(4, jitter=1.0))


def test_half_of_the_views_are_mirrored():
    flipped = [np.array_equal(drawn(seed, flip="horizontal"), mirror(drawn())) for seed in range(40)]
    assert 10 < sum(flipped) < 30


def test_a_rotation_keeps_all_distances_and_the_centre():
    before, after = peaks(drawn()), peaks(drawn(0, rotation=20))
    between = [np.linalg.norm(points[:, None] - points[None], axis=2) for points in (before, after)]
    np.testing.assert_allclose(between[1], between[0], atol=0.6)
    # (23.5, 31.5) is the middle of the map, and stays as far from each joint.
    away = [np.linalg.norm(points - (23.5, 31.5), axis=1) for points in (before, after)]
    np.testing.assert_allclose(away[1], away[0], atol=0.5)
    assert np.abs(after - before).max() > 2


def test_zoom_scales_all_distances_equally():
    inner = [JOINTS.index(name) for name in ("left_shoulder", "right_shoulder", "left_hip", "right_hip", "nose")]
    before, after = peaks(drawn())[inner], peaks(drawn(5, zoom=0.3))[inner]
    ratio = np.linalg.norm(after[1:] - after[0], axis=1) / np.linalg.norm(before[1:] - before[0], axis=1)
    assert np.ptp(ratio) < 0.03
    assert abs(ratio.mean() - 1) > 0.02


def test_a_shift_moves_all_joints_equally_and_jitter_each_separately():
    inner = [JOINTS.index(name) for name in ("left_shoulder", "right_shoulder", "left_hip", "right_hip", "nose")]
    moved = (peaks(drawn(2, shift=0.1)) - peaks(drawn()))[inner]
    assert np.ptp(moved, axis=0).max() < 0.1
    assert np.abs(moved).max() > 0.5
    moved = np.concatenate([(peaks(drawn(seed, jitter=0.7)) - peaks(drawn()))[inner] for seed in range(30)])
    np.testing.assert_allclose(moved.std(axis=0), 0.7, atol=0.12)


def test_joints_are_dropped_and_peaks_scaled():
    lost = np.mean([(drawn(seed, joint_dropout=0.25).max(axis=(1, 2)) == 0).mean() for seed in range(30)])
    assert lost == pytest.approx(0.25, abs=0.06)
    heights = drawn(1, brightness=0.3).max(axis=(1, 2)) / 0.8
    assert 0.65 < heights.min() < 0.95
    assert 1.05 < heights.max() < 1.31


def test_settings_for_photos_do_not_change_heatmaps():
    np.testing.assert_array_equal(drawn(1, smallest_crop=0.2, contrast=0.5, saturation=0.5), drawn(1))


def test_settings_for_heatmaps_do_not_change_the_keys_of_photo_views():
    assert "jitter" not in Augmentation().settings
    assert Augmentation(jitter=0.5).settings == f"{Augmentation().settings} jitter=0.5"
    assert "joint_dropout=0.1" in Augmentation(joint_dropout=0.1).settings
