"""Surface mesh of the clothed body around a skeleton, with rounded joints."""

import numpy as np

from headstand.poses.figure.geometry import Array, unit
from headstand.poses.figure.mesh import Mesh, MeshBuilder
from headstand.poses.figure.outfit import Outfit
from headstand.poses.figure.proportions import Proportions
from headstand.poses.figure.skeleton import SIDES, Skeleton

# Ring tables: position along the part, half-width, half-depth at the front and at the back, in metres for an average
# adult (head: in head heights). Positions: 0 at a limb's root, 1 at the elbow or knee, 2 at the wrist or ankle; in the
# trunk 0 at the hips and 1 at the neck; in the head, head heights above the skull joint.
_LEG = np.array([
    (-0.16, 0.001, 0.001, 0.001), (-0.13, 0.055, 0.055, 0.065), (-0.05, 0.084, 0.082, 0.098), (0.08, 0.093, 0.09, 0.1),
    (0.25, 0.088, 0.085, 0.092), (0.5, 0.074, 0.074, 0.074), (0.75, 0.060, 0.060, 0.056), (0.92, 0.052, 0.055, 0.047),
    (1.0, 0.050, 0.055, 0.045), (1.1, 0.048, 0.047, 0.052), (1.28, 0.052, 0.043, 0.066), (1.5, 0.045, 0.038, 0.057),
    (1.75, 0.033, 0.031, 0.037), (1.93, 0.030, 0.030, 0.033), (2.03, 0.034, 0.034, 0.040), (2.1, 0.024, 0.026, 0.030),
    (2.13, 0.001, 0.001, 0.001),
])  # fmt: skip
_ARM = np.array([
    (-0.20, 0.001, 0.001, 0.001), (-0.17, 0.036, 0.036, 0.036), (-0.05, 0.054, 0.055, 0.055), (0.1, 0.054, 0.056, 0.06),
    (0.3, 0.046, 0.050, 0.048), (0.6, 0.039, 0.044, 0.042), (0.9, 0.034, 0.036, 0.036), (1.0, 0.035, 0.035, 0.037),
    (1.2, 0.040, 0.038, 0.038), (1.5, 0.034, 0.033, 0.033), (1.8, 0.027, 0.024, 0.024), (2.0, 0.026, 0.021, 0.021),
    (2.04, 0.001, 0.001, 0.001),
])  # fmt: skip
_TRUNK = np.array([
    (1.05, 0.001, 0.001, 0.001), (1.04, 0.045, 0.045, 0.045), (1.00, 0.070, 0.055, 0.062), (0.96, 0.112, 0.064, 0.075),
    (0.92, 0.140, 0.076, 0.086), (0.84, 0.152, 0.098, 0.097), (0.74, 0.155, 0.108, 0.098), (0.64, 0.147, 0.104, 0.088),
    (0.52, 0.134, 0.094, 0.077), (0.40, 0.126, 0.092, 0.074), (0.28, 0.135, 0.096, 0.084), (0.14, 0.154, 0.098, 0.104),
    (0.0, 0.166, 0.095, 0.120), (-0.1, 0.158, 0.085, 0.116), (-0.17, 0.125, 0.070, 0.092), (-0.22, 0.06, 0.04, 0.05),
    (-0.24, 0.001, 0.001, 0.001),
])  # fmt: skip
_HEAD = np.array([
    (1.0, 0.001, 0.001, 0.001), (0.985, 0.10, 0.12, 0.14), (0.93, 0.22, 0.26, 0.29), (0.83, 0.295, 0.35, 0.39),
    (0.68, 0.33, 0.395, 0.43), (0.52, 0.325, 0.39, 0.42), (0.40, 0.312, 0.395, 0.37), (0.27, 0.285, 0.40, 0.29),
    (0.14, 0.245, 0.395, 0.20), (0.03, 0.185, 0.375, 0.12), (-0.05, 0.11, 0.33, 0.04), (-0.09, 0.001, 0.2, -0.2),
])  # fmt: skip


