"""Forward kinematics: joint positions from joint angles."""

from dataclasses import dataclass

import numpy as np

from headstand.poses.figure.geometry import Array, rotation
from headstand.poses.figure.poses import Angles
from headstand.poses.figure.proportions import Proportions

SIDES = (("left", 1.0), ("right", -1.0))
SPINE = 6
"""Segments between hips and neck; the spine angles are divided among them."""


@dataclass
class Skeleton:
    """Joint positions `[3]` in metres and segment frames `[3, 3]` (columns: left, up along the segment, front)."""

    joints: dict[str, Array]
    frames: dict[str, Array]
    spine: Array  # [SPINE + 1, 3], hips to neck
    spine_frames: Array  # [SPINE + 1, 3, 3]

    def move(self, turn: Array, shift: Array) -> None:
        """Rotates the skeleton about the origin by a matrix `[3, 3]`, then translates it by `[3]` metres, in place."""
        for name, point in self.joints.items():
            self.joints[name] = turn @ point + shift
        for name, frame in self.frames.items():
            self.frames[name] = turn @ frame
        self.spine = self.spine @ turn.T + shift
        self.spine_frames = turn @ self.spine_frames


def forward(angles: Angles, body: Proportions) -> Skeleton:
    """Returns the skeleton for the joint angles, with the hips at the origin and without floor contact."""
    pelvis = rotation("z", -angles["pelvis_roll"]) @ rotation("x", angles["pelvis_pitch"])
    joints: dict[str, Array] = {"pelvis": np.zeros(3)}
    frames: dict[str, Array] = {"pelvis": pelvis}
    # Share of the spine angles per segment: none in the pelvis, most in the lumbar, little in the thoracic spine.
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
        # The shoulder joint moves up and inwards with a raised arm (scapulohumeral rhythm).
        arm = chest @ _limb(angles, side, "shoulder", sign)
        raised = np.clip((np.degrees(np.arccos(np.clip(arm[:, 1] @ chest[:, 1], -1, 1))) - 50) / 120, 0, 1)
        offset = np.array([sign * body.shoulders * (1 - 0.10 * raised), -0.045 + 0.065 * raised, -0.005])
        joints[f"{side}_shoulder"] = joints["neck"] + chest @ offset
        frames[f"{side}_upper_arm"] = arm
        frames[f"{side}_forearm"] = arm @ rotation("x", -angles[f"{side}_elbow_flex"])
        joints[f"{side}_elbow"] = joints[f"{side}_shoulder"] - arm[:, 1] * body.upper_arm
        joints[f"{side}_wrist"] = joints[f"{side}_elbow"] - frames[f"{side}_forearm"][:, 1] * body.forearm
        # The front of the hand frame is the palm, which faces the body when the arm hangs.
        frames[f"{side}_hand"] = frames[f"{side}_forearm"] @ rotation("y", -sign * 70)
        thigh = pelvis @ _limb(angles, side, "hip", sign)
        shin = thigh @ rotation("x", angles[f"{side}_knee_flex"])
        frames[f"{side}_thigh"], frames[f"{side}_shin"] = thigh, shin
        frames[f"{side}_foot"] = shin @ rotation("x", -angles[f"{side}_ankle_flex"])
        joints[f"{side}_hip"] = pelvis @ np.array([sign * body.hips, 0.0, 0.0])
        joints[f"{side}_knee"] = joints[f"{side}_hip"] - thigh[:, 1] * body.thigh
        joints[f"{side}_ankle"] = joints[f"{side}_knee"] - shin[:, 1] * body.shin
    _face(joints, frames["head"], body)
    return Skeleton(joints, frames, np.array(spine), np.array(turned))


def _trunk(angles: Angles, part: str, share: float) -> Array:
    flex, side, turn = (share * angles[f"{part}_{kind}"] for kind in ("flex", "side", "turn"))
    return rotation("y", turn) @ rotation("z", -side) @ rotation("x", flex)


def _limb(angles: Angles, side: str, joint: str, sign: float) -> Array:
    flex, abduct, rotate = (angles[f"{side}_{joint}_{kind}"] for kind in ("flex", "abduct", "rotate"))
    return rotation("x", -flex) @ rotation("z", sign * abduct) @ rotation("y", sign * rotate)


def _face(joints: dict[str, Array], head: Array, body: Proportions) -> None:
    """Adds the positions of nose, eyes and ears to `joints`, in place."""
    for name, place in {
        "nose": (0.0, 0.36, 0.47), "left_eye": (0.14, 0.50, 0.37), "right_eye": (-0.14, 0.50, 0.37),
        "left_ear": (0.33, 0.44, -0.02), "right_ear": (-0.33, 0.44, -0.02),
    }.items():  # fmt: skip
        joints[name] = joints["skull"] + head @ (np.array(place) * body.head)
