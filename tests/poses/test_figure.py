import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headstand.poses.figure import body, camera, contact, outfit, poses, raster, skeleton
from headstand.poses.figure.geometry import between, rotation, unit
from headstand.poses.figure.mesh import MeshBuilder
from headstand.poses.figure.proportions import proportions

seeds = st.integers(0, 2**32 - 1)
some_pose = st.sampled_from(sorted(poses.VARIANTS))
quick = settings(max_examples=25, deadline=None)


def _posed(pose, seed):
    rng = np.random.default_rng(seed)
    build = proportions(rng)
    variant, angles, mirrored = poses.sample(pose, rng)
    bones = skeleton.forward(angles, build)
    contact.rest(bones, variant, mirrored, build)
    return bones, variant, mirrored, build


@quick
@given(some_pose, seeds)
def test_angles_stay_within_the_joints_limits(pose, seed):
    _, angles, _ = poses.sample(pose, np.random.default_rng(seed))
    assert len(angles) == len(poses.TRUNK) + 2 * len(poses.LIMB)
    for name, angle in angles.items():
        low, high = poses.LIMITS[name.removeprefix("left_").removeprefix("right_")]
        if not name.endswith(("_roll", "_side", "_turn")):
            assert low <= angle <= high
        else:
            assert abs(angle) <= high


def test_every_angle_of_a_pose_names_a_joint():
    for variants in poses.VARIANTS.values():
        for variant in variants:
            for name, (mean, spread) in variant.angles.items():
                low, high = poses.LIMITS[name.removeprefix("left_").removeprefix("right_")]
                assert low <= mean <= high
                assert spread > 0
            assert set(variant.grounded) <= {"feet", "hands", "hips"}


def test_a_mirrored_pose_swaps_sides_and_turns_the_other_way():
    angles = {"left_knee_flex": 10.0, "right_knee_flex": 20.0, "neck_turn": 5.0, "neck_flex": 7.0}
    assert poses.mirror(angles) == {"right_knee_flex": 10, "left_knee_flex": 20, "neck_turn": -5, "neck_flex": 7}
    drawn = [poses.sample("tree", np.random.default_rng(seed)) for seed in range(30)]
    lifted = [angles["left_hip_abduct"] > angles["right_hip_abduct"] for _, angles, _ in drawn]
    assert [not mirrored for _, _, mirrored in drawn] == lifted
    assert 5 < sum(lifted) < 25


@quick
@given(some_pose, seeds)
def test_bones_keep_their_lengths(pose, seed):
    bones, _, _, build = _posed(pose, seed)
    joints = bones.joints
    for side in ("left", "right"):
        for start, end, length in (
            ("hip", "knee", build.thigh), ("knee", "ankle", build.shin),
            ("shoulder", "elbow", build.upper_arm), ("elbow", "wrist", build.forearm),
        ):  # fmt: skip
            found = np.linalg.norm(joints[f"{side}_{start}"] - joints[f"{side}_{end}"])
            assert found == pytest.approx(length, rel=1e-6)
    for frame in bones.frames.values():
        np.testing.assert_allclose(frame.T @ frame, np.eye(3), atol=1e-6)


@quick
@given(some_pose, seeds)
def test_the_body_rests_on_the_floor(pose, seed):
    bones, variant, mirrored, _ = _posed(pose, seed)
    heights = {name: point[1] for name, point in bones.joints.items()}
    assert min(heights.values()) > -0.03
    if variant.grounded == ("feet",):
        standing = ("right",) if not mirrored else ("left",)
        for side in standing if variant.propped else ("left", "right"):
            assert heights[f"{side}_ankle"] == pytest.approx(contact.SOLE, abs=0.03)
    if variant.planted:
        assert max(heights["left_wrist"], heights["right_wrist"]) < 0.20
    if variant.prayer:
        assert np.linalg.norm(bones.joints["left_wrist"] - bones.joints["right_wrist"]) < 0.20


def test_standing_at_rest_is_standing():
    angles = dict.fromkeys(poses.TRUNK, 0.0) | {
        f"{side}_{name}": 0.0 for name in poses.LIMB for side in ("left", "right")
    }
    build = proportions(np.random.default_rng(0))
    joints = skeleton.forward(angles, build).joints
    assert joints["left_shoulder"][0] > 0 > joints["right_shoulder"][0]
    assert joints["nose"][2] > joints["left_ear"][2]
    assert joints["left_wrist"][1] < joints["left_elbow"][1] < joints["left_shoulder"][1]
    assert joints["left_hip"][1] - joints["left_ankle"][1] == pytest.approx(build.thigh + build.shin)
    raised = skeleton.forward(angles | {"left_shoulder_flex": 90.0, "right_knee_flex": 90.0}, build).joints
    assert raised["left_wrist"][2] - raised["left_shoulder"][2] == pytest.approx(build.upper_arm + build.forearm)
    assert raised["right_ankle"][2] - raised["right_knee"][2] == pytest.approx(-build.shin)