def build_mesh(skeleton: Skeleton, body: Proportions, outfit: Outfit) -> Mesh:
    """Returns the surface mesh of a clothed body in its pose."""
    builder = MeshBuilder()
    _trunk(builder, skeleton, body, outfit)
    _head(builder, skeleton, body, outfit)
    _hair(builder, skeleton, body, outfit)
    for side, sign in SIDES:
        joints = [skeleton.joints[f"{side}_{name}"] for name in ("hip", "knee", "ankle")]
        frames = [skeleton.frames[f"{side}_{name}"] for name in ("thigh", "shin")]
        table = _fine(_LEG, 34)
        table[:, 1:] *= body.limbs
        table[:, 1:] *= outfit.ease("leg", np.linspace(0, 1, len(table)))[:, None]
        _limb(builder, outfit.parts.index(f"{side}_leg"), joints, frames, table, 16, 0.07)
        _foot(builder, outfit.parts.index(f"{side}_foot"), skeleton, side, body)
        joints = [skeleton.joints[f"{side}_{name}"] for name in ("shoulder", "elbow", "wrist")]
        frames = [skeleton.frames[f"{side}_{name}"] for name in ("upper_arm", "forearm")]
        table = _fine(_ARM, 28)
        table[:, 1:] *= body.limbs
        table[:, 1:] *= outfit.ease("arm", np.linspace(0, 1, len(table)))[:, None]
        _limb(builder, outfit.parts.index(f"{side}_arm"), joints, frames, table, 14, 0.05)
        _hand(builder, outfit.parts.index(f"{side}_hand"), skeleton, side, sign, body, outfit.spread_fingers)
        # From the collar bone to the shoulder, so that there is no gap between a raised arm and the chest.
        chest = skeleton.frames["chest"]
        start = skeleton.joints["neck"] + chest @ np.array([sign * 0.045, -0.035, 0.0])
        path = start + np.linspace(0, 1, 8)[:, None] * (skeleton.joints[f"{side}_shoulder"] - start)
        girth = np.array([0.001, 0.045, 0.052, 0.055, 0.057, 0.057, 0.05, 0.001])[:, None] * np.ones((1, 3))
        builder.rod(outfit.parts.index("yoke"), path, chest[:, 1], girth * (0.6 + 0.4 * body.chest), 12)
    return builder.mesh()


def _fine(table: Array, count: int) -> Array:
    """Returns the ring table resampled to `count` rings: linear interpolation, then [1, 2, 1] / 4 smoothing."""
    place = np.interp(np.linspace(0, len(table) - 1, count), np.arange(len(table)), table[:, 0])
    order = np.argsort(table[:, 0])
    columns = [np.interp(place, table[order, 0], table[order, column]) for column in range(1, table.shape[1])]
    rings = np.stack(columns, 1)
    rings[1:-1] = (rings[:-2] + 2 * rings[1:-1] + rings[2:]) / 4
    return np.concatenate([place[:, None], rings], 1)


def _limb(
    builder: MeshBuilder, part: int, joints: list[Array], frames: list[Array], table: Array, around: int, bend: float
) -> None:
    """Adds the tube of a limb, from its root to its end, bent at the middle joint.

    The bend is rounded over `bend` metres on each side of the middle joint.
    """
    root, middle, end = joints
    upper, lower = float(np.linalg.norm(middle - root)), float(np.linalg.norm(end - middle))
    place = table[:, 0]
    along = np.where(place < 1, (place - 1) * upper, (place - 1) * lower)
    # A smooth max(0, along), the distance past the middle joint: quadratic between -bend and bend.
    past = np.where(along >= bend, along, np.where(along <= -bend, 0, (along + bend) ** 2 / (4 * bend)))
    share = np.clip((along + bend) / (2 * bend), 0, 1)[:, None]
    first, second = unit(middle - root), unit(end - middle)
    centres = middle + first * (along - past)[:, None] + second * past[:, None]
    direction = unit(first * (1 - share) + second * share)
    side = frames[0][:, 0] * (1 - share) + frames[1][:, 0] * share
    side = unit(side - direction * (side * direction).sum(1, keepdims=True))
    builder.tube(part, centres, side, np.cross(direction, side), table[:, 1:], around)


