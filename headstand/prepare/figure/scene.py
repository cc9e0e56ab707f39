"""What is around the body: wall, floor, windows, landscape, mat, things in front, and the light. It knows no pose."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFilter

from headstand.prepare.figure.camera import Camera

Array = npt.NDArray[np.float32]
Painter = Callable[["_Canvas"], None]


@dataclass(frozen=True)
class Scene:
    """A place to stand in.

    `background [size, size, 3]` in 0..1; `front` what hides the body (RGBA, premultiplied) or None; `light [3]` the unit
    vector to the light in camera axes (right, up, towards the camera); `sun` and `sky`, `[3]`, the strength of direct
    and of diffuse light by channel; `shade` the darkness of a cast shadow, in 0..1; `grain [size, size, 1]` noise.
    """

    background: Array
    front: Image.Image | None
    light: Array
    sun: Array
    sky: Array
    shade: float
    grain: Array
    cast: Array
    contrast: float
    blur: float


class _Canvas:
    """A picture under way, with where its floor begins; coordinates are fractions of the side."""

    def __init__(self, size: int, camera: Camera, rng: np.random.Generator) -> None:
        self.size, self.camera, self.rng = size, camera, rng
        self.pixels = np.zeros((size, size, 3), np.float32)
        self.floor = float(rng.uniform(0.34, 0.60))
        self.vanishing = self.floor - float(rng.uniform(0.06, 0.30))

    def draw(self, painter: Callable[[ImageDraw.ImageDraw, float], None], soft: float = 0.0) -> None:
        """Let a painter draw on the picture; `soft` blurs what it drew, by a fraction of the side."""
        layer = Image.new("RGBA", (self.size, self.size), (0, 0, 0, 0))
        painter(ImageDraw.Draw(layer), float(self.size))
        over(self.pixels, premultiplied(layer, soft))

    def noise(self, cells: int, channels: int = 1) -> Array:
        """Smooth noise of mean 0 and deviation about 1, `[size, size, channels]`, with about `cells` bumps a side."""
        return _stretch(self.rng.standard_normal((cells + 1, cells + 1, channels)).astype(np.float32), self.size)

    def colour(self, low: float = 0.15, high: float = 0.95, strength: float = 0.35) -> Array:
        """A colour of a room: mostly pale, sometimes not."""
        grey = self.rng.uniform(low, high)
        tint = self.rng.uniform(-1, 1, 3) * strength * self.rng.random()
        return np.clip(grey * (1 + tint), 0.02, 0.98).astype(np.float32)


def build(camera: Camera, rng: np.random.Generator, size: int) -> Scene:
    """Draw a scene for a camera's framing."""
    canvas = _Canvas(size, camera, rng)
    _PLACES[int(rng.choice(len(_PLACES), p=_SHARES))](canvas)
    if rng.random() < 0.45:
        _mat(canvas)
    background = canvas.pixels
    background *= 1 + 0.05 * canvas.noise(2)
    background += np.float32(0.012) * canvas.noise(32)
    light = np.array([rng.uniform(-1, 1), rng.uniform(0.25, 1.1), rng.uniform(-0.25, 1.0)])
    direct = rng.uniform(0.25, 0.95)
    warm = np.array([1 + 0.10 * (t := rng.uniform(-0.4, 1)), 1.0, 1 - 0.14 * t])
    shadow = rng.uniform(0.15, 0.6) if rng.random() < 0.85 else 0.0
    return Scene(
        background=np.clip(background, 0, 1, out=background),
        front=_front(canvas) if rng.random() < 0.2 else None,
        light=(light / np.linalg.norm(light)).astype(np.float32),
        sun=(direct * warm).astype(np.float32),
        sky=((1.12 - 0.72 * direct) * (2 - warm) * rng.uniform(0.85, 1.1)).astype(np.float32),
        shade=float(shadow),
        grain=(rng.uniform(0.0, 0.03) * rng.standard_normal((size, size, 1), np.float32)).astype(np.float32),
        cast=(rng.uniform(0.8, 1.12) * rng.uniform(0.95, 1.05, 3)).astype(np.float32),
        contrast=float(rng.uniform(0.85, 1.15)),
        blur=float(rng.uniform(0.3, 0.9)) if rng.random() < 0.3 else 0.0,
    )