def test_rotations_are_right_handed_and_least():
    np.testing.assert_allclose(rotation("x", 90) @ [0, 1, 0], [0, 0, 1], atol=1e-12)
    np.testing.assert_allclose(rotation("y", 90) @ [0, 0, 1], [1, 0, 0], atol=1e-12)
    np.testing.assert_allclose(rotation("z", 90) @ [1, 0, 0], [0, 1, 0], atol=1e-12)
    start, end = unit(np.array([1.0, 2.0, -1.0])), unit(np.array([0.3, -1.0, 2.0]))
    np.testing.assert_allclose(between(start, end) @ start, end, atol=1e-12)
    np.testing.assert_allclose(between(start, end) @ np.cross(start, end), np.cross(start, end), atol=1e-12)


def test_normals_point_outwards():
    builder = MeshBuilder()
    builder.blob(0, np.array([1.0, 2.0, 3.0]), np.eye(3), (0.5, 0.5, 0.5), 24)
    mesh = builder.mesh()
    outward = unit(mesh.vertices - [1.0, 2.0, 3.0])
    assert ((mesh.normals * outward).sum(1) > 0.9).all()


def test_a_ball_is_drawn_as_a_disc_without_holes_nearest_surface_first():
    builder = MeshBuilder()
    for part, z in ((0, 0.0), (1, -1.0)):
        builder.blob(part, np.array([0.0, 0.0, z]), np.eye(3), (0.4, 0.4, 0.4), 24)
    mesh = builder.mesh()
    x, y, z = mesh.vertices.T
    fragments = raster.rasterise(mesh, 50 + 100 * x, 50 - 100 * y, 5 - z, 100)
    covered = np.zeros(100 * 100, bool)
    covered[fragments.pixel] = True
    rows, columns = np.divmod(np.arange(100 * 100), 100)
    inside = np.hypot(rows - 49.5, columns - 49.5) < 38
    assert covered[inside].mean() > 0.97
    assert not covered[np.hypot(rows - 49.5, columns - 49.5) > 42].any()
    assert (fragments.part == 0).all()
    assert fragments.depth.min() == pytest.approx(4.6, abs=0.01)
    middle = np.abs(fragments.pixel - 5050) < 2
    np.testing.assert_allclose(fragments.normal[middle].mean(0), [0, 0, 1], atol=0.1)


def test_parts_outside_the_frame_are_clipped():
    builder = MeshBuilder()
    builder.blob(0, np.zeros(3), np.eye(3), (1.0, 1.0, 1.0), 16)
    mesh = builder.mesh()
    x, y, z = mesh.vertices.T
    fragments = raster.rasterise(mesh, 20 + 60 * x, 20 + 60 * -y, 5 - z, 40)
    assert len(fragments.pixel) > 1500
    assert fragments.pixel.max() < 1600


@quick
@given(some_pose, seeds)
def test_the_camera_frames_every_body_as_requested(pose, seed):
    bones, _, _, build = _posed(pose, seed)
    rng = np.random.default_rng(seed)
    mesh = body.build_mesh(bones, build, outfit.dress(rng))
    view = camera.aim(rng)
    x, y, depth = camera.frame(view, mesh.vertices, 100.0)(mesh.vertices)
    assert max(np.ptp(x), np.ptp(y)) == pytest.approx(100 * view.share)
    assert y.max() == pytest.approx(100 * view.bottom)
    assert (depth > 0.5).all()
    assert np.isfinite(mesh.vertices).all()
    assert np.ptp(mesh.vertices[:, 1]) < 2.5


def test_clothes_skin_and_hair_vary():
    people = [outfit.dress(np.random.default_rng(seed)) for seed in range(40)]
    assert {person.hair for person in people} == {"short", "bun", "ponytail", "long", "afro", "bald"}
    for person in people:
        assert person.textures.shape == (len(outfit.PARTS), outfit.HEIGHT, outfit.WIDTH, 3)
        assert 0 < person.textures.min() <= person.textures.max() <= 1
    hands = np.array([person.textures[outfit.PARTS.index("left_hand")].mean() for person in people])
    assert np.ptp(hands) > 0.4
