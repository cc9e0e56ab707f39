"""Backgrounds behind the body: studio, interior, landscape, or random clutter."""

import itertools
from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from headstand.poses.figure.canvas import Canvas
from headstand.poses.figure.props import furnish, stand

_GROUNDS = np.array([(0.30, 0.45, 0.18), (0.80, 0.72, 0.55), (0.5, 0.48, 0.45), (0.45, 0.35, 0.25)])
"""Colours of grass, sand, stone and earth."""


def paint(canvas: Canvas) -> None:
    """Fills the canvas with a random background."""
    _BACKGROUNDS[int(canvas.rng.choice(len(_BACKGROUNDS), p=_SHARES))](canvas)


def _studio(canvas: Canvas) -> None:
    """Paints a plain wall that blends into the floor, or a single colour."""
    wall = canvas.colour(0.35, 1.0, 0.3)
    floor = wall if canvas.rng.random() < 0.5 else canvas.colour(0.3, 1.0, 0.25)
    share = np.clip((canvas.rows - canvas.floor) / canvas.rng.uniform(0.01, 0.25) + 0.5, 0, 1)
    canvas.pixels[:] = wall * canvas.rng.uniform(0.85, 1.0) * (1 - share) + floor * share


def _room(canvas: Canvas) -> None:
    rng, size = canvas.rng, canvas.size
    wall, floor = canvas.colour(0.35, 0.98), canvas.colour(0.2, 0.9, 0.5)
    canvas.gradient(wall * rng.uniform(0.85, 1.05), wall, 0, canvas.floor)
    canvas.pixels *= 1 + np.float32(rng.uniform(-0.25, 0.25)) * (canvas.rows.transpose(1, 0, 2) - np.float32(0.5))
    pattern = rng.random()
    if pattern < 0.15:  # bricks
        row, column = np.arange(size)[:, None] * 28 // size, np.arange(size)[None] * 14 / size
        shade = rng.standard_normal((30, 32))[row, (column + row % 2 * 0.5).astype(np.int64)]
        canvas.pixels *= (1 + 0.06 * shade)[..., None].astype(np.float32)
    elif pattern < 0.3:  # panels or wallpaper
        stripes = np.arange(size) * int(rng.integers(6, 24)) // size % 2
        canvas.pixels *= (1 - 0.06 * stripes)[None, :, None].astype(np.float32)
    for _ in range(int(rng.integers(0, 4))):
        furnish(canvas)
    canvas.gradient(floor * 0.85, floor, canvas.floor, 1.01)
    canvas.pave(_flooring(rng), float(rng.uniform(0.03, 0.14)))
    if rng.random() < 0.6:  # skirting board
        board = np.clip(wall * rng.uniform(0.7, 1.25), 0, 1)
        canvas.gradient(board, board * 0.9, canvas.floor - rng.uniform(0.006, 0.02), canvas.floor + 0.002)
    for _ in range(int(rng.integers(0, 3))):
        stand(canvas)