def premultiplied(layer: Image.Image, soft: float) -> Image.Image:
    """The layer with its colours weighted by their opacity, blurred by a fraction of its side."""
    layer = layer.convert("RGBa")
    return layer.filter(ImageFilter.BoxBlur(soft * layer.width * 1.5)) if soft else layer


def over(pixels: Array, layer: Image.Image) -> None:
    """Lay a premultiplied layer over `[size, size, 3]` pixels in 0..1, in place."""
    box = layer.getbbox()
    if box is None:
        return
    left, top, right, bottom = box
    top_layer = np.asarray(layer)[top:bottom, left:right].astype(np.float32) * np.float32(1 / 255)
    below = pixels[top:bottom, left:right]
    below *= 1 - top_layer[..., 3:]
    below += top_layer[..., :3]


def _stretch(values: Array, size: int) -> Array:
    bands = [
        np.asarray(Image.fromarray(values[..., i]).resize((size, size), Image.Resampling.BICUBIC))
        for i in range(values.shape[2])
    ]
    return np.stack(bands, -1)


def _rows(size: int) -> Array:
    return ((np.arange(size, dtype=np.float32) + 0.5) / size)[:, None, None]


def _gradient(canvas: _Canvas, top: Array, bottom: Array, start: float, end: float) -> None:
    first, last = (int(np.clip(round(place * canvas.size), 0, canvas.size)) for place in (start, end))
    rows = _rows(canvas.size)[first:last]
    canvas.pixels[first:last] = top + (bottom - top) * np.clip((rows - start) / (end - start), 0, 1)


def _ground(canvas: _Canvas, texture: Array, strength: float) -> None:
    """Lay a texture `[n, n]` of mean 0 on the floor, in perspective."""
    size = canvas.size
    start = int(canvas.floor * size)
    rows = (np.arange(start, size, dtype=np.float32) + 0.5) / size
    near = 0.25 / np.maximum(rows - canvas.vanishing, 0.02)
    turn = float(canvas.rng.uniform(-0.6, 0.6))
    side = ((np.arange(size, dtype=np.float32) + 0.5) / size - canvas.rng.uniform(0.2, 0.8))[None] * near[:, None] * 4
    away = near[:, None] * 4
    n = len(texture)
    density = n / 3
    i = ((away + turn * side) * density).astype(np.int64) % n
    j = ((side - turn * away) * density).astype(np.int64) % n
    # Far away the texture is finer than a pixel and fades.
    fade = np.clip((rows - canvas.vanishing) * 3, 0.1, 1)[:, None]
    canvas.pixels[start:] += (texture[i, j] * strength * fade)[..., None] * canvas.pixels[start:]


def _texture(canvas: _Canvas) -> Array:
    """Planks, tiles, or something rough."""
    rng, n = canvas.rng, 96
    kind = rng.choice(["planks", "tiles", "rough"])
    rough = rng.standard_normal((n, n)).astype(np.float32) * 0.35
    if kind == "planks":
        board = np.repeat(rng.standard_normal(12), 8)[:, None] * 0.6
        return (rough * 0.4 + board - 1.8 * (np.arange(n) % 8 == 0)[:, None]).astype(np.float32)
    if kind == "tiles":
        lines = (np.arange(n) % 24 == 0)[:, None] | (np.arange(n) % 24 == 0)[None]
        return (rough * 0.3 - 1.6 * lines).astype(np.float32)
    return rough


