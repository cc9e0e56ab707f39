"""From joint angles to joints in space: forward kinematics, then hands and feet put where they rest.

Space is metres with x to the person's left, y up and z forward; the floor is y = 0.
"""

from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from headstand.prepare.figure.poses import Angles, Variant

Array = npt.NDArray[np.float64]
Float = TypeVar("Float", bound=np.floating)
SIDES = (("left", 1.0), ("right", -1.0))
SPINE = 6
"""Segments between hips and neck; the bend is shared among them."""


@dataclass(frozen=True)
class Proportions:
    """Lengths in metres between joints, and girths as factors of an average adult's."""

    trunk: float
    neck: float
    head: float
    shoulders: float
    hips: float
    upper_arm: float
    forearm: float
    hand: float
    thigh: float
    shin: float
    foot: float
    limbs: float
    waist: float
    seat: float
    chest: float
    bust: float


def proportions(rng: np.random.Generator) -> Proportions:
    """Draw a body: one in six is a child; slim to stout, broad shoulders or broad hips.

    The adult means are those of D. A. Winter's segment table (Biomechanics and Motor Control of Human Movement) for a
    stature of 1.70 m.
    """
    child = rng.uniform(0.4, 1.0) if rng.random() < 1 / 6 else 0.0
    build = float(np.clip(rng.normal(1.0, 0.13), 0.78, 1.4))
    female = rng.random()
    legs = rng.normal(1.0, 0.035) * (1 - 0.16 * child)
    arms = rng.normal(1.0, 0.03) * (1 - 0.12 * child)
    size = 1 - 0.12 * child
    return Proportions(
        trunk=0.50 * rng.normal(1.0, 0.03) * size,
        neck=0.085 * rng.uniform(0.85, 1.15) * (1 - 0.2 * child),
        head=0.232 * rng.normal(1.0, 0.03),
        shoulders=(0.185 - 0.025 * female) * rng.normal(1.0, 0.03) * size * build**0.2,
        hips=(0.088 + 0.012 * female) * size * build**0.2,
        upper_arm=0.295 * arms,
        forearm=0.25 * arms,
        hand=0.178 * arms,
        thigh=0.425 * legs,
        shin=0.415 * legs,
        foot=0.25 * size * rng.normal(1.0, 0.03),
        limbs=build * rng.normal(1.0, 0.05) * (1.05 - 0.15 * female) * (1 - 0.1 * child),
        waist=build**1.4 * (1.03 - 0.14 * female) * size,
        seat=build * (0.95 + 0.1 * female) * size,
        chest=build * (1.04 - 0.1 * female) * size,
        bust=max(0.0, female - 0.35) * 0.05 * (1 - child),
    )


@dataclass
class Skeleton:
    """Joint positions `[3]` and segment frames `[3, 3]` (columns: left, up along the segment, front)."""

    joints: dict[str, Array]
    frames: dict[str, Array]
    spine: Array  # [SPINE + 1, 3], hips to neck
    spine_frames: Array  # [SPINE + 1, 3, 3]


def rotation(axis: str, degrees: float) -> Array:
    """Right-handed rotation about one axis, as a `[3, 3]` matrix."""
    angle = np.deg2rad(degrees)
    c, s = float(np.cos(angle)), float(np.sin(angle))
    if axis == "x":
        return np.array([[1, 0, 0], [0, c, -s], [0, s, c]])
    if axis == "y":
        return np.array([[c, 0, s], [0, 1, 0], [-s, 0, c]])
    return np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]])


def unit(vector: npt.NDArray[Float]) -> npt.NDArray[Float]:
    """The vectors `[..., 3]` at length 1."""
    x, y, z = vector[..., 0], vector[..., 1], vector[..., 2]  # a sum along so short an axis would take NumPy longer
    return vector / np.maximum(np.sqrt(x * x + y * y + z * z), 1e-9)[..., None]


def pose(angles: Angles, variant: Variant, mirrored: bool, body: Proportions) -> Skeleton:
    """Put a body into a pose, standing or lying on the floor."""
    skeleton = _forward(angles, body)
    _settle(skeleton, variant)
    if variant.propped:
        _prop(skeleton, body, *(("right", "left") if mirrored else ("left", "right")))
    if variant.prayer:
        _join(skeleton, body)
    if variant.planted:
        _plant(skeleton, body)
    _stand(skeleton, variant, body)
    _face(skeleton, body)
    return skeleton


