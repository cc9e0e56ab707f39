"""Joint angles of seventeen actions for synthetic heatmaps; floor contact is not modelled."""

from headstand.poses.figure.poses import PoseVariant

_HANGING = {"shoulder_flex": (4, 8), "shoulder_abduct": (9, 5), "elbow_flex": (14, 9)}
_UP = {"shoulder_flex": (168, 8), "shoulder_abduct": (12, 7), "elbow_flex": (9, 7)}
_AHEAD = {"shoulder_flex": (88, 8), "shoulder_abduct": (4, 5), "elbow_flex": (7, 6)}
_ASIDE = {"shoulder_abduct": (88, 8), "elbow_flex": (6, 5)}
_AKIMBO = {"shoulder_flex": (-12, 6), "shoulder_abduct": (46, 7), "shoulder_rotate": (-62, 8), "elbow_flex": (92, 9)}
_FOLDED = {"shoulder_flex": (46, 8), "shoulder_abduct": (6, 5), "shoulder_rotate": (-62, 8), "elbow_flex": (102, 9)}
_LUNGE = {
    "left_hip_flex": (50, 8), "left_hip_abduct": (58, 7), "left_hip_rotate": (62, 10), "left_knee_flex": (82, 9),
    "right_hip_abduct": (42, 6), "right_knee_flex": (6, 5), "pelvis_roll": (0, 4),
}  # fmt: skip

ACTIONS: dict[str, tuple[PoseVariant, ...]] = {
    "action_aside": (PoseVariant(_ASIDE),),
    "action_balance": (
        PoseVariant({"pelvis_pitch": (78, 8), "left_hip_flex": (78, 8), "right_hip_flex": (4, 7),
                     "neck_flex": (-30, 12), **_ASIDE}),
        PoseVariant({"pelvis_pitch": (78, 8), "left_hip_flex": (78, 8), "right_hip_flex": (4, 7), **_UP}),
    ),
    "action_down": (
        PoseVariant({"pelvis_pitch": (82, 9), "hip_flex": (84, 9), "knee_flex": (8, 7), "spine_flex": (30, 10),
                 "shoulder_flex": (108, 10), "elbow_flex": (10, 8), "neck_flex": (15, 12)}),
    ),
    "action_forward": (PoseVariant(_AHEAD),),
    "action_hips": (PoseVariant(_AKIMBO),),
    "action_inside": (PoseVariant(_FOLDED),),
    "action_jack": (
        PoseVariant({"hip_abduct": (30, 5), "shoulder_abduct": (138, 8), "elbow_flex": (9, 7)}),
    ),
    "action_kick": (
        PoseVariant({"left_hip_flex": (84, 10), "left_knee_flex": (10, 8), "spine_flex": (-6, 6), **_HANGING}),
        PoseVariant({"left_hip_flex": (84, 10), "left_knee_flex": (10, 8), "spine_flex": (-6, 6), **_ASIDE}),
    ),
    "action_knee": (
        PoseVariant({"left_hip_flex": (92, 10), "left_knee_flex": (96, 10), **_HANGING}),
        PoseVariant({"left_hip_flex": (92, 10), "left_knee_flex": (96, 10), **_AKIMBO}),
    ),
    "action_lunge": (
        PoseVariant({**_LUNGE, **_ASIDE}),
        PoseVariant({**_LUNGE, **_AKIMBO}),
    ),
    "action_plank": (
        PoseVariant({"pelvis_pitch": (78, 7), "hip_flex": (-2, 5), "knee_flex": (5, 4), "shoulder_flex": (80, 8),
                 "elbow_flex": (7, 6), "neck_flex": (-20, 12)}),
    ),
    "action_side": (
        PoseVariant({"spine_side": (32, 4), "pelvis_roll": (12, 5), "right_shoulder_abduct": (165, 8),
                 "left_shoulder_abduct": (14, 7), "elbow_flex": (12, 8)}),
    ),
    "action_sit": (
        PoseVariant({"pelvis_pitch": (-6, 6), "hip_flex": (84, 8), "knee_flex": (6, 5), **_HANGING}),
        PoseVariant({"pelvis_pitch": (12, 7), "hip_flex": (98, 8), "knee_flex": (6, 5), **_AHEAD}),
    ),
    "action_squat": (
        PoseVariant({"pelvis_pitch": (26, 7), "hip_flex": (104, 9), "knee_flex": (104, 10), "hip_abduct": (14, 6),
                 "hip_rotate": (14, 8), **_AHEAD}),
        PoseVariant({"pelvis_pitch": (26, 7), "hip_flex": (104, 9), "knee_flex": (104, 10), "hip_abduct": (14, 6),
                 "hip_rotate": (14, 8), **_FOLDED}),
    ),
    "action_stand": (PoseVariant(_HANGING),),
    "action_up": (PoseVariant(_UP),),
    "action_wave": (
        PoseVariant({**_HANGING, "left_shoulder_abduct": (104, 9), "left_shoulder_flex": (0, 8),
                 "left_shoulder_rotate": (86, 8), "left_elbow_flex": (72, 12)}),
    ),
}  # fmt: skip
"""Variants of each action, sampled in proportion to `PoseVariant.weight`. Half of the samples are mirrored."""