def _studio(canvas: _Canvas) -> None:
    """A plain wall that runs into the floor, or one even colour."""
    wall = canvas.colour(0.35, 1.0, 0.3)
    floor = wall if canvas.rng.random() < 0.5 else canvas.colour(0.3, 1.0, 0.25)
    rows = _rows(canvas.size)
    share = np.clip((rows - canvas.floor) / canvas.rng.uniform(0.01, 0.25) + 0.5, 0, 1)
    canvas.pixels[:] = wall * canvas.rng.uniform(0.85, 1.0) * (1 - share) + floor * share


def _room(canvas: _Canvas) -> None:
    rng = canvas.rng
    wall, floor = canvas.colour(0.35, 0.98), canvas.colour(0.2, 0.9, 0.5)
    _gradient(canvas, wall * rng.uniform(0.85, 1.05), wall, 0, canvas.floor)
    canvas.pixels *= 1 + rng.uniform(-0.25, 0.25) * (_rows(canvas.size).transpose(1, 0, 2) - 0.5)
    pattern = rng.random()
    if pattern < 0.15:  # bricks
        n = canvas.size
        row, column = np.arange(n)[:, None] * 28 // n, np.arange(n)[None] * 14 / n
        shade = rng.standard_normal((30, 32))[row, (column + row % 2 * 0.5).astype(np.int64)]
        canvas.pixels *= (1 + 0.06 * shade)[..., None].astype(np.float32)
    elif pattern < 0.3:  # panels or wallpaper
        stripes = np.arange(canvas.size) * int(rng.integers(6, 24)) // canvas.size % 2
        canvas.pixels *= (1 - 0.06 * stripes)[None, :, None].astype(np.float32)
    for _ in range(int(rng.integers(0, 4))):
        _furnish(canvas)
    _gradient(canvas, floor * 0.85, floor, canvas.floor, 1.01)
    _ground(canvas, _texture(canvas), float(rng.uniform(0.03, 0.14)))
    if rng.random() < 0.6:  # skirting board
        board, thick = np.clip(wall * rng.uniform(0.7, 1.25), 0, 1), rng.uniform(0.006, 0.02)
        _gradient(canvas, board, board * 0.9, canvas.floor - thick, canvas.floor + 0.002)
    for _ in range(int(rng.integers(0, 3))):
        _object(canvas)


def _furnish(canvas: _Canvas) -> None:
    """A window, a picture, a door, a shelf or a curtain on the wall."""
    rng = canvas.rng
    kind = rng.choice(["window", "picture", "door", "curtain", "shelf"])
    x, width = float(rng.uniform(-0.1, 1.0)), float(rng.uniform(0.10, 0.34))
    top, foot = float(rng.uniform(-0.15, 0.2)), canvas.floor * float(rng.uniform(0.6, 0.92))
    top = min(top, foot - 0.1)
    middle = (top + foot) / 2
    first, second = _bytes(canvas.colour(0.05, 1.0, 0.6)), _bytes(canvas.colour(0.1, 1.0, 0.8))

    def paint(draw: ImageDraw.ImageDraw, side: float) -> None:
        thick = max(round(side / 85), 1)
        if kind == "window":
            draw.rectangle((x * side, top * side, (x + width) * side, foot * side), (225, 238, 250, 255), first, thick)
            draw.line(((x + width / 2) * side, top * side, (x + width / 2) * side, foot * side), first, thick)
            draw.line((x * side, middle * side, (x + width) * side, middle * side), first, thick)
        elif kind == "picture":
            draw.rectangle((x * side, top * side, (x + width) * side, middle * side), first, second, thick)
            draw.ellipse(
                ((x + width * 0.25) * side, (top + 0.015) * side, (x + width * 0.7) * side, (middle - 0.01) * side), second
            )
        elif kind == "door":
            draw.rectangle((x * side, top * side, (x + width) * side, canvas.floor * side), first)
            draw.rectangle(((x + width * 0.15) * side, top * side, (x + width * 0.85) * side, canvas.floor * 0.9 * side), None, second, 1)
        elif kind == "curtain":
            for fold in range(8):
                shade = tuple(int(c * (0.8 + 0.2 * (fold % 2))) for c in first[:3])
                draw.rectangle(
                    ((x + width * fold / 8) * side, 0, (x + width * (fold + 1) / 8) * side, canvas.floor * side), (*shade, 255)
                )
        else:
            for level in np.linspace(max(top, 0), foot, 4):
                draw.rectangle((x * side, level * side, (x + width) * side, level * side + thick), first)
                for book in range(6):
                    high = 0.03 + 0.04 * ((book * 7 + int(level * 50)) % 5) / 5
                    draw.rectangle(
                        ((x + width * book / 7) * side, (level - high) * side, (x + width * (book + 0.8) / 7) * side, level * side),
                        second if book % 2 else first,
                    )

    canvas.draw(paint, soft=float(rng.choice([0.0, 0.006])))