def _forward(angles: Angles, body: Proportions) -> Skeleton:
    pelvis = rotation("z", -angles["pelvis_roll"]) @ rotation("x", angles["pelvis_pitch"])
    joints: dict[str, Array] = {"pelvis": np.zeros(3)}
    frames: dict[str, Array] = {"pelvis": pelvis}
    # The share of each segment's bend: none in the pelvis, most in the loins, little between the ribs.
    shares = (0.0, 0.24, 0.28, 0.22, 0.16, 0.10)
    spine, turned, frame = [joints["pelvis"]], [pelvis], pelvis
    for share in shares:
        frame = frame @ _trunk(angles, "spine", share)
        spine.append(spine[-1] + frame[:, 1] * body.trunk / SPINE)
        turned.append(frame)
    chest = turned[-1]
    frames["chest"], joints["neck"] = chest, spine[-1]
    frames["neck"] = chest @ rotation("x", 14) @ _trunk(angles, "neck", 0.45)
    joints["skull"] = joints["neck"] + frames["neck"][:, 1] * body.neck
    frames["head"] = frames["neck"] @ rotation("x", -14) @ _trunk(angles, "neck", 0.55)
    for side, sign in SIDES:
        # Arm: the shoulder blade follows a raised arm up and in.
        arm = chest @ _limb(angles, side, "shoulder", sign)
        raised = np.clip((np.degrees(np.arccos(np.clip(arm[:, 1] @ chest[:, 1], -1, 1))) - 50) / 120, 0, 1)
        offset = np.array([sign * body.shoulders * (1 - 0.10 * raised), -0.045 + 0.065 * raised, -0.005])
        joints[f"{side}_shoulder"] = joints["neck"] + chest @ offset
        frames[f"{side}_upper_arm"] = arm
        frames[f"{side}_forearm"] = arm @ rotation("x", -angles[f"{side}_elbow_flex"])
        joints[f"{side}_elbow"] = joints[f"{side}_shoulder"] - arm[:, 1] * body.upper_arm
        joints[f"{side}_wrist"] = joints[f"{side}_elbow"] - frames[f"{side}_forearm"][:, 1] * body.forearm
        # The palm faces the body when the arm hangs: the hand's front is the palm.
        frames[f"{side}_hand"] = frames[f"{side}_forearm"] @ rotation("y", -sign * 70)
        thigh = pelvis @ _limb(angles, side, "hip", sign)
        shin = thigh @ rotation("x", angles[f"{side}_knee_flex"])
        frames[f"{side}_thigh"], frames[f"{side}_shin"] = thigh, shin
        frames[f"{side}_foot"] = shin @ rotation("x", -angles[f"{side}_ankle_flex"])
        joints[f"{side}_hip"] = pelvis @ np.array([sign * body.hips, 0.0, 0.0])
        joints[f"{side}_knee"] = joints[f"{side}_hip"] - thigh[:, 1] * body.thigh
        joints[f"{side}_ankle"] = joints[f"{side}_knee"] - shin[:, 1] * body.shin
    return Skeleton(joints, frames, np.array(spine), np.array(turned))


def _trunk(angles: Angles, part: str, share: float) -> Array:
    flex, side, turn = (share * angles[f"{part}_{kind}"] for kind in ("flex", "side", "turn"))
    return rotation("y", turn) @ rotation("z", -side) @ rotation("x", flex)


def _limb(angles: Angles, side: str, joint: str, sign: float) -> Array:
    flex, abduct, rotate = (angles[f"{side}_{joint}_{kind}"] for kind in ("flex", "abduct", "rotate"))
    return rotation("x", -flex) @ rotation("z", sign * abduct) @ rotation("y", sign * rotate)


def _move(skeleton: Skeleton, turn: Array, shift: Array) -> None:
    for name, point in skeleton.joints.items():
        skeleton.joints[name] = turn @ point + shift
    for name, frame in skeleton.frames.items():
        skeleton.frames[name] = turn @ frame
    skeleton.spine = skeleton.spine @ turn.T + shift
    skeleton.spine_frames = turn @ skeleton.spine_frames


