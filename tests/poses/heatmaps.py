"""Heatmaps of hand-written poses for tests."""

from pathlib import Path

import numpy as np

from headstand.poses.heatmap_file import HEIGHT, JOINTS, WIDTH

STANDING = {
    "nose": (24, 10), "left_eye": (25, 9), "right_eye": (23, 9), "left_ear": (26, 10), "right_ear": (22, 10),
    "left_shoulder": (28, 16), "right_shoulder": (20, 16), "left_elbow": (30, 24), "right_elbow": (18, 24),
    "left_wrist": (31, 31), "right_wrist": (17, 31), "left_hip": (27, 32), "right_hip": (21, 32),
    "left_knee": (27, 43), "right_knee": (21, 43), "left_ankle": (27, 54), "right_ankle": (21, 54),
}  # fmt: skip
"""Joints of a person who faces the camera, x and y in map pixels; the person's left is on the right of the map."""

RAISED = {**STANDING, "left_elbow": (30, 9), "left_wrist": (30, 3), "right_elbow": (18, 9), "right_wrist": (18, 3)}

LUNGING = {**STANDING, "left_knee": (36, 42), "left_ankle": (36, 53), "right_knee": (14, 43), "right_ankle": (7, 53)}

POSES = {"lunging": LUNGING, "raised": RAISED, "standing": STANDING}


def positions(pose: dict[str, tuple[float, float]]) -> np.ndarray:
    """Returns the joints as `float64 [17, 2]`, x and y in COCO's order."""
    return np.array([pose[name] for name in JOINTS], float)


def heatmaps(points: np.ndarray, heights: np.ndarray | float = 0.8) -> np.ndarray:
    """Returns Gaussian peaks of standard deviation 2 at `points [17, 2]` as `float32 [17, 64, 48]`."""
    rows, columns = np.mgrid[0:HEIGHT, 0:WIDTH]
    squares = (columns - points[:, 0, None, None]) ** 2 + (rows - points[:, 1, None, None]) ** 2
    return (np.broadcast_to(heights, len(JOINTS))[:, None, None] * np.exp(-squares / 8)).astype(np.float32)


def folder(root: Path, people: int = 12, frames: int = 3, seed: int = 0) -> Path:
    """Writes files such as `root/standing/girl3_002.npy`: people of different sizes and offsets in three poses."""
    rng = np.random.default_rng(seed)
    for person in range(people):
        scale, moved = rng.uniform(0.6, 1), rng.uniform(-4, 4, 2)
        for name, pose in POSES.items():
            (root / name).mkdir(parents=True, exist_ok=True)
            for frame in range(frames):
                points = (positions(pose) - (24, 32)) * scale + (24, 32) + moved + rng.normal(0, 0.5, (17, 2))
                maps = heatmaps(points, rng.uniform(0.4, 0.9, 17))
                np.save(root / name / f"girl{person}_{frame:03d}.npy", maps[None])
    return root