def _object(canvas: _Canvas) -> None:
    """Something that stands on the floor behind the body: a box, a ball, a potted plant, a lamp."""
    rng = canvas.rng
    kind = rng.choice(["box", "ball", "plant", "lamp"])
    x, foot = float(rng.uniform(0, 1)), canvas.floor + float(rng.uniform(0.0, 0.08))
    high, width = float(rng.uniform(0.08, 0.35)), float(rng.uniform(0.06, 0.3))
    colour, other = _bytes(canvas.colour(0.05, 0.9, 0.9)), _bytes(canvas.colour(0.05, 0.9, 0.9))
    leaves = rng.uniform(-1, 1, (24, 3))
    green = rng.uniform([0.1, 0.25, 0.05], [0.4, 0.6, 0.3]) * 255

    def paint(draw: ImageDraw.ImageDraw, side: float) -> None:
        left, right, top, low = ((x - width / 2) * side, (x + width / 2) * side, (foot - high) * side, foot * side)
        if kind == "box":
            draw.rectangle((left, top, right, low), colour)
            draw.rectangle((left, top, right, top + (low - top) * 0.2), other)
        elif kind == "ball":
            draw.ellipse((left, low - (right - left), right, low), colour)
            draw.ellipse((left + width * 0.2 * side, low - width * 0.9 * side, left + width * 0.5 * side, low - width * 0.6 * side), other)
        elif kind == "plant":
            pot = 0.035 * side
            draw.polygon(
                [(x * side - pot, low - 2 * pot), (x * side + pot, low - 2 * pot), (x * side + pot * 0.7, low), (x * side - pot * 0.7, low)],
                colour,
            )
            _leaves(draw, x * side, low - 2 * pot, high * side, leaves, green)
        else:
            draw.line((x * side, low, x * side, top - 0.1 * side), other, 2)
            draw.polygon([(left * 0.4 + x * side * 0.6, top - 0.1 * side), (right * 0.4 + x * side * 0.6, top - 0.1 * side),
                          (right * 0.6 + x * side * 0.4, top), (left * 0.6 + x * side * 0.4, top)], colour)  # fmt: skip

    canvas.draw(paint, soft=float(rng.choice([0.0, 0.004])))


def _leaves(draw: ImageDraw.ImageDraw, x: float, y: float, high: float, leaves: npt.NDArray[np.float64], green: npt.NDArray[np.float64]) -> None:
    for bend, lift, tone in leaves:
        tip = (x + bend * high * 0.6, y - high * (0.55 + 0.45 * lift))
        middle = (x + bend * high * 0.25, y - high * 0.5 * (0.8 + 0.3 * lift))
        wide = 0.07 * high
        shade = tuple(int(np.clip(c * (1 + 0.35 * tone), 0, 255)) for c in green)
        draw.polygon([(x, y), (middle[0] - wide, middle[1]), tip, (middle[0] + wide, middle[1])], (*shade, 255))


