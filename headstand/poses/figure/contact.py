"""Contact constraints of poses: feet and hands on the floor, palms together, a foot against the other leg.

Forward kinematics from joint angles alone leaves gaps of several centimetres at the contacts. The body is tilted by the
smallest possible angle, and arms and legs are bent by two-bone inverse kinematics, until the contacts are met.
"""

import numpy as np

from headstand.poses.figure.geometry import Array, between, frame, unit
from headstand.poses.figure.poses import PoseVariant
from headstand.poses.figure.proportions import Proportions
from headstand.poses.figure.skeleton import SIDES, Skeleton

SOLE = 0.075
"""Height of the ankle joint above the floor in metres when the foot is flat."""


def rest(skeleton: Skeleton, variant: PoseVariant, mirrored: bool, body: Proportions) -> None:
    """Places a skeleton on the floor, in place, and meets the contact constraints of the pose variant."""
    if variant.propped:
        _prop(skeleton, body, *(("right", "left") if mirrored else ("left", "right")))
    else:
        _settle(skeleton, variant)
    if variant.prayer:
        _join(skeleton, body)
    if variant.planted:
        _plant(skeleton)
    _stand(skeleton, variant)


def _resting(skeleton: Skeleton, variant: PoseVariant) -> Array:
    """Returns the joints that rest on the floor, `[N, 3]`, lowered by their height above it in that position."""
    # Heights of the joint centres above the floor when the part rests on it, in metres.
    parts = {"feet": ("ankle", SOLE), "hands": ("wrist", 0.03), "hips": ("hip", 0.10)}
    if "hips" in variant.grounded:
        parts["feet"] = ("ankle", 0.05)  # lying: the instep is on the floor
    points = []
    for part in variant.grounded:
        name, height = parts[part]
        points += [skeleton.joints[f"{side}_{name}"] - [0.0, height, 0.0] for side, _ in SIDES]
    return np.array(points)


def _settle(skeleton: Skeleton, variant: PoseVariant) -> None:
    """Tilts the body by the smallest rotation that levels its floor contacts (least squares)."""
    points = _resting(skeleton, variant)
    middle = points.mean(0)
    tip = 5.0 if variant.grounded == ("feet",) else 40.0
    slope = np.linalg.lstsq(points[:, [0, 2]] - middle[[0, 2]], points[:, 1] - middle[1], rcond=1e-3)[0]
    # With feet close together, a small height difference would tilt the body far; `_stand` bends the legs instead.
    slope = slope * min(1.0, np.tan(np.deg2rad(tip)) / max(float(np.hypot(*slope)), 1e-6))
    normal = unit(np.array([-slope[0], 1.0, -slope[1]]))
    skeleton.move(between(normal, np.array([0.0, 1.0, 0.0])), np.zeros(3))
    skeleton.move(np.eye(3), np.array([0.0, -_resting(skeleton, variant)[:, 1].mean(), 0.0]))


def _reach(skeleton: Skeleton, names: tuple[str, str, str], parts: tuple[str, str], target: Array) -> None:
    """Bends a two-segment limb so that its end is at `target`; the elbow or knee keeps its bending direction."""
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
        skeleton.frames[part] = between(unit(old), unit(new)) @ skeleton.frames[part]
    skeleton.joints[names[1]], skeleton.joints[names[2]] = joint, tip


def _arm(skeleton: Skeleton, side: str, target: Array) -> None:
    before = skeleton.frames[f"{side}_forearm"]
    _reach(
        skeleton,
        (f"{side}_shoulder", f"{side}_elbow", f"{side}_wrist"),
        (f"{side}_upper_arm", f"{side}_forearm"),
        target,
    )
    skeleton.frames[f"{side}_hand"] = skeleton.frames[f"{side}_forearm"] @ before.T @ skeleton.frames[f"{side}_hand"]


def _leg(skeleton: Skeleton, side: str, target: Array) -> None:
    _reach(skeleton, (f"{side}_hip", f"{side}_knee", f"{side}_ankle"), (f"{side}_thigh", f"{side}_shin"), target)