def _trunk(builder: MeshBuilder, skeleton: Skeleton, body: Proportions, outfit: Outfit) -> None:
    table = _fine(_TRUNK, 40)
    place = table[:, 0]
    girth = np.interp(place, [-0.1, 0.1, 0.4, 0.7, 1.0], [body.seat, body.seat, body.waist, body.chest, 1.0])
    width = np.interp(
        place, [0.0, 0.5, 0.85, 0.95], [body.hips / 0.092, 1.0, body.shoulders / 0.18, body.shoulders / 0.18]
    )
    rings = table[:, 1:] * girth[:, None]
    rings[:, 0] *= width
    rings[:, 1] += body.bust * np.exp(-(((place - 0.70) / 0.09) ** 2))
    rings *= outfit.ease("trunk", np.linspace(0, 1, len(place)))[:, None]
    nodes = np.linspace(0, 1, len(skeleton.spine))
    # The trunk is extrapolated in a straight line beyond both ends of the spine.
    ends = np.clip(place, 0, 1)
    centres = np.stack([np.interp(ends, nodes, skeleton.spine[:, axis]) for axis in range(3)], 1)
    frames = np.stack(
        [np.interp(ends, nodes, skeleton.spine_frames[:, i, j]) for i in range(3) for j in range(3)], 1
    ).reshape(-1, 3, 3)
    centres += frames[:, :, 1] * ((place - ends) * body.trunk)[:, None]
    builder.tube(outfit.parts.index("trunk"), centres, unit(frames[:, :, 0]), unit(frames[:, :, 2]), rings, 24)


def _head(builder: MeshBuilder, skeleton: Skeleton, body: Proportions, outfit: Outfit) -> None:
    frame, base, height = skeleton.frames["head"], skeleton.joints["skull"], body.head
    ones = np.ones((22, 1))
    table = _fine(_HEAD, 22) * height
    centres = base + frame[:, 1] * table[:, :1]
    builder.tube(outfit.parts.index("head"), centres, ones * frame[:, 0], ones * frame[:, 2], table[:, 1:], 20)
    nose = base + (np.linspace(0, 1, 6)[:, None] * [[0, -0.2, 0.10]] + [[0, 0.53, 0.375]]) * height @ frame.T
    rings = np.array([0.001, 0.03, 0.035, 0.045, 0.055, 0.001])[:, None] * [[1, 1, 0.7]] * height
    builder.rod(outfit.parts.index("nose"), nose, frame[:, 0], rings)
    for _, sign in SIDES:
        ear = base + frame @ np.array([sign * 0.325, 0.45, -0.03]) * height
        builder.blob(outfit.parts.index("nose"), ear, frame, (0.035 * height, 0.12 * height, 0.075 * height), 7)
    # The neck tube runs from inside the skull down to a point between the shoulders.
    neck, up = skeleton.frames["neck"], skeleton.joints["skull"] + frame[:, 1] * 0.05
    down = skeleton.joints["neck"] - skeleton.frames["chest"][:, 1] * 0.05
    path = up + np.linspace(0, 1, 10)[:, None] * (down - up)
    girth = np.array([0.001, 0.05, 0.054, 0.054, 0.054, 0.055, 0.058, 0.064, 0.07, 0.001])[:, None] * np.ones((1, 3))
    direction = unit(down - up)
    sides = unit(neck[:, 0] - direction * float(direction @ neck[:, 0]))
    scale = 0.5 + 0.3 * body.limbs + 0.2 * body.head / 0.232
    builder.tube(
        outfit.parts.index("neck"), path, np.ones((10, 1)) * sides, np.ones((10, 1)) * np.cross(direction, sides),
        girth * scale, 14,
    )  # fmt: skip


def _hair(builder: MeshBuilder, skeleton: Skeleton, body: Proportions, outfit: Outfit) -> None:
    style, part = outfit.hair, outfit.parts.index("hair")
    if style == "bald":
        return
    frame, base, height = skeleton.frames["head"], skeleton.joints["skull"], body.head
    table = _fine(_HEAD, 30)
    volume = 1.36 if style == "afro" else outfit.volume
    place, around = table[:, 0], 24
    rings = table[:, 1:] * volume + 0.004
    lift = (volume - 1) * 0.45 * np.clip((place - 0.4) / 0.6, 0, 1)
    centres = base + frame[:, 1] * ((place + lift) * height)[:, None]
    centres = centres - frame[:, 2] * (0.02 * height)
    # Lower edge of the hair by angle around the head: high at the forehead, in front of the ears, low at the neck.
    angle = (np.arange(around) + 0.5) / around * 2 * np.pi
    front = np.cos(angle - np.pi / 2)
    line = np.interp(front, [-1.0, -0.25, 0.25, 0.62, 0.75, 1.0], [0.02, 0.05, 0.36, 0.62, 0.78, outfit.hairline])
    keep = (place[:-1, None] + place[1:, None]) / 2 > line[None]
    ones = np.ones((len(place), 1))
    builder.tube(part, centres, ones * frame[:, 0], ones * frame[:, 2], rings * height, around, keep)
    down = np.array([0.0, -1.0, 0.0])
    if style == "bun":
        builder.blob(part, base + frame @ np.array([0, *outfit.knot]) * height, frame, (0.2 * height,) * 3, 9)
    if style in ("ponytail", "long"):
        # The hair first leads away from the back of the head and then hangs down, whatever the rotation of the head.
        root = (
            base + frame @ (np.array([0, 0.72, -0.40]) if style == "ponytail" else np.array([0, 0.45, -0.25])) * height
        )
        away = unit(-frame[:, 2] * 0.8 - frame[:, 1] * (0.1 if style == "ponytail" else 0.8))
        step = np.linspace(0, 1, 12)[:, None]
        length = outfit.length * height
        path = root + step * length * unit(away * (1 - step) * 0.9 + down * (0.25 + step))
        girth = np.array([0.02, 0.09, 0.12, 0.14, 0.15, 0.15, 0.145, 0.14, 0.12, 0.10, 0.06, 0.001])[:, None]
        wide = np.array([[1.0, 1.0, 1.0]]) if style == "ponytail" else np.array([[2.3, 0.9, 1.1]])
        builder.rod(part, path, frame[:, 0], girth * wide * height * 0.9, 10)


