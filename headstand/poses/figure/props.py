"""Furniture and objects behind or in front of the body."""

import numpy as np
from PIL import Image

from headstand.poses.figure.canvas import Brush, Canvas


def furnish(canvas: Canvas) -> None:
    """Draws a window, picture, door, curtain or shelf on the wall."""
    rng, floor = canvas.rng, canvas.floor
    kind = rng.choice(["window", "picture", "door", "curtain", "shelf"])
    left, width = float(rng.uniform(-0.1, 1.0)), float(rng.uniform(0.10, 0.34))
    foot = floor * float(rng.uniform(0.6, 0.92))
    top = min(float(rng.uniform(-0.15, 0.2)), foot - 0.1)
    right, middle, thick = left + width, (top + foot) / 2, 0.01
    frame, other = canvas.colour(0.05, 1.0, 0.6), canvas.colour(0.1, 1.0, 0.8)
    with canvas.brush(soft=float(rng.choice([0.0, 0.006]))) as brush:
        if kind == "window":
            brush.box(left - thick, top - thick, right + thick, foot + thick, frame)
            for x in (left, left + width / 2 + thick / 2):
                for y, low in ((top, middle - thick), (middle, foot)):
                    brush.box(x, y, x + width / 2 - thick / 2, low, np.array([0.88, 0.93, 0.98]))
        elif kind == "picture":
            brush.box(left - thick, top - thick, right + thick, middle + thick, other)
            brush.box(left, top, right, middle, frame)
            brush.oval(left + width * 0.25, top + 0.01, left + width * 0.7, middle - 0.01, other)
        elif kind == "door":
            brush.box(left, top, right, floor, frame)
            brush.box(left + width * 0.15, top, left + width * 0.85, floor * 0.9, frame * 0.85)
        elif kind == "curtain":
            for fold in range(8):
                x = left + width * fold / 8
                brush.box(x, 0, x + width / 8, floor, frame * (0.8 + 0.2 * (fold % 2)))
        else:
            for level in np.linspace(max(top, 0.0), foot, 4):
                brush.box(left, level, right, level + thick, frame)
                for book, high in enumerate(rng.uniform(0.03, 0.07, 6)):
                    x = left + width * book / 7
                    brush.box(x, level - high, x + width * 0.12, level, other if book % 2 else frame)


def stand(canvas: Canvas) -> None:
    """Draws a box, ball, potted plant or lamp on the floor behind the body."""
    rng = canvas.rng
    kind = rng.choice(["box", "ball", "plant", "lamp"])
    x, low = float(rng.uniform(0, 1)), canvas.floor + float(rng.uniform(0.0, 0.08))
    high, half = float(rng.uniform(0.08, 0.35)), float(rng.uniform(0.03, 0.15))
    colour, other = canvas.colour(0.05, 0.9, 0.9), canvas.colour(0.05, 0.9, 0.9)
    with canvas.brush(soft=float(rng.choice([0.0, 0.004]))) as brush:
        if kind == "box":
            brush.box(x - half, low - high, x + half, low, colour)
            brush.box(x - half, low - high, x + half, low - high * 0.8, other)
        elif kind == "ball":
            brush.oval(x - half, low - 2 * half, x + half, low, colour)
            brush.oval(x - half * 0.6, low - half * 1.8, x, low - half * 1.2, other)
        elif kind == "plant":
            brush.polygon(
                [(x - 0.035, low - 0.07), (x + 0.035, low - 0.07), (x + 0.024, low), (x - 0.024, low)], colour
            )
            _leaves(brush, x, low - 0.07, high, rng)
        else:
            top = low - high - 0.1
            brush.box(x - 0.004, top, x + 0.004, low, other)
            brush.polygon([(x - 0.03, top), (x + 0.03, top), (x + 0.06, top + 0.09), (x - 0.06, top + 0.09)], colour)


def hide(canvas: Canvas) -> Image.Image:
    """Returns a layer with a pole, plant or box that partly occludes the body."""
    rng, brush = canvas.rng, Brush(canvas.size)
    kind = rng.choice(["pole", "plant", "box"])
    x, width, high = (float(rng.uniform(*span)) for span in ((0.02, 0.98), (0.025, 0.07), (0.25, 0.55)))
    colour, other = canvas.colour(0.05, 0.9, 0.5), canvas.colour(0.05, 0.9, 0.5)
    if kind == "pole":
        brush.box(x - width / 2, -0.01, x + width / 2, 1.01, colour)
        brush.box(x - width / 2, -0.01, x - width / 5, 1.01, other)
    elif kind == "plant":
        _leaves(brush, x, 1.02, high, rng)
    else:
        top = 1 - high / 2
        brush.box(x - high * 0.4, top, x + high * 0.4, 1.01, colour)
        brush.box(x - high * 0.4, top, x + high * 0.4, top + 0.03, other)
    return brush.finished(soft=0.002)


def _leaves(brush: Brush, x: float, y: float, high: float, rng: np.random.Generator) -> None:
    green = rng.uniform([0.08, 0.23, 0.05], [0.38, 0.58, 0.28])
    for bend, lift, tone in rng.uniform(-1, 1, (24, 3)):
        across, up = x + bend * high * 0.25, y - high * (0.4 + 0.15 * lift)
        tip = (x + bend * high * 0.6, y - high * (0.55 + 0.45 * lift))
        brush.polygon([(x, y), (across - 0.07 * high, up), tip, (across + 0.07 * high, up)], green * (1 + 0.35 * tone))