def _outdoors(canvas: _Canvas) -> None:
    rng = canvas.rng
    canvas.vanishing = canvas.floor - 0.03
    sky = np.array([0.45, 0.65, 0.9]) * rng.uniform(0.6, 1.1) + rng.uniform(-0.1, 0.1, 3)
    haze = np.array([0.85, 0.88, 0.92]) * rng.uniform(0.75, 1.05) * rng.uniform(0.92, 1.08, 3)
    _gradient(canvas, np.clip(sky, 0, 1), np.clip(haze, 0, 1), 0, canvas.floor)
    clouds = np.clip(canvas.noise(5) + 0.6 * canvas.noise(11) - 0.3, 0, 1) * rng.uniform(0, 0.6)
    canvas.pixels += (1 - canvas.pixels) * clouds * (_rows(canvas.size) < canvas.floor)
    for layer in range(int(rng.integers(0, 4))):  # hills, woods or houses, each nearer and darker
        steps = int(rng.integers(4, 40))
        heights = rng.random(steps + 1) * rng.uniform(0.03, 0.28)
        tone = _bytes(np.clip(haze * (0.8 - 0.18 * layer) * rng.uniform([0.6, 0.8, 0.6], [1.0, 1.05, 1.05]), 0, 1))
        square = rng.random() < 0.3

        def paint(draw: ImageDraw.ImageDraw, side: float, heights: npt.NDArray[np.float64] = heights, tone: tuple[int, ...] = tone,
                  steps: int = steps, square: bool = square) -> None:  # fmt: skip
            line = [(i / steps * side, (canvas.floor - h) * side) for i, h in enumerate(heights)]
            if square:
                line = [point for (x0, y0), (x1, _) in zip(line, line[1:], strict=False) for point in ((x0, y0), (x1, y0))]
            draw.polygon([(0, canvas.floor * side + 1), *line, (side, canvas.floor * side + 1)], tone)

        canvas.draw(paint, soft=0.004)
    leafy = np.clip(canvas.noise(16) + canvas.noise(40) * 0.7, -2, 2)
    above = (_rows(canvas.size) < canvas.floor) * (_rows(canvas.size) > canvas.floor - rng.uniform(0.0, 0.5))
    if rng.random() < 0.5:
        green = rng.uniform([0.1, 0.2, 0.05], [0.4, 0.5, 0.25])
        canvas.pixels += (green * (1 + 0.35 * leafy) - canvas.pixels) * np.clip(leafy * 3 + 1, 0, 1) * above
    ground = np.array([(0.30, 0.45, 0.18), (0.80, 0.72, 0.55), (0.5, 0.48, 0.45), (0.45, 0.35, 0.25)])[rng.integers(4)]
    ground = ground * rng.uniform(0.7, 1.2) * rng.uniform(0.93, 1.07, 3)
    _gradient(canvas, np.clip(ground * 0.9, 0, 1), np.clip(ground, 0, 1), canvas.floor, 1.01)
    _ground(canvas, rng.standard_normal((128, 128)).astype(np.float32), float(rng.uniform(0.06, 0.22)))
    if rng.random() < 0.4:
        _object(canvas)