def _resting(skeleton: Skeleton, variant: Variant) -> Array:
    """The joints that rest on the floor, `[N, 3]`, with their height above it taken off."""
    # Heights of the joints' centres over the floor when the part rests on it, in metres.
    parts = {"feet": ("ankle", 0.075), "hands": ("wrist", 0.03), "hips": ("hip", 0.10)}
    if variant.grounded != ("feet",) and "hips" in variant.grounded:
        parts["feet"] = ("ankle", 0.05)  # lying: the instep rests
    points = []
    for part in variant.grounded:
        name, height = parts[part]
        points += [skeleton.joints[f"{side}_{name}"] - [0.0, height, 0.0] for side, _ in SIDES]
    return np.array(points)


def _settle(skeleton: Skeleton, variant: Variant) -> None:
    """Tip the body so that what rests on the floor is level: the least turn that does it (least squares)."""
    if variant.propped:  # stands on one foot
        return
    points = _resting(skeleton, variant)
    middle = points.mean(0)
    slope = np.linalg.lstsq(points[:, [0, 2]] - middle[[0, 2]], points[:, 1] - middle[1], rcond=1e-3)[0]
    normal = unit(np.array([-slope[0], 1.0, -slope[1]]))
    _move(skeleton, _between(normal, np.array([0.0, 1.0, 0.0])), np.zeros(3))
    _move(skeleton, np.eye(3), np.array([0.0, -_resting(skeleton, variant)[:, 1].mean(), 0.0]))


def _between(start: Array, end: Array) -> Array:
    """The least rotation that takes one unit vector to another (Rodrigues' formula)."""
    cross, dot = np.cross(start, end), float(start @ end)
    skew = np.array([[0, -cross[2], cross[1]], [cross[2], 0, -cross[0]], [-cross[1], cross[0], 0]])
    return np.eye(3) + skew + skew @ skew / max(1 + dot, 1e-6)


def _reach(skeleton: Skeleton, names: tuple[str, str, str], parts: tuple[str, str], target: Array) -> None:
    """Bend a limb of two segments so that its end is at `target`; its elbow or knee keeps its direction."""
    root, middle, end = (skeleton.joints[name] for name in names)
    upper, lower = float(np.linalg.norm(middle - root)), float(np.linalg.norm(end - middle))
    gap = target - root
    distance = float(np.clip(np.linalg.norm(gap), abs(upper - lower) + 0.02, (upper + lower) * 0.998))
    line = unit(gap)
    bow = (middle - root) - line * float((middle - root) @ line)
    if np.linalg.norm(bow) < 0.01:
        bow = skeleton.frames[parts[0]][:, 2] - line * float(skeleton.frames[parts[0]][:, 2] @ line)
    along = (upper**2 - lower**2 + distance**2) / (2 * distance)
    joint = root + line * along + unit(bow) * np.sqrt(max(upper**2 - along**2, 0.0))
    tip = root + line * distance
    for part, old, new in ((parts[0], middle - root, joint - root), (parts[1], end - middle, tip - joint)):
        skeleton.frames[part] = _between(unit(old), unit(new)) @ skeleton.frames[part]
    skeleton.joints[names[1]], skeleton.joints[names[2]] = joint, tip


def _arm(skeleton: Skeleton, side: str, target: Array) -> None:
    before = skeleton.frames[f"{side}_forearm"]
    _reach(
        skeleton, (f"{side}_shoulder", f"{side}_elbow", f"{side}_wrist"), (f"{side}_upper_arm", f"{side}_forearm"), target
    )
    skeleton.frames[f"{side}_hand"] = skeleton.frames[f"{side}_forearm"] @ before.T @ skeleton.frames[f"{side}_hand"]


def _frame(up: Array, front: Array) -> Array:
    """A frame with the given up axis and the front as near as possible to the one asked for."""
    front = unit(front - up * float(front @ up))
    return np.stack([np.cross(up, front), up, front], axis=1)