def _plant(skeleton: Skeleton) -> None:
    """Places the hands flat on the floor at their current positions, fingers forward."""
    ahead = skeleton.frames["chest"][:, 1] + skeleton.frames["chest"][:, 2]
    ahead = unit(np.array([ahead[0], 0.0, ahead[2]]))
    for side, sign in SIDES:
        target = skeleton.joints[f"{side}_wrist"].copy()
        target[1] = 0.035
        _arm(skeleton, side, target)
        fingers = unit(ahead + 0.25 * sign * np.cross([0.0, 1.0, 0.0], ahead) - [0.0, 0.1, 0.0])
        skeleton.frames[f"{side}_hand"] = frame(-fingers, np.array([0.0, -1.0, 0.0]))


def _join(skeleton: Skeleton, body: Proportions) -> None:
    """Brings the palms together in front of the breastbone or above the head."""
    chest = skeleton.frames["chest"]
    middle = (skeleton.joints["left_wrist"] + skeleton.joints["right_wrist"]) / 2
    away = middle - skeleton.joints["neck"]
    # Move the hands to the sagittal plane of the chest, and forward if they would be inside the chest.
    middle = middle - chest[:, 0] * float(away @ chest[:, 0])
    depth = float((middle - skeleton.joints["neck"]) @ chest[:, 2])
    low = float((middle - skeleton.joints["neck"]) @ chest[:, 1]) < 0
    if low:
        middle = middle + chest[:, 2] * max(0.0, 0.20 * body.chest + 0.06 - depth)
    for side, sign in SIDES:
        _arm(skeleton, side, middle + chest[:, 0] * sign * 0.028)
        up = chest[:, 1] if low else unit(skeleton.joints[f"{side}_wrist"] - skeleton.joints["neck"])
        skeleton.frames[f"{side}_hand"] = frame(-up, -sign * chest[:, 0])


def _prop(skeleton: Skeleton, body: Proportions, lifted: str, standing: str) -> None:
    """Places the sole of the lifted foot against the inside of the standing leg, above or below the knee."""
    joints, sign = skeleton.joints, 1.0 if lifted == "left" else -1.0
    hip, knee, ankle = (joints[f"{standing}_{name}"] for name in ("hip", "knee", "ankle"))
    share = float((joints[f"{lifted}_ankle"] - hip) @ unit(knee - hip)) / body.thigh
    point = hip + (knee - hip) * np.clip(share, 0.35, 0.72) if share < 1 else knee + (ankle - knee) * 0.25
    inward = skeleton.frames["pelvis"][:, 0] * sign
    target = point + inward * (0.115 * body.limbs) + np.array([0.0, 0.03, 0.0])
    _leg(skeleton, lifted, target)
    toes = unit(ankle - hip) + 0.35 * skeleton.frames["pelvis"][:, 2]
    skeleton.frames[f"{lifted}_foot"] = frame(unit(inward - toes * float(inward @ toes) / float(toes @ toes)), toes)


def _stand(skeleton: Skeleton, variant: PoseVariant) -> None:
    """Places the weight-bearing feet flat on the floor."""
    if variant.propped:
        lowest = min(skeleton.joints[f"{side}_ankle"][1] for side, _ in SIDES)
        skeleton.move(np.eye(3), np.array([0.0, SOLE - lowest, 0.0]))
    elif variant.grounded == ("feet",):
        # The leg that reaches less far down stands on the floor; the other one is bent to match.
        shorter = max(skeleton.joints[f"{side}_ankle"][1] for side, _ in SIDES)
        skeleton.move(np.eye(3), np.array([0.0, SOLE - shorter, 0.0]))
    for side, _ in SIDES:
        ankle = skeleton.joints[f"{side}_ankle"]
        if "feet" in variant.grounded and "hips" not in variant.grounded and ankle[1] < SOLE + 0.1:
            if ankle[1] < SOLE - 0.002:
                _leg(skeleton, side, np.array([ankle[0], SOLE, ankle[2]]))
            heading = skeleton.frames[f"{side}_foot"][:, 2] + 0.3 * skeleton.frames[f"{side}_shin"][:, 2]
            heading = heading * [1.0, 0.0, 1.0]
            skeleton.frames[f"{side}_foot"] = frame(np.array([0.0, 1.0, 0.0]), unit(heading))
