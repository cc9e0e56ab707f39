import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headstand.poses.heatmap_augmentation import MIRRORED, mirror
from headstand.poses.heatmap_file import JOINTS
from headstand.poses.keypoints import ANGLES, LIMBS, TIMES, network
from tests.poses.heatmaps import LUNGING, POSES, RAISED, STANDING, heatmaps, positions

COUNTS = {"x": 17, "y": 17, "seen": 17, "right": len(LIMBS), "down": len(LIMBS), "length": len(LIMBS),
          "cosine": len(ANGLES), "sine": len(ANGLES)}  # fmt: skip
STARTS = dict(zip(COUNTS, np.cumsum([0, *COUNTS.values()]), strict=False))


@pytest.fixture(scope="module")
def keypoints() -> keras.Model:
    return network()


def features(keypoints: keras.Model, maps: np.ndarray) -> dict[str, np.ndarray]:
    (row,) = np.asarray(keypoints(maps[None], training=False))
    return {name: row[STARTS[name] : STARTS[name] + count] / TIMES[name] for name, count in COUNTS.items()}


def test_joints_are_from_the_hips_in_units_of_the_body(keypoints):
    points = positions(STANDING)
    found = features(keypoints, heatmaps(points))
    middle = points[[JOINTS.index("left_hip"), JOINTS.index("right_hip")]].mean(axis=0)
    expected = points - middle
    torso = points[5:7].mean(axis=0) - middle
    scale = np.sqrt((torso**2).sum() + 0.25 * (expected**2).sum(axis=1).mean() + (0.02 * 64) ** 2)
    np.testing.assert_allclose(found["x"], expected[:, 0] / scale, atol=0.01)
    np.testing.assert_allclose(found["y"], expected[:, 1] / scale, atol=0.01)
    np.testing.assert_array_equal(found["seen"], np.ones(17))


@pytest.fixture(scope="module")
def lunging(keypoints) -> dict[str, np.ndarray]:
    return features(keypoints, heatmaps(positions(LUNGING)))


@settings(deadline=None, max_examples=8)
@given(st.floats(-3, 3), st.floats(-2.5, 2.5), st.floats(0.7, 1.0), st.floats(0.3, 1.0))
def test_features_do_not_depend_on_position_size_and_height_of_the_peaks(
    keypoints, lunging, right, down, scale, height
):
    moved = (positions(LUNGING) - (24, 32)) * scale + (24 + right, 32 + down)
    found = features(keypoints, heatmaps(moved, height))
    for name in COUNTS:
        np.testing.assert_allclose(found[name], lunging[name], atol=0.03, err_msg=name)


def test_limbs_have_directions_and_angles(keypoints):
    found = features(keypoints, heatmaps(positions(RAISED)))
    arm = LIMBS.index(("left_elbow", "left_wrist"))
    assert (found["right"][arm], found["down"][arm]) == pytest.approx((0, -1), abs=0.1)
    torso = LIMBS.index(("hips", "shoulders"))
    assert found["length"][arm] / found["length"][torso] == pytest.approx(6 / 16, abs=0.03)
    straight = ANGLES.index((("left_hip", "left_knee"), ("left_knee", "left_ankle")))
    assert (found["cosine"][straight], found["sine"][straight]) == pytest.approx((1, 0), abs=0.1)
    # The thigh of a lunge goes out, its shin straight down: the angle between them is theirs in the picture.
    found = features(keypoints, heatmaps(positions(LUNGING)))
    thigh, shin = np.array([9, 10]), np.array([0, 11])
    cosine = thigh @ shin / np.linalg.norm(thigh) / np.linalg.norm(shin)
    sine = (thigh[1] * shin[0] - thigh[0] * shin[1]) / np.linalg.norm(thigh) / np.linalg.norm(shin)
    assert (found["cosine"][straight], found["sine"][straight]) == pytest.approx((cosine, sine), abs=0.05)


def test_an_invisible_joint_is_masked_wherever_its_peak_is(keypoints):
    wrist, heights = JOINTS.index("left_wrist"), np.full(17, 0.8)
    heights[wrist] = 0.04
    points = positions(STANDING)
    changed = points.copy()
    changed[wrist] = (5, 60)
    first, second = (features(keypoints, heatmaps(joints, heights)) for joints in (points, changed))
    for name in COUNTS:
        np.testing.assert_allclose(second[name], first[name], atol=1e-4, err_msg=name)
    assert first["x"][wrist] == first["seen"][wrist] == first["right"][LIMBS.index(("left_elbow", "left_wrist"))] == 0
    assert first["right"][LIMBS.index(("right_elbow", "right_wrist"))] != 0


def test_shoulders_replace_invisible_hips(keypoints):
    heights = np.full(17, 0.8)
    heights[[JOINTS.index("left_hip"), JOINTS.index("right_hip")]] = 0
    found = features(keypoints, heatmaps(positions(STANDING), heights))
    shoulders = [JOINTS.index("left_shoulder"), JOINTS.index("right_shoulder")]
    assert found["x"][shoulders].sum() == pytest.approx(0, abs=0.02)
    assert found["y"][shoulders] == pytest.approx([0, 0], abs=0.02)


def test_a_mirror_image_is_the_mirror_image_of_the_features(keypoints):
    maps = heatmaps(positions(LUNGING))
    first, second = features(keypoints, maps), features(keypoints, mirror(maps))
    swapped = list(MIRRORED)
    np.testing.assert_allclose(second["x"][swapped], -first["x"], atol=0.01)
    np.testing.assert_allclose(second["y"][swapped], first["y"], atol=0.01)


def test_without_visible_joints_all_features_are_zero(keypoints):
    for maps in (np.zeros((17, 64, 48), np.float32), np.full((17, 64, 48), -1e6, np.float32)):
        found = features(keypoints, maps)
        assert all(np.array_equal(values, np.zeros_like(values)) for values in found.values())
    for value in (1e6, 1e-20):
        found = features(keypoints, np.full((17, 64, 48), value, np.float32))
        assert all(np.isfinite(values).all() for values in found.values())


def test_poses_have_different_features_and_no_weight_is_trainable(keypoints):
    every = np.stack([heatmaps(positions(pose)) for pose in POSES.values()])
    rows = np.asarray(keypoints(every, training=False))
    distances = np.linalg.norm(rows[:, None] - rows[None], axis=2)
    assert distances[np.triu_indices(3, 1)].min() > 1
    spread = np.concatenate([values for maps in every for values in features(keypoints, maps).values()])
    assert np.abs(spread).max() < 3
    assert keypoints.trainable_variables == []