def _plant(skeleton: Skeleton, body: Proportions) -> None:
    """Hands flat on the floor, fingers forward."""
    ahead = skeleton.frames["chest"][:, 1] + skeleton.frames["chest"][:, 2]
    ahead = unit(np.array([ahead[0], 0.0, ahead[2]]))
    for side, sign in SIDES:
        target = skeleton.joints[f"{side}_wrist"].copy()
        target[1] = 0.035
        _arm(skeleton, side, target)
        fingers = unit(ahead + 0.25 * sign * np.cross([0.0, 1.0, 0.0], ahead) - [0.0, 0.1, 0.0])
        skeleton.frames[f"{side}_hand"] = _frame(-fingers, np.array([0.0, -1.0, 0.0]))


def _join(skeleton: Skeleton, body: Proportions) -> None:
    """Palms together in front of the breastbone or over the head."""
    chest = skeleton.frames["chest"]
    middle = (skeleton.joints["left_wrist"] + skeleton.joints["right_wrist"]) / 2
    away = middle - skeleton.joints["neck"]
    # The middle plane of the chest, not pressed into it.
    middle = middle - chest[:, 0] * float(away @ chest[:, 0])
    depth = float((middle - skeleton.joints["neck"]) @ chest[:, 2])
    low = float((middle - skeleton.joints["neck"]) @ chest[:, 1]) < 0
    if low:
        middle = middle + chest[:, 2] * max(0.0, 0.20 * body.chest + 0.06 - depth)
    for side, sign in SIDES:
        _arm(skeleton, side, middle + chest[:, 0] * sign * 0.028)
        up = chest[:, 1] if low else unit(skeleton.joints[f"{side}_wrist"] - skeleton.joints["neck"])
        skeleton.frames[f"{side}_hand"] = _frame(-up, -sign * chest[:, 0])


def _prop(skeleton: Skeleton, body: Proportions, lifted: str, standing: str) -> None:
    """The sole of the lifted foot against the inside of the standing leg, never on its knee."""
    joints, sign = skeleton.joints, 1.0 if lifted == "left" else -1.0
    hip, knee, ankle = (joints[f"{standing}_{name}"] for name in ("hip", "knee", "ankle"))
    share = float((joints[f"{lifted}_ankle"] - hip) @ unit(knee - hip)) / body.thigh
    point = hip + (knee - hip) * np.clip(share, 0.35, 0.72) if share < 1 else knee + (ankle - knee) * 0.25
    inward = skeleton.frames["pelvis"][:, 0] * sign
    target = point + inward * (0.115 * body.limbs) + np.array([0.0, 0.03, 0.0])
    _reach(skeleton, (f"{lifted}_hip", f"{lifted}_knee", f"{lifted}_ankle"), (f"{lifted}_thigh", f"{lifted}_shin"), target)
    toes = unit(ankle - hip) + 0.35 * skeleton.frames["pelvis"][:, 2]
    skeleton.frames[f"{lifted}_foot"] = _frame(unit(inward - toes * float(inward @ toes) / float(toes @ toes)), toes)


def _stand(skeleton: Skeleton, variant: Variant, body: Proportions) -> None:
    """Feet flat on the floor where they carry, and the whole body with its lowest joint on the floor."""
    lying = "hips" in variant.grounded
    lowest = min(skeleton.joints[f"{side}_ankle"][1] for side, _ in SIDES)
    for side, _ in SIDES:
        if not lying and skeleton.joints[f"{side}_ankle"][1] < lowest + 0.15:
            heading = skeleton.frames[f"{side}_foot"][:, 2] + 0.3 * skeleton.frames[f"{side}_shin"][:, 2]
            heading = heading * [1.0, 0.0, 1.0]
            skeleton.frames[f"{side}_foot"] = _frame(np.array([0.0, 1.0, 0.0]), unit(heading))
    if variant.propped:
        _move(skeleton, np.eye(3), np.array([0.0, 0.075 - lowest, 0.0]))


def _face(skeleton: Skeleton, body: Proportions) -> None:
    """Nose, eyes and ears, from the head's frame and height."""
    for name, place in {
        "nose": (0.0, 0.36, 0.47), "left_eye": (0.14, 0.50, 0.37), "right_eye": (-0.14, 0.50, 0.37),
        "left_ear": (0.33, 0.44, -0.02), "right_ear": (-0.33, 0.44, -0.02),
    }.items():  # fmt: skip
        skeleton.joints[name] = skeleton.joints["skull"] + skeleton.frames["head"] @ (np.array(place) * body.head)