def _clutter(canvas: _Canvas) -> None:
    """Shapes and noise without sense, so that no classifier can lean on neat rooms."""
    rng = canvas.rng
    canvas.pixels[:] = canvas.colour() + 0.12 * canvas.noise(3, 3) + 0.06 * canvas.noise(12, 3)
    shapes = rng.random((int(rng.integers(4, 16)), 5))
    tones = [_bytes(canvas.colour(0.05, 0.95, 0.9)) for _ in shapes]

    def paint(draw: ImageDraw.ImageDraw, side: float) -> None:
        for (x, y, width, high, turn), tone in zip(shapes, tones, strict=True):
            corners = [np.array([cos, sin]) for cos, sin in ((-1, -1), (1, -1), (1, 1), (-1, 1))]
            spin = np.array([[np.cos(turn * 3), -np.sin(turn * 3)], [np.sin(turn * 3), np.cos(turn * 3)]])
            points = [tuple(float(v) for v in (np.array([x, y]) + spin @ c * [width * 0.25, high * 0.25]) * side) for c in corners]
            if turn < 0.6:
                draw.polygon(points, tone)
            else:
                draw.ellipse(((x - width / 5) * side, (y - high / 5) * side, (x + width / 5) * side, (y + high / 5) * side), tone)

    canvas.draw(paint, soft=float(rng.uniform(0, 0.02)))
    if rng.random() < 0.6:
        floor = canvas.colour(0.2, 0.9, 0.5)
        _gradient(canvas, floor * 0.85, floor, canvas.floor, 1.01)
        _ground(canvas, _texture(canvas), 0.1)


_PLACES: tuple[Painter, ...] = (_studio, _room, _outdoors, _clutter)
_SHARES = (0.25, 0.37, 0.26, 0.12)


def _mat(canvas: _Canvas) -> None:
    """A yoga mat around the place where a body's lowest point will be."""
    rng, camera = canvas.rng, canvas.camera
    low = min(camera.bottom + float(rng.uniform(0.0, 0.04)), 0.99)
    top = max(low - float(rng.uniform(0.06, 0.2)), canvas.floor + 0.01)
    half, lean = camera.share * float(rng.uniform(0.25, 0.6)), float(rng.uniform(-0.15, 0.15))
    shrink = (top - canvas.vanishing) / (low - canvas.vanishing)
    tone, edge = _bytes(canvas.colour(0.2, 0.9, 1.2)), _bytes(canvas.colour(0.1, 0.6, 0.5))
    x = camera.middle

    def paint(draw: ImageDraw.ImageDraw, side: float) -> None:
        corners = [
            ((x - half) * side, low * side), ((x + half) * side, low * side),
            ((x + lean + half * shrink) * side, top * side), ((x + lean - half * shrink) * side, top * side),
        ]  # fmt: skip
        draw.polygon([(a, b + 0.008 * side) for a, b in corners], edge)
        draw.polygon(corners, tone)

    canvas.draw(paint)


def _front(canvas: _Canvas) -> Image.Image:
    """A pole, a plant, or a box between the camera and the body."""
    rng = canvas.rng
    kind = rng.choice(["pole", "plant", "box"])
    x, width = float(rng.uniform(0.02, 0.98)), float(rng.uniform(0.025, 0.07))
    tone, other = _bytes(canvas.colour(0.05, 0.9, 0.5)), _bytes(canvas.colour(0.05, 0.9, 0.5))
    leaves, green = rng.uniform(-1, 1, (26, 3)), rng.uniform([0.08, 0.22, 0.05], [0.35, 0.55, 0.25]) * 255
    high = float(rng.uniform(0.25, 0.55))
    layer = Image.new("RGBA", (canvas.size, canvas.size), (0, 0, 0, 0))
    draw, side = ImageDraw.Draw(layer), float(canvas.size)
    if kind == "pole":
        draw.rectangle(((x - width / 2) * side, -1, (x + width / 2) * side, side), tone)
        draw.rectangle(((x - width / 2) * side, -1, (x - width / 5) * side, side), other)
    elif kind == "plant":
        _leaves(draw, x * side, side * 1.02, high * side, leaves, green)
    else:
        top = 1 - high * 0.5
        draw.rectangle(((x - high * 0.4) * side, top * side, (x + high * 0.4) * side, side), tone)
        draw.rectangle(((x - high * 0.4) * side, top * side, (x + high * 0.4) * side, (top + 0.03) * side), other)
    return premultiplied(layer, 0.002)


def _bytes(colour: npt.NDArray[np.floating]) -> tuple[int, int, int, int]:
    r, g, b = (int(np.clip(c, 0, 1) * 255) for c in colour)
    return r, g, b, 255