def _foot(builder: MeshBuilder, part: int, skeleton: Skeleton, side: str, body: Proportions) -> None:
    frame, ankle = skeleton.frames[f"{side}_foot"], skeleton.joints[f"{side}_ankle"]
    scale = body.foot / 0.25
    # Columns: metres along the foot from below the ankle, half-width, height above and below the centre line.
    table = _fine(np.array([
        (-0.062, 0.001, 0.001, 0.001), (-0.055, 0.022, 0.030, 0.025), (-0.03, 0.033, 0.060, 0.035),
        (0.02, 0.034, 0.062, 0.035), (0.07, 0.038, 0.036, 0.034), (0.12, 0.045, 0.018, 0.032),
        (0.15, 0.046, 0.010, 0.032), (0.175, 0.042, 0.002, 0.032), (0.19, 0.026, -0.006, 0.030),
        (0.195, 0.001, -0.018, 0.022),
    ]), 16) * scale  # fmt: skip
    ones = np.ones((16, 1))
    centres = ankle + frame[:, 2] * table[:, :1] - frame[:, 1] * (0.04 * scale)
    builder.tube(part, centres, ones * frame[:, 0], ones * frame[:, 1], table[:, 1:], 12)


def _hand(
    builder: MeshBuilder, part: int, skeleton: Skeleton, side: str, sign: float, body: Proportions, spread: float
) -> None:
    frame, wrist = skeleton.frames[f"{side}_hand"], skeleton.joints[f"{side}_wrist"]
    scale = body.hand / 0.178
    outwards = frame * [[sign, 1, 1]]  # columns: to the thumb, to the wrist, palm
    palm = np.linspace(0, 1, 8)[:, None]
    rings = np.array([
        (0.001, 0.001, 0.001), (0.026, 0.017, 0.017), (0.032, 0.018, 0.016), (0.038, 0.017, 0.014),
        (0.041, 0.015, 0.012), (0.041, 0.013, 0.011), (0.036, 0.010, 0.009), (0.001, 0.001, 0.001),
    ]) * scale  # fmt: skip
    path = wrist + (frame[:, 1] * 0.012 - frame[:, 1] * 0.108 * palm) * scale
    builder.rod(part, path, frame[:, 0], rings, 10)
    step = np.linspace(0, 1, 6)[:, None]
    for x, start, length, turn in (
        (0.030, -0.088, 0.074, 8), (0.010, -0.092, 0.082, 2), (-0.010, -0.090, 0.076, -4), (-0.029, -0.082, 0.060, -11),
        (0.030, -0.030, 0.070, 42),
    ):  # fmt: skip
        angle = np.deg2rad(turn * (spread if turn != 42 else 1))
        direction = outwards[:, 0] * np.sin(angle) - outwards[:, 1] * np.cos(angle)
        path = wrist + (outwards[:, 0] * x + outwards[:, 1] * start + direction * length * step) * scale
        path = path + frame[:, 2] * (0.010 * scale) * step**2
        girth = np.array([0.007, 0.0105, 0.010, 0.0095, 0.0085, 0.001])[:, None] * np.ones((1, 3)) * scale
        builder.rod(part, path, frame[:, 0], girth, 6)
