"""Yoga poses as data: distributions of joint angles, joint limits and contacts.

Angles are degrees from standing upright with hanging arms, with the sign conventions of clinical goniometry:

- `pelvis_pitch` (leaning forward), `pelvis_roll` (to the left), `spine_flex`, `spine_side`, `spine_turn` and the same
  of the neck (flex forward, side and turn to the person's left);
- of each leg `hip_flex` (knee forward and up), `hip_abduct` (outwards), `hip_rotate` (toes outwards), `knee_flex`,
  `ankle_flex` (toes up);
- of each arm `shoulder_flex` (forward and up), `shoulder_abduct` (outwards), `shoulder_rotate` (outwards),
  `elbow_flex`.

A limb angle without `left_` or `right_` applies to both sides.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

Angles = dict[str, float]
"""Joint angles in degrees; names of limb angles start with `left_` or `right_`."""

LIMITS: dict[str, tuple[float, float]] = {
    "pelvis_pitch": (-60, 180),
    "pelvis_roll": (-90, 90),
    "spine_flex": (-100, 100),
    "spine_side": (-40, 40),
    "spine_turn": (-55, 55),
    "neck_flex": (-70, 60),
    "neck_side": (-45, 45),
    "neck_turn": (-80, 80),
    "hip_flex": (-65, 135),
    "hip_abduct": (-30, 85),
    "hip_rotate": (-45, 95),
    "knee_flex": (0, 150),
    "ankle_flex": (-65, 35),
    "shoulder_flex": (-60, 185),
    "shoulder_abduct": (-20, 180),
    "shoulder_rotate": (-90, 100),
    "elbow_flex": (0, 150),
}
"""Minimum and maximum of each joint angle: the range of a flexible person, slightly beyond clinical norms."""

TRUNK = ("pelvis_pitch", "pelvis_roll", "spine_flex", "spine_side", "spine_turn", "neck_flex", "neck_side", "neck_turn")
LIMB = tuple(name for name in LIMITS if name not in TRUNK)
SPREAD = 4.0
"""Standard deviation in degrees of an angle that a pose does not specify."""


@dataclass(frozen=True)
class PoseVariant:
    """One way to hold a pose.

    Attributes:
        angles: (mean, standard deviation) of each joint angle in degrees; samples are clipped to `LIMITS`.
        grounded: parts that rest on the floor (`feet`, `hands`, `hips`).
        planted: whether the hands lie flat on the floor.
        prayer: whether the palms touch each other.
        propped: whether the left sole is against the right leg (mirrored: the right against the left).
        weight: relative frequency among the variants of the pose.
    """

    angles: Mapping[str, tuple[float, float]]
    grounded: tuple[str, ...] = ("feet",)
    planted: bool = False
    prayer: bool = False
    propped: bool = False
    weight: float = 1.0


_OVERHEAD = {"shoulder_flex": (168, 9), "shoulder_abduct": (8, 6), "elbow_flex": (10, 9), "shoulder_rotate": (0, 15)}
_PRAYER = {"shoulder_flex": (42, 8), "shoulder_abduct": (14, 6), "shoulder_rotate": (-48, 6), "elbow_flex": (118, 7)}
_SPREAD = {"shoulder_abduct": (90, 6), "shoulder_flex": (0, 6), "elbow_flex": (5, 5), "shoulder_rotate": (0, 20)}
_STEEPLE = {"shoulder_flex": (165, 6), "shoulder_abduct": (12, 5), "elbow_flex": (38, 10), "shoulder_rotate": (30, 10)}

_CHAIR = {
    "pelvis_pitch": (32, 8), "spine_flex": (0, 8), "neck_flex": (-10, 12), "hip_flex": (98, 10),
    "hip_abduct": (5, 4), "knee_flex": (84, 10), "hip_rotate": (4, 4), "neck_turn": (0, 10),
}  # fmt: skip
_COBRA = {
    "pelvis_pitch": (84, 4), "spine_flex": (-58, 14), "neck_flex": (-18, 14), "hip_flex": (-4, 3), "hip_abduct": (6, 4),
    "hip_rotate": (0, 5), "knee_flex": (3, 3), "ankle_flex": (-58, 5), "neck_turn": (0, 12),
}  # fmt: skip
_TREE = {
    "pelvis_pitch": (0, 3), "spine_flex": (0, 4), "right_hip_flex": (0, 3), "right_hip_abduct": (-3, 3),
    "right_knee_flex": (3, 3), "left_hip_abduct": (56, 9), "left_hip_flex": (18, 9), "left_hip_rotate": (76, 7),
    "left_knee_flex": (128, 9), "left_ankle_flex": (-35, 8), "neck_flex": (0, 8), "neck_turn": (0, 10),
}  # fmt: skip
_GODDESS = {
    "pelvis_pitch": (6, 6), "hip_abduct": (60, 6), "hip_flex": (26, 8), "hip_rotate": (68, 8), "knee_flex": (74, 10),
    "neck_flex": (0, 8), "neck_turn": (0, 10),
}  # fmt: skip
_SIDEWAYS = {
    "pelvis_pitch": (2, 3), "left_hip_abduct": (74, 5), "left_hip_rotate": (82, 6), "left_knee_flex": (74, 10),
    "left_hip_flex": (10, 6), "right_hip_abduct": (52, 4), "right_hip_flex": (0, 4), "right_hip_rotate": (15, 10),
    "right_knee_flex": (3, 3), "neck_turn": (62, 16),
}  # fmt: skip
_LUNGE = {
    "pelvis_pitch": (6, 6), "left_hip_flex": (84, 7), "left_hip_abduct": (5, 4), "left_knee_flex": (78, 9),
    "right_hip_flex": (-46, 5), "right_hip_abduct": (5, 4), "right_knee_flex": (5, 5), "right_hip_rotate": (18, 12),
    "spine_flex": (-8, 7), "neck_flex": (-8, 12), "neck_turn": (0, 12),
}  # fmt: skip

VARIANTS: dict[str, tuple[PoseVariant, ...]] = {
    "chair": (
        PoseVariant(_CHAIR | {**_OVERHEAD, "shoulder_flex": (158, 12)}, weight=3),
        PoseVariant(_CHAIR | _PRAYER, prayer=True, weight=0.5),
    ),
    "cobra": (
        PoseVariant(
            _COBRA | {"shoulder_flex": (48, 8), "shoulder_abduct": (8, 5), "elbow_flex": (30, 15)},
            grounded=("hips", "feet"), planted=True, weight=2,
        ),
        PoseVariant(
            _COBRA | {"spine_flex": (-38, 8), "shoulder_flex": (20, 8), "shoulder_abduct": (16, 6),
                      "elbow_flex": (85, 12)},
            grounded=("hips", "feet"), planted=True,
        ),
    ),
    "downdog": (
        PoseVariant(
            {"pelvis_pitch": (135, 5), "hip_flex": (92, 7), "knee_flex": (6, 5), "hip_abduct": (6, 3),
             "shoulder_flex": (172, 6), "shoulder_abduct": (6, 4), "elbow_flex": (5, 4), "spine_flex": (2, 8),
             "neck_flex": (0, 14), "ankle_flex": (12, 6), "shoulder_rotate": (0, 10)},
            grounded=("hands", "feet"), planted=True,
        ),
    ),
    "goddess": (
        PoseVariant(
            _GODDESS | {"shoulder_abduct": (86, 9), "shoulder_rotate": (88, 9), "elbow_flex": (84, 12),
                        "shoulder_flex": (0, 6)},
            weight=2,
        ),
        PoseVariant(_GODDESS | _PRAYER, prayer=True),
        PoseVariant(_GODDESS | _STEEPLE, prayer=True, weight=0.6),
        PoseVariant(_GODDESS | _SPREAD, weight=0.4),
    ),
    "tree": (
        PoseVariant(_TREE | _STEEPLE, prayer=True, propped=True, weight=2),
        PoseVariant(_TREE | _PRAYER, prayer=True, propped=True, weight=1.5),
        PoseVariant(_TREE | {**_OVERHEAD, "shoulder_abduct": (22, 10), "shoulder_flex": (170, 8)}, propped=True),
    ),
    "warrior": (
        PoseVariant(_SIDEWAYS | _SPREAD, weight=2),
        PoseVariant(_LUNGE | _OVERHEAD),
    ),
}  # fmt: skip
"""Variants of each pose, sampled in proportion to `PoseVariant.weight`. Half of the samples are mirrored."""


def sample(pose: str, rng: np.random.Generator) -> tuple[PoseVariant, Angles, bool]:
    """Samples a variant of a pose, its joint angles within `LIMITS`, and whether the pose is mirrored.

    The returned angles are already mirrored. In a mirrored pose `propped` means the right sole against the left leg.
    """
    return drawn(VARIANTS[pose], rng)


def drawn(variants: Sequence[PoseVariant], rng: np.random.Generator) -> tuple[PoseVariant, Angles, bool]:
    """Samples one of the variants; returns the same values as `sample`."""
    weights = np.array([variant.weight for variant in variants])
    variant = variants[int(rng.choice(len(variants), p=weights / weights.sum()))]
    mirrored = bool(rng.random() < 0.5)
    angles = {}
    for name in TRUNK:
        centre, spread = variant.angles.get(name, (0.0, SPREAD))
        angles[name] = _within(name, rng.normal(centre, spread))
    for name in LIMB:
        # The two sides are correlated: a common deviation plus a smaller one of each side (0.92^2 + 0.39^2 = 1).
        common, both = rng.normal(), variant.angles.get(name, (0.0, SPREAD))
        for side in ("left", "right"):
            centre, spread = variant.angles.get(f"{side}_{name}", both)
            angles[f"{side}_{name}"] = _within(name, centre + spread * (0.92 * common + 0.39 * rng.normal()))
    return variant, mirror(angles) if mirrored else angles, mirrored


def mirror(angles: Angles) -> Angles:
    """Returns the mirror image of a pose: left and right are swapped, and roll, side and turn angles change sign."""
    swap = {"left": "right", "right": "left"}
    result = {}
    for name, value in angles.items():
        side, _, rest = name.partition("_")
        if side in swap:
            result[f"{swap[side]}_{rest}"] = value
        else:
            result[name] = -value if name.endswith(("_roll", "_side", "_turn")) else value
    return result


def _within(name: str, angle: float) -> float:
    low, high = LIMITS[name]
    return float(min(max(angle, low), high))