def _outdoors(canvas: Canvas) -> None:
    rng = canvas.rng
    canvas.vanishing = canvas.floor - 0.03
    sky = np.array([0.45, 0.65, 0.9]) * rng.uniform(0.6, 1.1) + rng.uniform(-0.1, 0.1, 3)
    haze = np.array([0.85, 0.88, 0.92]) * rng.uniform(0.75, 1.05) * rng.uniform(0.92, 1.08, 3)
    canvas.gradient(np.clip(sky, 0, 1), np.clip(haze, 0, 1), 0, canvas.floor)
    clouds = np.clip(canvas.noise(5) + 0.6 * canvas.noise(11) - 0.3, 0, 1) * np.float32(rng.uniform(0, 0.6))
    canvas.pixels += (1 - canvas.pixels) * clouds * (canvas.rows < canvas.floor)
    for layer in range(int(rng.integers(0, 4))):
        _skyline(canvas, haze * (0.8 - 0.18 * layer))
    if rng.random() < 0.5:  # leaves
        leafy = np.clip(canvas.noise(16) + canvas.noise(40) * 0.7, -2, 2)
        above = (canvas.rows < canvas.floor) & (canvas.rows > canvas.floor - rng.uniform(0.0, 0.5))
        green = rng.uniform([0.1, 0.2, 0.05], [0.4, 0.5, 0.25]).astype(np.float32)
        canvas.pixels += (green * (1 + 0.35 * leafy) - canvas.pixels) * np.clip(leafy * 3 + 1, 0, 1) * above
    ground = _GROUNDS[rng.integers(len(_GROUNDS))] * rng.uniform(0.7, 1.2) * rng.uniform(0.93, 1.07, 3)
    canvas.gradient(np.clip(ground * 0.9, 0, 1), np.clip(ground, 0, 1), canvas.floor, 1.01)
    canvas.pave(rng.standard_normal((128, 128)), float(rng.uniform(0.06, 0.22)))
    if rng.random() < 0.4:
        stand(canvas)


def _skyline(canvas: Canvas, haze: npt.NDArray[np.floating]) -> None:
    """Paints hills, trees or houses behind the horizon."""
    rng, floor = canvas.rng, canvas.floor
    steps = int(rng.integers(4, 40))
    heights = (rng.random(steps + 1) * rng.uniform(0.03, 0.28)).tolist()
    line = [(i / steps, floor - high) for i, high in enumerate(heights)]
    if rng.random() < 0.3:  # flat roofs
        line = [point for (x, y), (edge, _) in itertools.pairwise(line) for point in ((x, y), (edge, y))]
    tone = haze * rng.uniform([0.6, 0.8, 0.6], [1.0, 1.05, 1.05])
    with canvas.brush(soft=0.004) as brush:
        brush.polygon([(0.0, floor + 0.005), *line, (1.0, floor + 0.005)], tone)


def _clutter(canvas: Canvas) -> None:
    """Paints random shapes and noise, so that a classifier cannot rely on regular backgrounds."""
    rng = canvas.rng
    canvas.pixels[:] = canvas.colour() + 0.09 * canvas.noise(3) + 0.03 * canvas.noise(3, 3) + 0.04 * canvas.noise(12)
    with canvas.brush(soft=float(rng.uniform(0, 0.02))) as brush:
        for x, y, width, high, turn in rng.random((int(rng.integers(4, 16)), 5)).tolist():
            tone = canvas.colour(0.05, 0.95, 0.8)
            if turn < 0.6:
                angles = turn * 9 + np.array([0, 1, 2, 3]) * np.pi / 2
                brush.polygon([(x + width / 3 * np.cos(a), y + high / 3 * np.sin(a)) for a in angles], tone)
            else:
                brush.oval(x - width / 5, y - high / 5, x + width / 5, y + high / 5, tone)
    if rng.random() < 0.6:
        floor = canvas.colour(0.2, 0.9, 0.5)
        canvas.gradient(floor * 0.85, floor, canvas.floor, 1.01)
        canvas.pave(_flooring(rng), 0.1)


def _flooring(rng: np.random.Generator) -> npt.NDArray[np.float64]:
    """Returns a random floor texture `[96, 96]`: planks, tiles or unstructured roughness."""
    kind, n = rng.choice(["planks", "tiles", "rough"]), 96
    rough = rng.standard_normal((n, n)) * 0.35
    if kind == "planks":
        board = np.repeat(rng.standard_normal(12), 8)[:, None] * 0.6
        return rough * 0.4 + board - 1.8 * (np.arange(n) % 8 == 0)[:, None]
    if kind == "tiles":
        joints = np.arange(n) % 24 == 0
        return rough * 0.3 - 1.6 * (joints[:, None] | joints[None])
    return rough


_BACKGROUNDS: tuple[Callable[[Canvas], None], ...] = (_studio, _room, _outdoors, _clutter)
_SHARES = (0.25, 0.39, 0.27, 0.09)
