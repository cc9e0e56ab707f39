"""Drawing canvas for backgrounds: layers of shapes, smooth noise, gradients and a floor in perspective."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFilter

Pixels = npt.NDArray[np.float32]
Colour = npt.NDArray[np.floating]
Point = tuple[float, float]


class Brush:
    """Draws shapes on a transparent square layer; coordinates are fractions of its side, colours are in 0..1."""

    def __init__(self, size: int) -> None:
        self.layer = Image.new("RGBA", (size, size), (0, 0, 0, 0))
        self._draw = ImageDraw.Draw(self.layer)
        self._size = size

    def box(self, left: float, top: float, right: float, bottom: float, colour: Colour) -> None:
        self._draw.rectangle(self._scaled([(left, top), (right, bottom)]), _rgba(colour))

    def oval(self, left: float, top: float, right: float, bottom: float, colour: Colour) -> None:
        self._draw.ellipse(self._scaled([(left, top), (right, bottom)]), _rgba(colour))

    def polygon(self, corners: Sequence[Point], colour: Colour) -> None:
        self._draw.polygon(self._scaled(corners), _rgba(colour))

    def finished(self, soft: float = 0.0) -> Image.Image:
        """Returns the layer with premultiplied alpha, blurred by `soft`, a fraction of the side."""
        layer = self.layer.convert("RGBa")
        return layer.filter(ImageFilter.BoxBlur(soft * self._size * 1.5)) if soft else layer

    def _scaled(self, points: Sequence[Point]) -> list[Point]:
        return [(x * self._size, y * self._size) for x, y in points]


class Canvas:
    """Square image under construction, with a floor that starts at a random row.

    Coordinates are fractions of the side. `pixels` is `float32 [size, size, 3]` in 0..1; `floor` is the row where the
    floor begins and `vanishing` the row of its vanishing line.
    """

    def __init__(self, size: int, rng: np.random.Generator) -> None:
        self.size, self.rng = size, rng
        self.pixels: Pixels = np.zeros((size, size, 3), np.float32)
        self.rows: Pixels = ((np.arange(size, dtype=np.float32) + np.float32(0.5)) / np.float32(size))[:, None, None]
        self.floor = float(rng.uniform(0.34, 0.60))
        self.vanishing = self.floor - float(rng.uniform(0.06, 0.30))

    @contextmanager
    def brush(self, soft: float = 0.0) -> Iterator[Brush]:
        """Yields a brush whose layer is composited onto the image when the block ends."""
        brush = Brush(self.size)
        yield brush
        overlay(self.pixels, brush.finished(soft))

    def noise(self, cells: int, channels: int = 1) -> Pixels:
        """Returns smooth noise of mean 0 and standard deviation about 1, `[size, size, channels]`.

        It is normal noise on a grid of `cells + 1` points a side, enlarged by bicubic interpolation.
        """
        coarse = self.rng.standard_normal((channels, cells + 1, cells + 1)).astype(np.float32)
        shape = (self.size, self.size)
        return np.stack([np.asarray(Image.fromarray(c).resize(shape, Image.Resampling.BICUBIC)) for c in coarse], -1)

    def colour(self, low: float = 0.15, high: float = 0.95, strength: float = 0.35) -> Pixels:
        """Returns a random interior colour `[3]`, mostly pale and warm; `strength` scales the deviation from grey."""
        warm = self.rng.normal(0.03, 0.07) * np.array([1.0, 0.0, -1.2])
        tint = warm + self.rng.uniform(-1, 1, 3) * strength * self.rng.random() ** 2
        return np.clip(self.rng.uniform(low, high) * (1 + tint), 0.02, 0.98).astype(np.float32)

    def gradient(self, top: Colour, bottom: Colour, start: float, end: float) -> None:
        """Fills the rows from `start` to `end` with a vertical gradient of two colours."""
        first, last = (int(np.clip(round(place * self.size), 0, self.size)) for place in (start, end))
        share = np.clip((self.rows[first:last] - start) / (end - start), 0, 1)
        self.pixels[first:last] = top + (bottom - top) * share

    def pave(self, texture: npt.NDArray[np.floating], strength: float) -> None:
        """Multiplies the floor by a texture `[n, n]` of mean 0 in perspective; `strength` is its relative contrast."""
        start = int(self.floor * self.size)
        rows = self.rows[start:, 0]
        near = 1 / np.maximum(rows - self.vanishing, 0.02)
        side = (self.rows[:, 0].T - self.rng.uniform(0.2, 0.8)) * near
        turn, n = float(self.rng.uniform(-0.6, 0.6)), len(texture)
        i = ((near + turn * side) * n / 3).astype(np.int64) % n
        j = ((side - turn * near) * n / 3).astype(np.int64) % n
        # At a distance the texture is finer than a pixel and would alias, so it fades.
        fade = np.clip((rows - self.vanishing) * 3, 0.1, 1)
        self.pixels[start:] *= (1 + texture[i, j] * strength * fade)[..., None].astype(np.float32)


def overlay(pixels: Pixels, layer: Image.Image) -> None:
    """Composites a layer with premultiplied alpha onto pixels `[size, size, 3]` in 0..1, in place."""
    box = layer.getbbox()
    if box is None:
        return
    left, top, right, bottom = box
    above = np.asarray(layer)[top:bottom, left:right].astype(np.float32) * np.float32(1 / 255)
    below = pixels[top:bottom, left:right]
    below *= 1 - above[..., 3:]
    below += above[..., :3]


def _rgba(colour: Colour) -> tuple[int, int, int, int]:
    r, g, b = (int(min(max(channel, 0.0), 1.0) * 255) for channel in colour.tolist())
    return r, g, b, 255
